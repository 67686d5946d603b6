"""Photographs of people who do not exist, to try the pipeline without a download or anyone's face."""
