"""What the client engine tells its driver."""

from __future__ import annotations

from typing import NamedTuple

from postlatch.model.reply import Reply
from postlatch.smtp.client_capabilities import Capabilities
from postlatch.smtp.client_replies import Outcome
from postlatch.smtp.client_transaction import Transaction


class Ready(NamedTuple):
    """The server took our name. Next: ``starttls``, ``auth``, ``begin`` or ``quit``."""

    capabilities: Capabilities


class TlsGo(NamedTuple):
    """Start the TLS handshake now, read nothing before it, then call ``tls_started``."""


class TlsRefused(NamedTuple):
    """STARTTLS was refused; the session goes on in plaintext if the driver wants it to."""

    reply: Reply


class Challenge(NamedTuple):
    """The server's next SASL message, decoded. Answer with ``auth_respond``."""

    data: bytes


class LoggedIn(NamedTuple):
    """AUTH succeeded."""

    reply: Reply


class LoginRefused(NamedTuple):
    """AUTH failed."""

    reply: Reply


class BodyWanted(NamedTuple):
    """The server wants the message and took at least one recipient: ``send_body`` …, ``end_body``."""

    transaction: Transaction


class Finished(NamedTuple):
    """Every recipient of the transaction has its outcome."""

    transaction: Transaction


class Closed(NamedTuple):
    """The session is over: close the connection. The last event. ``reason`` is None after a QUIT of ours."""

    reason: Outcome | None


ClientEvent = Ready | TlsGo | TlsRefused | Challenge | LoggedIn | LoginRefused | BodyWanted | Finished | Closed
