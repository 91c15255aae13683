"""Compose and Kubernetes files: published mail ports, whom containers trust, and whether clients keep their addresses."""

from postlatch.audit.lint.compose.check import lint

__all__ = ["lint"]
