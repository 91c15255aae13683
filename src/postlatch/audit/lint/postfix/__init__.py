"""Postfix: main.cf and master.cf, judged for each service as smtpd itself would."""

from postlatch.audit.lint.postfix.linter import lint

__all__ = ["lint"]
