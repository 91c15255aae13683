"""The self-probe: once at start, the relay tries its own listeners as a stranger would, from outside the policy's code."""

from __future__ import annotations

import smtplib
import ssl
from typing import NamedTuple

_SENDER = "probe@self-probe.invalid"
_RECIPIENT = "probe@elsewhere.invalid"


class ProbeResult(NamedTuple):
    """``result`` is ``closed``, ``open`` or ``failed``; ``reply`` what the listener said to the recipient (or sender)."""

    listener: str
    address: str
    result: str
    reply: str


def probe(listener: str, address: str, *, implicit_tls: bool, starttls: bool, timeout: float = 10) -> ProbeResult:
    """Ask a listener to relay for a stranger. Blocking: run it in a thread."""
    host, _, port = address.rpartition(":")
    host = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(host, host).strip("[]")  # noqa: S104  (compared, not bound)
    try:
        code, text = _ask(host, int(port), implicit_tls=implicit_tls, starttls=starttls, timeout=timeout)
    except (OSError, smtplib.SMTPException) as error:
        return ProbeResult(listener, address, "failed", f"{type(error).__name__}: {error}"[:200])
    reply = f"{code} {text.decode('ascii', 'replace')}".replace("\n", " ")[:200]
    return ProbeResult(listener, address, "open" if 200 <= code < 300 else "closed", reply)


def _ask(host: str, port: int, *, implicit_tls: bool, starttls: bool, timeout: float) -> tuple[int, bytes]:
    # A stranger does not check our certificate, and a self-signed one is no reason not to look.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    session: smtplib.SMTP
    if implicit_tls:
        session = smtplib.SMTP_SSL(host, port, "self-probe.invalid", timeout=timeout, context=context)
    else:
        session = smtplib.SMTP(host, port, "self-probe.invalid", timeout=timeout)
    with session:
        session.ehlo()
        if starttls:
            session.starttls(context=context)
            session.ehlo()
        code, text = session.docmd("MAIL", f"FROM:<{_SENDER}>")
        if 200 <= code < 300:
            code, text = session.docmd("RCPT", f"TO:<{_RECIPIENT}>")
        return code, text
