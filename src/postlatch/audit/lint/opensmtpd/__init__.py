"""OpenSMTPD: walks the rules of smtpd.conf in order, for every listener, class of clients, and sender."""

from postlatch.audit.lint.opensmtpd.check import lint

__all__ = ["lint"]
