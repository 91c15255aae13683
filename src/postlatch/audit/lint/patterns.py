"""Does a pattern of a configuration match, in linear time; None where only the server itself can tell."""

from __future__ import annotations

from postlatch.audit.lint.postfix.pattern import PatternError, compiled


def matches(pattern: str, text: str) -> bool | None:
    """Whether ``pattern`` matches anywhere in ``text``, without regard to case; None if it looks around or is malformed."""
    try:
        return compiled(pattern).matches(text)
    except PatternError:
        return None
