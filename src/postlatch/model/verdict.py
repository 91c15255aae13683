"""What a decision point answers. Each verdict names its rule and says why, for the log, the journal and the page."""

from __future__ import annotations

from dataclasses import dataclass

from postlatch.model.reply import Reply


@dataclass(frozen=True, slots=True)
class Refuse:
    """Permanent: 5xx. ``why`` is for the operator and may hold facts; ``reply`` is public and generic."""

    reply: Reply
    rule: str
    why: str
    close: bool = False


@dataclass(frozen=True, slots=True)
class Defer:
    """Temporary: 4xx. Also the answer to everything that is unknown."""

    reply: Reply
    rule: str
    why: str
    close: bool = False


@dataclass(frozen=True, slots=True)
class Accept:
    """Go on."""

    rule: str
    why: str
