"""The mail that carries a TLS report (RFC 8460 section 5.3). Written out by hand, as the one of aggregate reports is."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from email.utils import format_datetime
from zlib import crc32

from postlatch.app.report_mail import Attached, phrase, shown
from postlatch.policy.grant import Notification
from postlatch.senderauth.reports.compose import Metadata


def tls_report_mail(meta: Metadata, attached: Attached, notification: Notification, now: float) -> bytes:
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
        f" Report-ID: <{rid}@{submitter}>",
        f"TLS-Report-Domain: {domain}",
        f"TLS-Report-Submitter: {submitter}",
        "TLS-Required: No",  # RFC 8689 section 5: neither we nor a relay behind us may hold it up where TLS fails
        f"Date: {format_datetime(datetime.fromtimestamp(int(now), UTC))}",
        f"Message-ID: <{rid}.{tag}@{submitter}>",
        "Auto-Submitted: auto-generated",
        "MIME-Version: 1.0",
        f'Content-Type: multipart/report; report-type="tlsrpt"; boundary="{boundary}"',
        "",
        f"--{boundary}",
        "Content-Type: text/plain; charset=us-ascii",
        "",
        f"This is a TLS report (RFC 8460) from {submitter}",
        f"about connections to the mail hosts of {domain},",
        f"from {shown(meta.begin)} to {shown(meta.end)} (UTC).",
        f"Questions about it: {meta.contact}",
        "",
        f"--{boundary}",
        "Content-Type: application/tlsrpt+gzip",
        "Content-Transfer-Encoding: base64",
        f'Content-Disposition: attachment; filename="{attached.name}"',
        "",
        *base64.encodebytes(attached.content).decode("ascii").splitlines(),
        f"--{boundary}--",
        "",
    ]
    return "\r\n".join(lines).encode("ascii", "replace")
