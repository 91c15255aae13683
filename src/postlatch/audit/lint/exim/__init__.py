"""Exim: walks the access control lists with the real semantics, for every class of clients, senders and recipients."""

from postlatch.audit.lint.exim.check import lint

__all__ = ["lint"]
