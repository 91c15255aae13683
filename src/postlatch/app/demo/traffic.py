"""The demo's traffic: real SMTP clients on loopback, in a thread. Friends log in, a printer has a right, spammers do not."""

from __future__ import annotations

import smtplib
import ssl
import threading
from dataclasses import dataclass
from email.message import EmailMessage

from postlatch.app.demo.vectors import VECTORS, Vector

AWAY = "elsewhere.example"


@dataclass(frozen=True, slots=True)
class Place:
    """Where the demo's relay listens, and its one account."""

    hostname: str
    domain: str
    mx: int
    submission: int
    relay: int
    login: str
    password: str


def _message(sender: str, recipient: str, subject: str) -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = sender, recipient, subject
    message.set_content("Sent by postlatch demo.\n")
    return message


def unverified() -> ssl.SSLContext:
    """For the demo's self-signed certificate, on loopback only."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def send_by_login(place: Place, recipient: str, subject: str) -> None:
    """A user logs in over STARTTLS and sends."""
    with smtplib.SMTP("127.0.0.1", place.submission, "laptop.example", timeout=20) as smtp:
        smtp.starttls(context=unverified())
        smtp.login(place.login, place.password)
        smtp.send_message(_message(place.login, recipient, subject))


def send_by_right(place: Place, subject: str) -> None:
    """The printer: known by its address."""
    with smtplib.SMTP("127.0.0.1", place.relay, "printer.example", timeout=20, source_address=("127.0.0.1", 0)) as smtp:
        smtp.send_message(_message(f"printer@{place.domain}", f"scans@{AWAY}", subject))


def send_from_outside(place: Place, subject: str) -> None:
    """Mail from the world to one of ours."""
    with smtplib.SMTP("127.0.0.1", place.mx, "mail.world.example", timeout=20, source_address=("127.0.0.7", 0)) as smtp:
        smtp.send_message(_message("friend@world.example", place.login, subject))


def try_vector(place: Place, vector: Vector) -> tuple[int, str]:
    """One spammer's attempt at the public listener: the code and text that stopped it (250 would be an open relay)."""
    names = {"host": place.hostname, "ours": place.domain, "ip": "127.0.0.1", "away": AWAY}
    with smtplib.SMTP("127.0.0.1", place.mx, timeout=20, source_address=("127.0.0.66", 0)) as smtp:
        code, text = smtp.docmd("EHLO", vector.helo.format(**names))
        if code == 250:
            code, text = smtp.docmd("MAIL", f"FROM:<{vector.sender.format(**names)}>")
        if code == 250:
            code, text = smtp.docmd("RCPT", f"TO:<{vector.recipient.format(**names)}>")
        return code, text.decode("ascii", "replace")


def run(place: Place, stop: threading.Event, pause: float) -> None:
    """Send until told to stop; a refusal or an unreachable relay is what the view shows, so it ends nothing here."""
    number = 0
    while not stop.is_set():
        for vector in VECTORS:
            number += 1
            _quietly(lambda vector=vector: try_vector(place, vector))
            if number % 8 == 1:
                _quietly(lambda n=number: send_by_login(place, f"customer@{AWAY}", f"Offer {n}"))
            if number % 8 == 4:
                _quietly(lambda n=number: send_by_right(place, f"Scan {n}"))
            if number % 8 == 6:
                _quietly(lambda n=number: send_from_outside(place, f"Hello {n}"))
            if stop.wait(pause):
                return


def _quietly(action: object) -> None:
    assert callable(action)
    try:
        action()
    except (OSError, smtplib.SMTPException):
        return
