"""Plays a conversation file against the client engine and compares everything that it says and tells.

Lines: ``S:`` the server sends (neighbouring lines in one piece), ``C:`` the client must have sent (all of it, nothing else),
``E:`` it must have told (the same), ``>`` the driver does something, ``#`` a comment. ``\\xNN`` and ``\\n`` are octets in S and
C lines; a final ``\\`` means that no CR LF follows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from postlatch.model.address import Address, parse_address
from postlatch.model.envelope import RecipientParams, SenderParams
from postlatch.smtp.client import ClientSession
from postlatch.smtp.client_events import (
    BodyWanted,
    Challenge,
    ClientEvent,
    Closed,
    Finished,
    LoggedIn,
    LoginRefused,
    Ready,
    TlsRefused,
)
from postlatch.smtp.client_transaction import Transaction

Feed = Callable[[ClientSession, bytes], None]


@dataclass(frozen=True)
class To:
    """A recipient."""

    address: Address
    params: RecipientParams = RecipientParams()


def mailbox(text: str) -> Address:
    """An address that is valid with SMTPUTF8."""
    return parse_address(text, smtputf8=True)


def feed_whole(engine: ClientSession, data: bytes) -> None:
    """All in one piece."""
    engine.receive(data)


def feed_octets(engine: ClientSession, data: bytes) -> None:
    """Octet by octet."""
    for octet in data:
        engine.receive(bytes((octet,)))


def play(path: Path, feed: Feed) -> None:
    """Play the file; AssertionError where the engine differs."""
    lines = path.read_text("utf-8").splitlines()
    lmtp = "# lmtp" in lines
    engine = ClientSession("me.example.org", lmtp=lmtp)
    for kind, text in _turns(lines):
        if kind == "S":
            feed(engine, text.encode("latin-1"))
        elif kind == "C":
            _same(engine.take_output().decode("latin-1"), text)
        elif kind == "E":
            _same("".join(f"{_told(event)}\n" for event in engine.take_events()), text)
        else:
            _do(engine, text)
    _same(engine.take_output().decode("latin-1"), "")
    _same("".join(map(_told, engine.take_events())), "")


def _same(found: str, expected: str) -> None:
    assert found == expected, f"{found!r} instead of {expected!r}"


def _turns(lines: list[str]) -> Iterator[tuple[str, str]]:
    parts = [(line[0], line[2:].strip() if line[0] == ">" else line[3:]) for line in lines if line and not line.startswith("#")]
    for kind, group in groupby(parts, key=lambda part: part[0]):
        texts = [text for _, text in group]
        if kind == ">":
            yield from ((kind, text) for text in texts)
        elif kind == "E":
            yield kind, "".join(f"{text}\n" for text in texts)
        else:
            yield kind, "".join(_octets(text) for text in texts)


def _octets(text: str) -> str:
    line = text[:-1] if text.endswith("\\") else f"{text}\r\n"
    return line.encode("latin-1").decode("unicode_escape") if "\\" in line else line


def _do(engine: ClientSession, text: str) -> None:
    verb, *words = text.split(" ")
    if verb in {"begin", "probe"}:
        engine.begin(_transaction(words, probe=verb == "probe"))
    elif verb == "body":
        engine.send_body(_octets(text.partition(" ")[2]).encode("latin-1"))
    elif verb == "end":
        engine.end_body()
    elif verb == "auth":
        engine.auth(words[0], words[1].encode() if len(words) > 1 else None)
    elif verb == "respond":
        engine.auth_respond(words[0].encode())
    elif verb == "lost":
        engine.lost(*([" ".join(words)] if words else []))
    else:
        {"starttls": engine.starttls, "tls_started": engine.tls_started, "quit": engine.quit}[verb]()


def _transaction(words: list[str], *, probe: bool) -> Transaction:
    """``FROM TO,TO,… [size=N] [8bit] [utf8] [smtputf8] [ret=…] [envid=…] [notify=A,B] [orcpt=…]``; ``<>`` is no sender."""
    sender, recipients, *rest = words
    options = dict(word.partition("=")[::2] for word in rest)
    params = RecipientParams(frozenset(filter(None, options.get("notify", "").split(","))), options.get("orcpt", ""))
    return Transaction(
        None if sender == "<>" else mailbox(sender),
        SenderParams(smtputf8="smtputf8" in options, ret=options.get("ret", ""), envid=options.get("envid", "")),
        [To(mailbox(text), params) for text in recipients.split(",")],
        size=int(options.get("size", "100")),
        eight_bit="8bit" in options,
        utf8_headers="utf8" in options,
        probe=probe,
    )


def _told(event: ClientEvent) -> str:
    name = type(event).__name__
    match event:
        case Finished(transaction):
            return " | ".join([name + " (replayable)" * transaction.replayable, *_outcomes(transaction)])
        case BodyWanted(transaction):
            return f"{name} {','.join(str(transaction.recipients[index].address) for index in transaction.accepted)}"
        case Closed(reason):
            return name if reason is None else f"{name} {reason.enhanced} {reason.text}"
        case Challenge(data):
            return f"{name} {data.decode('latin-1')}"
        case LoggedIn(reply) | LoginRefused(reply) | TlsRefused(reply):
            return f"{name} {reply}"
        case Ready(offered):
            flags = ("pipelining", "eight_bit_mime", "smtputf8", "dsn", "chunking", "starttls", "enhanced_codes")
            words = [flag for flag in flags if getattr(offered, flag)]
            words += [f"size={offered.size}"] * (offered.size is not None)
            words += [f"auth={','.join(sorted(offered.mechanisms))}"] * bool(offered.mechanisms)
            words += [f"rcptmax={offered.rcpt_max}"] * bool(offered.rcpt_max)
            words += [f"mailmax={offered.mail_max}"] * bool(offered.mail_max)
            return " ".join([name, *words])
        case _:
            return name


def _outcomes(transaction: Transaction) -> Iterator[str]:
    for recipient, outcome in zip(transaction.recipients, transaction.outcomes, strict=True):
        assert outcome is not None
        yield f"{recipient.address}: {outcome.enhanced} {outcome.text}"
