"""This machine: services of the laptop profile, and the image that stages run in."""
