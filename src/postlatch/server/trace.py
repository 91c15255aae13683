"""The header fields that the relay itself adds: Received (RFC 5321 section 4.4) and, on submission, Date and Message-ID."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import lru_cache
from typing import Final

from postlatch.server.local_rules import CLIENT

_UNSAFE: Final = re.compile(r"[^A-Za-z0-9.\-_:\[\]]")


@lru_cache(maxsize=8)
def rfc5322_date(second: int) -> str:
    """The date-time of RFC 5322 section 3.3 for a second since 1970, UTC. Cached: many messages share a second."""
    return format_datetime(datetime.fromtimestamp(second, UTC))


def protocol_name(*, esmtp: bool, tls: bool, authenticated: bool, utf8: bool) -> str:
    """The ``with`` keyword: RFC 3848, and RFC 6531 section 4.3 for UTF8."""
    if not esmtp:
        return "SMTP"
    suffix = ("S" if tls else "") + ("A" if authenticated else "")
    return ("UTF8SMTP" if utf8 else "ESMTP") + suffix


def received_field(
    *, hostname: str, helo: str, client: str, protocol: str, queue_id: str, recipient: str | None, now: float
) -> bytes:
    """One Received field with CRLF. ``recipient`` only where there is one: more would show blind copies to each other."""
    literal = client if client == CLIENT else f"[IPv6:{client}]" if ":" in client else f"[{client}]"
    claimed = _UNSAFE.sub("?", helo) or "unknown"
    target = f"\r\n\tfor <{recipient}>" if recipient else ""
    return (
        f"Received: from {claimed} ({literal})\r\n\tby {hostname} with {protocol} id {queue_id}{target};"
        f"\r\n\t{rfc5322_date(int(now))}\r\n"
    ).encode()


def missing_fields(names: set[bytes], *, hostname: str, queue_id: str, now: float) -> bytes:
    """Date and Message-ID where a submitting program left them out (RFC 6409 section 8)."""
    added = b""
    if b"date" not in names:
        added += f"Date: {rfc5322_date(int(now))}\r\n".encode("ascii")
    if b"message-id" not in names:
        added += f"Message-ID: <{queue_id}@{hostname}>\r\n".encode("ascii")
    return added
