"""Haraka: which plugins run, and whom they let relay."""

from postlatch.audit.lint.haraka.check import lint

__all__ = ["lint"]
