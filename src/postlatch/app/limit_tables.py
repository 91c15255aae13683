"""A ``[limits.*]`` table as the limiter takes it."""

from __future__ import annotations

from collections.abc import Mapping

from postlatch.limits.limit import Limit, parse_limit, with_warnings
from postlatch.settings.limits import AccountLimits, MailLimits, WarnLimits

# Whoever guesses passwords or talks too much is told so; a person need not be.
_NEVER_WARN = frozenset({"commands", "auth_failures"})


def limit_table(settings: MailLimits, own: Mapping[str, tuple[str, ...]] | None = None) -> dict[str, tuple[Limit, ...]]:
    """The limits by kind, with where they warn. ``own``: of a right, in the place of the table's."""
    texts = settings.texts() if own is None else own
    warn: WarnLimits | None = getattr(settings, "warn", None)
    soft = warn.texts() if warn is not None else {}
    hold = getattr(settings, "when_reached", "refuse") == "hold"
    table = {}
    for kind in [*texts, *(kind for kind in soft if kind not in texts)]:
        percent = settings.warn_at
        if kind in _NEVER_WARN:
            percent = 0
        elif kind == "new_recipients" and isinstance(settings, AccountLimits):
            percent = settings.warn_new_at
        table[kind] = with_warnings(
            _parsed(texts.get(kind, ())),
            _parsed(soft.get(kind, ())),
            percent,
            hold=hold,
            defer=settings.when_unknown == "defer" and kind not in _NEVER_WARN,
        )
    return table


def _parsed(texts: tuple[str, ...]) -> tuple[Limit, ...]:
    return tuple(map(parse_limit, texts))
