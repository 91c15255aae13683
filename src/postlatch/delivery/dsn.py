"""Delivery status notifications: RFC 3464 in the container of RFC 6522, or their UTF-8 forms of RFC 6533.

A report is ASCII unless its reader's own address is not, so that every mail system can take it. It holds the headers of
the message it reports on, never its body: a report must not become a way to send somebody else's words.
"""

from __future__ import annotations

import hashlib
import quopri
import re
from collections.abc import Iterable
from dataclasses import dataclass

from postlatch.delivery import dsn_fields as fields
from postlatch.delivery.dsn_text import SUBJECTS, Action, Line, text
from postlatch.delivery.mailbox import REMOTE
from postlatch.model.address import Address
from postlatch.model.envelope import RecipientParams
from postlatch.model.ids import format_id
from postlatch.spool.contract import StoredMessage

MAX_HEADER = 64 * 1024
_MAX_LINE = 998  # octets without CRLF, RFC 5322 section 2.1.1
_MESSAGE_ID = re.compile(r"<[\x21-\x3b\x3d\x3f-\x7e]{1,250}>")
_BARE = re.compile(rb"\r(?!\n)|(?<!\r)\n|\0")
_CLASS = {Action.FAILED: "5", Action.DELAYED: "4", Action.DELIVERED: "2", Action.RELAYED: "2"}


@dataclass(frozen=True, slots=True)
class Reported:
    """One recipient of a report. ``reply`` and ``remote`` as in `contract.Attempt`; ``original``: the alias named."""

    address: Address
    original: Address | None
    params: RecipientParams
    enhanced: str
    reply: str
    remote: str
    expired: bool = False


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that a report says. ``header`` is the original's header block; times are seconds since 1970, UTC."""

    hostname: str
    sender: Address
    message: StoredMessage
    action: Action
    recipients: tuple[Reported, ...]
    header: bytes
    now: float
    retry_until: float

    @property
    def smtputf8(self) -> bool:
        """True if the report holds UTF-8 in its headers, because its reader's address does."""
        return self.sender.needs_smtputf8


@dataclass(frozen=True, slots=True)
class _Part:
    kind: str
    encoding: str
    content: bytes


def compose(report: Report) -> bytes:
    """The whole message with CRLF line ends."""
    parts = [_human(report), _machine(report), _headers(report)]
    # The boundary is a hash of what it separates, so nothing in there can hold it.
    boundary = f"=_{hashlib.sha256(b''.join(part.content for part in parts)).hexdigest()[:40]}"
    lines = [*_top(report, boundary), "", "This is a delivery report in MIME format."]
    out = [_encoded(lines)]
    for part in parts:
        head = (f"--{boundary}", f"Content-Type: {part.kind}", f"Content-Transfer-Encoding: {part.encoding}", "")
        out += [b"\r\n", _encoded(head), part.content]
    out.append(f"\r\n--{boundary}--\r\n".encode())
    return b"".join(out)


def _encoded(lines: Iterable[str]) -> bytes:
    return "".join(f"{line}\r\n" for line in lines).encode()


def _top(report: Report, boundary: str) -> list[str]:
    identity = f"{format_id(report.message.message_id)}.{int(report.now * 1000)}.{report.action}"
    lines = [
        f"Date: {fields.date(report.now)}",
        f"From: Mail Delivery System <MAILER-DAEMON@{report.hostname}>",
        f"To: <{report.sender.text}>",
        f"Subject: {SUBJECTS[report.action]}",
        f"Message-ID: <{identity}@{report.hostname}>",
        "Auto-Submitted: auto-replied",
        "MIME-Version: 1.0",
        f'Content-Type: multipart/report; report-type=delivery-status;\r\n boundary="{boundary}"',
    ]
    original = report.message.header_message_id
    if _MESSAGE_ID.fullmatch(original):
        lines += [f"In-Reply-To: {original}", f"References: {original}"]
    return lines


def _human(report: Report) -> _Part:
    lines = [
        Line((r.original or r.address).text, fields.status(r.enhanced, _CLASS[report.action]), r.expired)
        for r in report.recipients
    ]
    days = max(1, round((report.retry_until - report.message.received_at) / 86_400))
    body = text(report.hostname, report.action, lines, days=days)
    if body.isascii():
        return _Part("text/plain; charset=us-ascii", "7bit", _crlf(body.encode()))
    return _Part("text/plain; charset=utf-8", "quoted-printable", _crlf(quopri.encodestring(body.encode())))


def _machine(report: Report) -> _Part:
    utf8 = report.smtputf8
    blocks = [_per_message(report), *(_per_recipient(report, recipient, utf8=utf8) for recipient in report.recipients)]
    content = b"\r\n".join(_encoded(block) for block in blocks)
    kind = "message/global-delivery-status" if utf8 else "message/delivery-status"
    return _Part(kind, "7bit" if content.isascii() else "8bit", content)


def _per_message(report: Report) -> list[str]:
    envid = fields.envelope_id(report.message.params.envid)
    return [
        *([f"Original-Envelope-Id: {envid}"] if envid else []),
        f"Reporting-MTA: dns; {report.hostname}",
        f"X-Postlatch-Queue-Id: {format_id(report.message.message_id)}",
        f"Arrival-Date: {fields.date(report.message.received_at)}",
    ]


def _per_recipient(report: Report, recipient: Reported, *, utf8: bool) -> list[str]:
    original = fields.original_recipient(recipient.params.orcpt, recipient.original, utf8=utf8)
    remote = fields.remote_mta(recipient.remote)
    said = recipient.remote not in {"", REMOTE}
    lines = [f"Original-Recipient: {original}"] if original else []
    lines += [
        f"Final-Recipient: {fields.final_recipient(recipient.address, utf8=utf8)}",
        f"Action: {report.action}",
        f"Status: {fields.status(recipient.enhanced, _CLASS[report.action])}",
    ]
    if remote:
        lines.append(f"Remote-MTA: {remote}")
    lines.append(f"Diagnostic-Code: {fields.diagnostic(recipient.reply, remote=said)}")
    lines.append(f"Last-Attempt-Date: {fields.date(report.now)}")
    if report.action is Action.DELAYED:
        lines.append(f"Will-Retry-Until: {fields.date(report.retry_until)}")
    return lines


def _headers(report: Report) -> _Part:
    header = _BARE.sub(b"?", _cut(report.header))
    sendable = max((len(line) for line in header.split(b"\r\n")), default=0) <= _MAX_LINE
    if header.isascii() and sendable:
        return _Part("text/rfc822-headers", "7bit", header)
    if report.smtputf8 and sendable and _is_utf8(header):
        return _Part("message/global-headers", "8bit", header)
    # RFC 6522 section 4: headers that are not legal 7-bit content may be sent quoted-printable.
    return _Part("text/rfc822-headers", "quoted-printable", _crlf(quopri.encodestring(header.replace(b"\r\n", b"\n"))))


def _cut(header: bytes) -> bytes:
    """At most `MAX_HEADER` octets, whole lines only, ending in CRLF unless empty."""
    if len(header) > MAX_HEADER:
        header = header[: header.rfind(b"\r\n", 0, MAX_HEADER) + 2] if b"\r\n" in header[:MAX_HEADER] else b""
    return header if not header or header.endswith(b"\r\n") else header + b"\r\n"


def _crlf(data: bytes) -> bytes:
    return data.replace(b"\n", b"\r\n")


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
