"""Header blocks and delivery reports: read alike however cut, in bounded time, and never structure in a report of ours.

Input: 8 octets of decisions, then a message; parts of it also play what a peer said and what a client asked for.
"""

from __future__ import annotations

import email
import email.policy
import re
import time
from collections.abc import Iterator
from typing import cast

from harness import Bits, instrumented, pieces, run

with instrumented():
    from postlatch.delivery.dsn import Report, Reported, compose
    from postlatch.delivery.dsn_text import Action
    from postlatch.delivery.headers import header_of, own_hops, was_delivered_to
    from postlatch.model.address import Address, parse_address
    from postlatch.model.envelope import RecipientParams, SenderParams
    from postlatch.server.headers import HeaderCollector, read_facts
    from postlatch.smtp.client_replies import escape
    from postlatch.spool.contract import StoredMessage

DECISIONS = 8
SLOW = 2.0  # seconds under instrumentation, for at most 64 KiB; without it a tenth
_SENDER = parse_address("alice@example.com")
_WIDE_SENDER = parse_address("jos\u00e9@example.com", smtputf8=True)
_RECIPIENTS = (parse_address("bob@example.org"), parse_address('"b>\\"x"@example.org'))


def one_input(data: bytes) -> None:
    """One input."""
    bits, message = Bits(data[:DECISIONS]), data[DECISIONS:]
    began = time.thread_time()  # of this thread: how busy the machine is decides nothing
    whole, cut = collected([message]), collected(pieces(message, bits))
    assert whole == cut
    block = whole[0]
    facts = read_facts(block)
    for address in facts.header_from or ():
        assert parse_address(address.text, smtputf8=True) == address
    assert facts.message_id.isascii()
    header = header_of(message)
    own_hops(header, "mx.example.com")
    was_delivered_to(header, _SENDER)
    check(report(bits, message, header))
    assert time.thread_time() - began < SLOW


def collected(parts: list[bytes]) -> tuple[bytes, bytes, bool]:
    """Header block, rest, and whether it was too long."""
    collector, rest = HeaderCollector(), b""
    for part in parts:
        if collector.complete or collector.too_long:
            rest += part
        else:
            collector.feed(part)
            rest += collector.rest
    if not collector.too_long:
        collector.finish()
    return collector.block, rest, collector.too_long


def report(bits: Bits, message: bytes, header: bytes) -> tuple[Report, bytes]:
    """A report about the message, to which its octets are also all that others chose."""
    text = message[: bits.take(8)].decode("utf-8", "replace")
    raw = escape(message[:600])
    wide = bool(bits.take(1))
    actions = list(Action)
    one = Report(
        hostname="mx.example.com",
        sender=_WIDE_SENDER if wide else _SENDER,
        message=StoredMessage(
            message_id=1,
            sender=_SENDER,
            received_at=1_767_225_600.0,
            size=len(message),
            params=SenderParams(envid=text),
            header_message_id=read_facts(header).message_id,
        ),
        action=actions[bits.take(2)],
        recipients=tuple(reported(address, text, raw) for address in _RECIPIENTS),
        header=header,
        now=1_767_225_700.0,
        retry_until=1_767_325_700.0,
    )
    return one, compose(one)


def reported(address: Address, text: str, raw: str) -> Reported:
    """A recipient of whom others said these things."""
    return Reported(address, address, RecipientParams(orcpt=text), text[:6], raw, text[:80])


def check(composed: tuple[Report, bytes]) -> None:
    """One multipart/report with its three parts and the fields that it must have, whatever went in."""
    one, content = composed
    rest = content.replace(b"\r\n", b"")
    assert not any(octet in rest for octet in (b"\r", b"\n", b"\0"))
    assert max(map(len, content.split(b"\r\n"))) <= 998
    assert content.isascii() or one.smtputf8
    mail = email.message_from_bytes(content, policy=email.policy.compat32)
    assert mail.get_content_type() == "multipart/report"
    parts = cast("list[email.message.Message]", mail.get_payload())
    assert len(parts) == 3, content
    assert mail.get_all("To") is not None
    assert len(mail.get_all("To") or ()) == len(mail.get_all("Auto-Submitted") or ()) == 1
    blocks = content.split(b"Content-Type: message/", 1)[1].split(b"\r\n--=_")[0].split(b"\r\n\r\n")[1:]
    assert len([block for block in blocks if block.strip()]) == 1 + len(one.recipients)
    for block in blocks[1:]:
        assert len(re.findall(rb"(?m)^(?:Final-Recipient|Action|Status):", block)) == 3, block


_MESSAGES = (
    b"From: a@example.com\r\nSubject: x\r\nMessage-ID: <1@example.com>\r\n\r\nbody\r\n",
    b'From: Alice <a@example.com>, "B" <b@example.com>\r\nReceived: from x\r\n\tby mx.example.com; date\r\n\r\n',
    b"From: (comment (nested)) a@example.com (x)\r\nFrom: b@example.com\r\n\r\n",
    b"From: " + b"(" * 2000 + b"\r\n\r\n",
    b"From: group: a@example.com, b@example.com;\r\nDelivered-To: alice@example.com\r\n\r\n",
    b"\r\nno header\r\n",
    b"no colon\r\n: no name\r\n folded\r\n\r\n",
    b"Subject: \xff\xfe\r\nX: " + b"y" * 1200 + b"\r\n\r\n",
    b"550 5.1.1 no such user\r\n--=_boundary\r\n\r\n",
    b"a+0D+0AAction: delivered",
)


def seeds() -> Iterator[bytes]:
    """Messages, cut in three ways."""
    for message in _MESSAGES:
        for decisions in (b"\x00\x40", b"\x01\xff", b"\x02\x11\x22\x33\xff\xff\xff\xff"):
            yield decisions.ljust(DECISIONS, b"\x30") + message


if __name__ == "__main__":
    run(one_input, seeds)
