"""The one error that a person who manages accounts can cause."""

from __future__ import annotations


class AccountError(ValueError):
    """Unusable input: a bad login, address or password, an unknown or existing account. Never holds a password."""
