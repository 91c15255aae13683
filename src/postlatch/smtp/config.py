"""What a server session is told, and what it therefore advertises."""

from __future__ import annotations

from dataclasses import dataclass

from postlatch.model.envelope import Role
from postlatch.model.reply import Reply


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """How a session behaves. Sizes are in octets; lines are counted with their CR LF.

    ``tls_active`` is TLS from the first octet. ``mechanisms`` are the SASL mechanisms in upper case, offered only under TLS;
    none means no AUTH. ``max_errors`` is for the whole connection and counts 5xx: the engine's own, and the owner's to MAIL and
    AUTH; of recipients that the owner refuses, or that are too many, ten times as many are permitted. ``max_commands`` bounds
    the commands that move no mail since the last message; 0 is no bound. ``origin`` is the domain that completes an address
    without one, where programs of this machine may write it so.
    """

    hostname: str
    role: Role
    tls_offered: bool = False
    tls_active: bool = False
    mechanisms: tuple[str, ...] = ()
    max_size: int = 52_428_800
    max_line: int = 4096
    max_recipients: int = 1000
    max_transactions: int = 10_000
    max_errors: int = 10
    max_commands: int = 100
    origin: str = ""


def greeting(config: ServerConfig) -> Reply:
    """The first line. It names no version."""
    return Reply(220, "", f"{config.hostname} ESMTP Postlatch")


def ehlo_reply(config: ServerConfig, *, tls: bool) -> Reply:
    """The extensions offered now: STARTTLS before TLS, AUTH only under it."""
    lines = [config.hostname, "PIPELINING", f"SIZE {config.max_size}"]
    if config.tls_offered and not tls:
        lines.append("STARTTLS")
    if config.mechanisms and tls:
        lines.append(f"AUTH {' '.join(config.mechanisms)}")
    lines += ["8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "DSN", "CHUNKING"]
    if tls:
        lines.append("REQUIRETLS")  # RFC 8689 section 2: never before TLS
    lines.append(f"LIMITS MAILMAX={config.max_transactions} RCPTMAX={config.max_recipients}")  # RFC 9422
    return Reply(250, "", "\n".join(lines))
