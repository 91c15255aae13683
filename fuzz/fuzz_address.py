"""Addresses, parameters and xtext: what is parsed, written and parsed again is the same, also over the wire to the next hop."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from harness import instrumented, run

with instrumented():
    from postlatch.accounts.names import login_key, parse_login
    from postlatch.accounts.problem import AccountError
    from postlatch.model.address import POSTMASTER, Address, AddressError, parse_address, parse_domain
    from postlatch.model.envelope import RecipientParams, SenderParams
    from postlatch.smtp import commands, xtext
    from postlatch.smtp.client_capabilities import Capabilities
    from postlatch.smtp.client_commands import Unsendable, mail_line, rcpt_line
    from postlatch.smtp.client_transaction import Transaction
    from postlatch.smtp.commands import CommandError

OFFERS = Capabilities(pipelining=True, eight_bit_mime=True, smtputf8=True, dsn=True, size=0)


@dataclass(frozen=True)
class To:
    """A recipient."""

    address: Address
    params: RecipientParams


def one_input(data: bytes) -> None:
    """One input, as each of what it may be."""
    text = data.decode("utf-8", "surrogateescape" if data[:1] < b"a" else "replace")
    address(text, smtputf8=False)
    address(text, smtputf8=True)
    domain(text)
    login(text)
    encoded(text)
    sender(data)
    recipient(data)


def address(text: str, *, smtputf8: bool) -> None:
    """An address alone."""
    try:
        found = parse_address(text, smtputf8=smtputf8)
    except AddressError:
        return
    assert str(found) == found.text == text
    assert parse_address(str(found), smtputf8=True) == found
    assert found.domain == found.domain.lower() or found.is_literal
    assert found.domain.isascii()
    assert not found.domain.endswith(".")
    assert not any(c < " " or c == "\x7f" for c in text)
    assert found.is_literal or parse_domain(found.domain) == found.domain


def domain(text: str) -> None:
    """A domain alone."""
    try:
        name = parse_domain(text)
    except AddressError:
        return
    assert parse_domain(name) == name
    assert len(name) <= 255
    assert name.isascii()


def login(text: str) -> None:
    """What a client calls itself."""
    assert login_key(login_key(text)) == login_key(text) or not text.isascii()
    try:
        name = parse_login(text)
    except AccountError:
        return
    assert parse_login(name) == name


def encoded(text: str) -> None:
    """xtext both ways."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return
    wire = xtext.encode(text)
    assert xtext.decode(wire) == text
    assert all("!" <= c <= "~" and c != "=" for c in wire)
    try:
        decoded = xtext.decode(text)
    except ValueError:
        return
    assert xtext.decode(xtext.encode(decoded)) == decoded


def sender(line: bytes) -> None:
    """MAIL as a client sent it, and as we send it on."""
    try:
        found, params = commands.parse_mail(commands.decode_line(line), esmtp=True)
    except CommandError:
        return
    transaction = Transaction(found, SenderParams(smtputf8=params.smtputf8, ret=params.ret, envid=params.envid), [])
    try:
        wire = mail_line(transaction, OFFERS)
    except Unsendable:
        assert found is None or not found.text.isprintable()
        return
    check_line(wire)
    again, passed = commands.parse_mail(commands.decode_line(wire[5:-2]), esmtp=True)
    assert again == found
    assert (passed.ret, passed.envid) == (params.ret, params.envid)


def recipient(line: bytes) -> None:
    """RCPT likewise."""
    try:
        found, params = commands.parse_rcpt(commands.decode_line(line), esmtp=True, smtputf8=True, bare_postmaster=True)
    except CommandError:
        return
    try:
        wire = rcpt_line(To(found, params), OFFERS)
    except Unsendable:
        assert not found.text.isprintable() or not params.orcpt.isprintable()
        return
    check_line(wire)
    again, passed = commands.parse_rcpt(commands.decode_line(wire[5:-2]), esmtp=True, smtputf8=True, bare_postmaster=True)
    assert again == found
    assert passed == params


def check_line(wire: bytes) -> None:
    """One command line, and nothing that could be read as two."""
    assert wire.endswith(b"\r\n")
    assert not any(octet in wire[:-2] for octet in (b"\r", b"\n", b"\0"))


SAMPLES = (
    "a@example.com",
    "A.b+c@Example.COM",
    '"a b"@example.com',
    '"a\\"b>c"@example.com',
    "a@[192.0.2.1]",
    "a@[IPv6:2001:db8::1]",
    "jos\u00e9@b\u00fccher.example",
    "a@xn--bcher-kva.example",
    "a%b@example.com",
    "a@example\uff0ecom",
    "a@stra\u00dfe.example",
    "a@b@c.example",
    "a" * 64 + "@" + ".".join(["d" * 60] * 3),
    POSTMASTER.text,
)


def seeds() -> Iterator[bytes]:
    """Addresses, alone and in commands."""
    for text in SAMPLES:
        yield text.encode()
        yield f"FROM:<{text}> SIZE=10 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=a+2Bb+3D AUTH=<>".encode()
        yield f"TO:<{text}> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;a+40b".encode()
        yield f"to: <{text}> ORCPT=utf-8;{text}".encode()
    yield b"FROM:<> SMTPUTF8"
    yield b"TO:<postmaster>"
    yield b"a+2Bb+C3+A9"


if __name__ == "__main__":
    run(one_input, seeds)
