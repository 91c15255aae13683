"""Postlatch: the mail relay that latches shut, and proves it."""

__version__ = "0.1.0"
