"""The mail that carries an aggregate report (RFC 9990 section 3.5.2). Written out by hand: a library would
cut a long file name into pieces (RFC 2231), which many readers of reports do not put together again."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import NamedTuple
from zlib import crc32

from postlatch import __version__
from postlatch.policy.grant import Notification
from postlatch.senderauth.reports.compose import Metadata
from postlatch.settings.tree import Settings

_ENVELOPE = 4096  # octets of everything but the attachment, at most


class Attached(NamedTuple):
    """A report with its names. ``content`` is the gzip file."""

    domain: str
    report_id: str
    name: str
    content: bytes

    @property
    def mailed_octets(self) -> int:
        """The size of the mail: limits hold after the encoding (section 3.5)."""
        return len(base64.encodebytes(self.content)) * 78 // 77 + _ENVELOPE


def report_metadata(settings: Settings, day: int) -> Metadata:
    """Who reports: the same in every report of ours."""
    contact = settings.reports.contact or f"postmaster@{next(iter(settings.domains), settings.hostname)}"
    organization = settings.reports.organization or settings.hostname
    return Metadata(organization, contact, settings.hostname, f"Postlatch {__version__}", day)


def report_mail(meta: Metadata, attached: Attached, notification: Notification, now: float) -> bytes:
    """The message to the notification's recipient, with CRLF. Everything in it is printable ASCII."""
    boundary = f"=_report_{attached.report_id}"
    domain, submitter, rid = attached.domain, meta.hostname, attached.report_id
    recipient = str(notification.recipient)
    tag = f"{crc32(recipient.encode()):08x}"  # so that two copies have two ids, and the same copy the same one
    lines = [
        f"From: {phrase(meta.organization)} <{notification.sender}>",
        f"To: {recipient}",
        f"Subject: Report Domain: {domain}",
        f" Submitter: {submitter}",
        f" Report-ID: {rid}",
        f"Date: {format_datetime(datetime.fromtimestamp(int(now), UTC))}",
        f"Message-ID: <{rid}.{tag}@{submitter}>",
        "Auto-Submitted: auto-generated",
        "MIME-Version: 1.0",
        f'Content-Type: multipart/mixed; boundary="{boundary}"',
        "",
        f"--{boundary}",
        "Content-Type: text/plain; charset=us-ascii",
        "",
        f"This is a DMARC aggregate report (RFC 9990) from {submitter}",
        f"about mail in the name of {domain},",
        f"from {shown(meta.begin)} to {shown(meta.end)} (UTC).",
        f"Questions about it: {meta.contact}",
        "",
        f"--{boundary}",
        "Content-Type: application/gzip",
        "Content-Transfer-Encoding: base64",
        f'Content-Disposition: attachment; filename="{attached.name}"',
        "",
        *base64.encodebytes(attached.content).decode("ascii").splitlines(),
        f"--{boundary}--",
        "",
    ]
    return "\r\n".join(lines).encode("ascii", "replace")


def phrase(name: str) -> str:
    """A display name (RFC 5322 section 3.4): quoted, in ASCII."""
    plain = "".join(c if c.isascii() and c.isprintable() else "?" for c in name)[:60]
    escaped = plain.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def shown(seconds: int) -> str:
    """A time of day for people, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")
