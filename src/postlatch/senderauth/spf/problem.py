"""What can be wrong with a record, and what ends a check early. The messages are our own sentences, with their section."""

from __future__ import annotations

from postlatch.senderauth.results import Result


class TermError(ValueError):
    """A term, or a macro in it, is malformed."""


class RecordError(ValueError):
    """A record is malformed: ``term`` is where, ``""`` if it is the record as a whole."""

    def __init__(self, term: str, message: str) -> None:
        super().__init__(message)
        self.term = term


class CheckError(Exception):
    """The check ends here as ``temperror`` or ``permerror``. ``term`` is that of the outermost record that led to it."""

    def __init__(self, result: Result, message: str, term: str = "") -> None:
        super().__init__(message)
        self.result = result
        self.term = term
