"""Asks a mail server, as a stranger would, what it does: one file a family of questions."""
