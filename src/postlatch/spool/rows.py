"""Values to rows and back. An address is stored in its parts, so that no later parser can refuse what was accepted."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any

from postlatch.model.address import Address
from postlatch.model.envelope import (
    Destination,
    Envelope,
    EnvelopeRecipient,
    GrantReason,
    RecipientParams,
    Role,
    SenderParams,
)
from postlatch.spool.contract import QueuedRecipient, StoredMessage

INSERT_MESSAGE = f"INSERT INTO messages VALUES ({', '.join('?' * 23)})"  # noqa: S608 - a constant
INSERT_BODY = "INSERT INTO bodies VALUES (?, ?)"
INSERT_RECIPIENT = f"INSERT INTO recipients VALUES ({', '.join('?' * 21)})"  # noqa: S608 - a constant

SELECT_MESSAGE = """
SELECT id, sender, sender_local, sender_domain, received_at, size, declared_size, body_type, smtputf8, ret, envid,
  listener, role, client, helo, account, header_message_id, kind, eight_bit, utf8_headers
FROM messages WHERE id = ?
"""
RECIPIENT_COLUMNS = """number, address, local, domain, destination, grant_reason, grant_ref, notify, orcpt,
  original, original_local, original_domain, attempts, last_reply, possible_duplicate, warned"""

_NO_ADDRESS = (None, None, None)
_AddressParts = tuple[str, str, str] | tuple[None, None, None]


def message_row(message: StoredMessage, body_kind: str, digest: bytes) -> tuple[object, ...]:
    """The row of a new message, for `INSERT_MESSAGE`."""
    params = message.params
    return (
        message.message_id,
        *_parts(message.sender),
        message.received_at,
        message.size,
        body_kind,
        digest,
        message.eight_bit,
        message.utf8_headers,
        params.size,
        params.body,
        params.smtputf8,
        params.ret,
        params.envid,
        message.listener,
        message.role,
        None if message.client is None else str(message.client),
        message.helo,
        message.account,
        message.header_message_id,
        message.kind,
        None,
    )


def recipient_row(message_id: int, recipient: QueuedRecipient, due: float | None) -> tuple[object, ...]:
    """The row of a new recipient, for `INSERT_RECIPIENT`."""
    address, params = recipient.address, recipient.params
    return (
        message_id,
        recipient.number,
        address.text,
        address.local,
        address.domain,
        recipient.destination,
        recipient.grant_reason,
        recipient.grant_ref if recipient.grant_reason is not None else None,
        ",".join(sorted(params.notify)),
        params.orcpt,
        *_parts(recipient.original),
        "queued",
        recipient.attempts,
        due,
        "",
        "",
        None,
        0,
        0,
    )


def stored_message(
    envelope: Envelope, *, message_id: int, size: int, kind: str, eight_bit: bool, utf8_headers: bool
) -> StoredMessage:
    """What of an envelope belongs to the message as a whole."""
    return StoredMessage(
        message_id=message_id,
        sender=envelope.sender,
        received_at=envelope.received_at,
        size=size,
        params=envelope.params,
        listener=envelope.listener,
        role=envelope.role,
        client=envelope.client,
        helo=envelope.helo,
        account=envelope.account,
        header_message_id=envelope.header_message_id,
        kind=kind,
        eight_bit=eight_bit,
        utf8_headers=utf8_headers,
    )


def queued_recipients(recipients: Sequence[EnvelopeRecipient]) -> tuple[QueuedRecipient, ...]:
    """The recipients of a new message, numbered from 0."""
    return tuple(
        QueuedRecipient(n, r.address, r.destination, r.grant_reason, r.grant_ref, r.params, r.original)
        for n, r in enumerate(recipients)
    )


def load_message(connection: sqlite3.Connection, message_id: int) -> StoredMessage | None:
    """One message, None if there is none of that id."""
    row = connection.execute(SELECT_MESSAGE, (message_id,)).fetchone()
    return None if row is None else _message(row)


def _message(row: Sequence[Any]) -> StoredMessage:
    (number, *sender, received_at, size, declared, body_type, smtputf8, ret, envid) = row[:11]
    listener, role, client, helo, account, header_message_id, kind, eight_bit, utf8_headers = row[11:]
    return StoredMessage(
        message_id=number,
        sender=_address(*sender),
        received_at=received_at,
        size=size,
        params=SenderParams(declared, body_type, bool(smtputf8), ret, envid),
        listener=listener,
        role=None if role is None else Role(role),
        client=None if client is None else ip_address(client),
        helo=helo,
        account=account,
        header_message_id=header_message_id,
        kind=kind,
        eight_bit=bool(eight_bit),
        utf8_headers=bool(utf8_headers),
    )


def load_recipient(row: Sequence[Any]) -> QueuedRecipient:
    """A recipient from a row of `RECIPIENT_COLUMNS`."""
    number, text, local, domain, destination, reason, ref, notify, orcpt, *original = row[:12]
    attempts, last_reply, possible_duplicate, warned = row[12:]
    return QueuedRecipient(
        number=number,
        address=Address(local, domain, text),
        destination=Destination(destination),
        grant_reason=None if reason is None else GrantReason(reason),
        grant_ref=ref or "",
        params=RecipientParams(frozenset(notify.split(",")) if notify else frozenset(), orcpt),
        original=_address(*original),
        attempts=attempts,
        last_reply=last_reply,
        possible_duplicate=bool(possible_duplicate),
        warned=bool(warned),
    )


def _parts(address: Address | None) -> _AddressParts:
    return _NO_ADDRESS if address is None else (address.text, address.local, address.domain)


def _address(text: str | None, local: str, domain: str) -> Address | None:
    return None if text is None else Address(local, domain, text)
