"""What keeps the auditor from harming anybody: how fast, how many, and to whom."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final

from postlatch.audit.probes.ended import Ended, Why
from postlatch.model.clock import Clock

# RFC 2606 and RFC 6761: names that can belong to nobody.
_RESERVED: Final = ("example", "test", "invalid", "localhost", "example.com", "example.net", "example.org", "localdomain")


class Manners:
    """One for each audit; every conversation asks it first.

    ``domains``: whose mailboxes may get mail, names and addresses: the auditor's own, the target's own. ``messages`` and
    ``connections`` are the most that are made; ``rate`` is connections a second. ``only``: the one mailbox
    that is ours at a domain where others have theirs.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        domains: Iterable[str],
        messages: int = 60,
        connections: int = 400,
        rate: float = 25.0,
        only: str = "",
    ) -> None:
        self._clock = clock
        self._domains: list[str] = []
        for domain in domains:
            self.allow(domain)
        local, _, domain = only.lower().rpartition("@")
        self._only = local
        self._shared = domain
        self._most_messages = messages
        self._most_connections = connections
        self._pause = 1.0 / rate
        self._next = 0.0
        self.messages = 0
        self.connections = 0

    def allow(self, domain: str) -> None:
        """One more domain whose mailboxes may get mail: the target's, as it names itself."""
        if domain:
            self._domains.append(domain.lower().rstrip("."))

    @property
    def left(self) -> int:
        """Messages that may still be sent."""
        return self._most_messages - self.messages

    async def connection(self) -> None:
        """Wait for this connection's turn; Ended if there were too many."""
        if self.connections >= self._most_connections:
            raise Ended(Why.MANNERS, f"no more than {self._most_connections} connections are made")
        self.connections += 1
        now = self._clock.monotonic()
        turn = max(now, self._next)
        self._next = turn + self._pause
        await asyncio.sleep(turn - now)

    def message(self, recipients: Iterable[bytes]) -> None:
        """Count one message to these paths; Ended if it is one too many, or could reach somebody else."""
        for path in recipients:
            if (stranger := self.stranger(path)) is not None:
                raise Ended(Why.MANNERS, f"no message is sent to what names {stranger}, which is not ours")
        if self.left < 1:
            raise Ended(Why.MANNERS, f"no more than {self._most_messages} messages are sent")
        self.messages += 1

    def stranger(self, path: bytes) -> str | None:
        """A domain in a path that is neither ours, nor the target's, nor reserved. However it is written: every word counts."""
        try:
            text = path.decode("ascii").lower()
        except UnicodeDecodeError:
            return "letters outside ASCII"  # which fold into a name that was not looked at
        literals, rest = _parts(text)
        words = "".join(letter if letter.isalnum() or letter in ".-" else " " for letter in rest).split()
        names = [word.strip(".") for word in words]
        found = (name for name in [*literals, *(name for name in names if "." in name)] if not self._allowed(name))
        return next(found, None) or self._neighbour(names, text)

    def _neighbour(self, names: Iterable[str], text: str) -> str | None:
        """A mailbox beside ours, or a name below its domain."""
        if not self._shared:
            return None
        shared = [name for name in names if name == self._shared or name.endswith(f".{self._shared}")]
        ours = all(name == self._shared for name in shared) and _has_word(text, self._only)
        return None if ours or not shared else f"another mailbox at {self._shared}"

    def _allowed(self, name: str) -> bool:
        if name.startswith("127.") or name == "::1":
            return True
        return any(name == domain or name.endswith(f".{domain}") for domain in (*self._domains, *_RESERVED))


def _has_word(text: str, word: str) -> bool:
    """Does it stand there by itself, not as a part of another local part?"""
    at = text.find(word)
    while at >= 0:
        beside = text[max(0, at - 1) : at] + text[at + len(word) : at + len(word) + 1]
        if not any(letter.isalnum() or letter in "._+-" for letter in beside):
            return True
        at = text.find(word, at + 1)
    return False


def _parts(text: str) -> tuple[list[str], str]:
    """The address literals of a path, and what stands outside them."""
    outside, *opened = text.split("[")
    literals = []
    for part in opened:
        literal, _, after = part.partition("]")
        literals.append(literal.removeprefix("ipv6:"))
        outside += f" {after}"
    return literals, outside
