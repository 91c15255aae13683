"""What a decision point answers. Each verdict names its rule and says why, for the log, the journal and the page."""

from __future__ import annotations

from dataclasses import dataclass

from postlatch.model.reply import Reply

set_once = object.__setattr__  # what a frozen dataclass does, without the detour that doubles its price


@dataclass(frozen=True, slots=True, init=False)
class Refuse:
    """Permanent: 5xx. ``why`` is for the operator and may hold facts; ``reply`` is public and generic."""

    reply: Reply
    rule: str
    why: str
    close: bool

    def __init__(self, reply: Reply, rule: str, why: str, close: bool = False) -> None:
        set_once(self, "reply", reply)
        set_once(self, "rule", rule)
        set_once(self, "why", why)
        set_once(self, "close", close)


@dataclass(frozen=True, slots=True, init=False)
class Defer:
    """Temporary: 4xx. Also the answer to everything that is unknown."""

    reply: Reply
    rule: str
    why: str
    close: bool

    def __init__(self, reply: Reply, rule: str, why: str, close: bool = False) -> None:
        set_once(self, "reply", reply)
        set_once(self, "rule", rule)
        set_once(self, "why", why)
        set_once(self, "close", close)


@dataclass(frozen=True, slots=True, init=False)
class Accept:
    """Go on."""

    rule: str
    why: str

    def __init__(self, rule: str, why: str) -> None:
        set_once(self, "rule", rule)
        set_once(self, "why", why)
