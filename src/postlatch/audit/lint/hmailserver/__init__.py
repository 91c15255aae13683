"""hMailServer, from its exported security ranges: the range of highest priority that has the client decides."""

from postlatch.audit.lint.hmailserver.check import lint

__all__ = ["lint"]
