"""What a canary tells: which messages of an audit arrived."""

from __future__ import annotations

from typing import NamedTuple, Protocol


class Arrival(NamedTuple):
    """One message that arrived, with the token of the audit that sent it.

    ``token`` is empty for a message that carries none. ``sender`` and ``recipient`` are of the envelope, or empty where a
    mailbox does not tell them. ``bounce``: it is a notification about a message with that token, not the message itself.
    ``received``: its Received fields, newest first. ``client``: the address that it came from. Texts are printable; ``at`` is
    in seconds since 1970.
    """

    token: str
    sender: str = ""
    recipient: str = ""
    bounce: bool = False
    received: tuple[str, ...] = ()
    client: str = ""
    at: float = 0.0


class Canary(Protocol):
    """A mailbox, or a whole receiver, of the auditor."""

    async def arrivals(self) -> list[Arrival]:
        """All that has arrived so far with tokens of this audit, oldest first. Raises CanaryError if it cannot be read."""
        ...


class CanaryError(Exception):
    """The canary cannot be read; its text is a printable sentence with what would be right."""
