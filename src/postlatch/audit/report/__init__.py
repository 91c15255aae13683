"""Writes what was found for people and for other programs, one file a format."""
