"""Labeled Faces in the Wild as an inbox: fetched once, verified, laid out by arrival date."""
