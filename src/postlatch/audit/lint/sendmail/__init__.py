"""Sendmail: what sendmail.mc or .cf, the access map and the relay-domains let pass."""

from postlatch.audit.lint.sendmail.check import lint

__all__ = ["lint"]
