"""Lines and their parts by themselves: bounds, costs, xtext, and the forms that relay probes use."""

from __future__ import annotations

import json
import re
import time
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postlatch.model.address import Address
from postlatch.model.envelope import Role
from postlatch.smtp import xtext
from postlatch.smtp.commands import CommandError, parse_mail, parse_rcpt
from postlatch.smtp.lines import LineBuffer, LineTooLong
from postlatch.smtp.server import ServerConfig, ServerSession
from postlatch.testing.transcript import SessionPeer

# What the placeholders of relay_vectors.json stand for.
VALUES = {
    "T": "canary.test",
    "T2": "other.test",
    "U": "canary",
    "L": "example.com",
    "H": "mx.example.com",
    "IP": "192.0.2.25",
    "X": "sender",
    "R": "alice",
    "R2": "bob",
    "V": "victim@canary.test",
    "T_IP": "198.51.100.7",
    "T_IP6": "2001:db8::7",
    "RAND": "rand0m",
    "MXT": "mxt.test",
    "BMX": "branch.example",
    "WILD_MX": "wild.test",
    "A_LOOPBACK": "loop.test",
    "A_TARGET": "target.test",
    "CNAME_L": "cname.test",
    "T_UPPER": "CANARY.TEST",
    "L_MIXED": "ExAmPlE.CoM",
    "L_DOT_AS_X": "exampleXcom",
    "T_IDN_U": "bücher.test",
    "T_IDN_A": "xn--bcher-kva.test",
    "L_FULLWIDTH_DOT": "example．com",  # noqa: RUF001 (the look-alike is the test)
    "L_IDEOGRAPHIC_DOT": "example。com",
    "L_HOMOGRAPH": "exаmple.com",  # noqa: RUF001
    "U_8BIT": "cänary",
    "LOCAL65": "a" * 65,
    "DOMAIN256": ".".join(["d" * 63] * 4) + ".test",
    "NUL": "\0",
    "TAB": "\t",
    "CR": "\r",
    "LF": "\n",
}


def fill(template: str) -> str:
    return re.sub(r"\{(\w+)\}", lambda match: VALUES[match[1]], template)


def envelopes(testdata: Path) -> list[tuple[str, str, str]]:
    """Id, MAIL line and RCPT line of every vector in envelope form."""
    vectors = json.loads((testdata / "relay_vectors.json").read_text("utf-8"))["vectors"]
    found = []
    for vector in vectors:
        if vector["kind"] == "envelope":
            lines = [f"RCPT TO:<{recipient}>" for recipient in vector["rcpt_to"]] + vector.get("raw_rcpt", [])
            for sender, line in product(vector["mail_from"], lines):
                found.append((vector["id"], fill(f"MAIL FROM:<{sender}>"), fill(line)))
    return found


def test_every_relay_vector_is_an_error_or_exactly_one_mailbox(testdata: Path) -> None:
    tried = envelopes(testdata)
    assert len(tried) > 100
    for name, mail, rcpt in tried:
        for role in ("mx", "submission"):
            peer = SessionPeer({"role": role})
            peer.send(b"EHLO client.example\r\n", [])
            peer.send(mail.encode() + b"\r\n", [])
            if not peer.history[-1].startswith("Mail"):
                assert peer.history[-1].startswith("Rejected verb=MAIL reply=501"), name
                peer.send(b"MAIL FROM:<sender@canary.test>\r\n", [])
            before = len(peer.history)
            for line in rcpt.split("\r\n"):
                peer.send(line.encode() + b"\r\n", [])
            for line, event in zip(rcpt.split("\r\n"), peer.history[before:], strict=True):
                check_recipient(name, line, event, role)


def check_recipient(name: str, line: str, event: str, role: str) -> None:
    if event.startswith("Rcpt"):
        text = event.removeprefix("Rcpt recipient=")
        assert line == f"RCPT TO:<{text}>", name  # passed on exactly, nothing stripped or rewritten
        assert text.isascii()
        if text == "postmaster":
            assert role == "mx"
            return
        address, _ = parse_rcpt(f"TO:<{text}>", esmtp=True)
        assert re.fullmatch(r"[a-z0-9.-]+|\[[0-9A-Za-z:.]+\]", address.domain), name
        assert text.lower().endswith(f"@{address.domain.lower()}") or address.is_literal
    else:
        assert re.match(r"Rejected verb=(RCPT|\?) reply=(500 5\.5\.2|501 5\.1\.3|501 5\.5\.[24]|553 5\.6\.7) ", event), (
            name,
            event,
        )


QUOTED = st.lists(st.sampled_from(["a", ">", "<", " ", "@", ".", r"\"", r"\\", "\\>", "=", ","]), max_size=12).map(
    lambda parts: '"' + "".join(parts) + '"@example.org'
)


@given(text=QUOTED)
def test_the_end_of_a_path_is_found_behind_any_quoted_local_part(text: str) -> None:
    address, params = parse_rcpt(f"TO:<{text}> NOTIFY=NEVER", esmtp=True)
    assert address.text == text
    assert params.notify == {"NEVER"}


@given(text=st.text(max_size=80))
def test_a_path_is_refused_or_kept_as_it_is(text: str) -> None:
    for smtputf8 in (False, True):
        try:
            address, _ = parse_rcpt(f"TO:{text}", esmtp=True, smtputf8=smtputf8)
        except CommandError:
            continue
        assert isinstance(address, Address)
        assert text.lstrip(" ").startswith(f"<{address.text}>")
        assert address.text.count("@") >= 1


@pytest.mark.parametrize(
    "argument",
    [
        "FROM:<" + '"' * 4000,
        "FROM:<" + '"\\' * 2000,
        "FROM:<" + '""' * 2000,
        "FROM:<" + "a" * 4000,
        "FROM:<" + '"a"a' * 1000 + ">x",
        "FROM:<a@b.example> " + "A=" * 2000,
        "FROM:<a@b.example> ENVID=" + "+4" * 2000,
        "FROM:<a@b.example>" + " " * 4000 + "x",
        "FROM:<" + "a." * 2000 + ">",
        "FROM:<" + "<" * 4000,
    ],
)
def test_no_line_is_expensive_to_refuse(argument: str) -> None:
    began = time.perf_counter()
    with pytest.raises(CommandError):
        parse_mail(argument, esmtp=True)
    assert time.perf_counter() - began < 0.05


@given(text=st.text(max_size=60))
def test_xtext_comes_back(text: str) -> None:
    try:
        encoded = xtext.encode(text)
    except UnicodeEncodeError:
        return
    assert encoded.isascii()
    assert not re.search(r"[\x00-\x20=\x7f]", encoded)
    assert xtext.decode(encoded) == text


@pytest.mark.parametrize("text", ["a b", "a=b", "+", "+4", "+4g", "+4a", "ä", "a\n", "+FF", "\x7f"])
def test_what_is_not_xtext_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"xtext|utf-8"):
        xtext.decode(text)


def test_a_line_without_end_is_never_kept_beyond_the_limit() -> None:
    talk = ServerSession(ServerConfig("mx.example.com", Role.MX))
    talk.start()
    talk.output()
    for _ in range(160):  # 10 MB
        talk.receive(b"x" * 65536)
        list(iter(talk.next_event, None))
        assert len(talk._lines.data) <= 4096
    assert talk.output() == b"500 5.5.2 Line too long\r\n"


def test_an_auth_line_may_be_longer_than_others() -> None:
    peer = SessionPeer({"tls_active": "yes", "mechanisms": "PLAIN"})
    peer.send(b"EHLO client.example\r\n", [])
    for octet in b"AUTH PLAIN " + b"A" * 12_272 + b"\r\n":
        peer.send(bytes((octet,)), ["535 5.7.8 No"])
    assert peer.history[-1].startswith("AuthStart")
    peer.send(b"AUTH PLAIN " + b"A" * 12_277, [])
    assert peer.history[-1] == "Closed reason=line too long"


@given(
    lines=st.lists(st.binary(max_size=12).map(lambda data: data.replace(b"\n", b"")), max_size=6),
    at=st.sets(st.integers(1, 80)),
)
def test_lines_come_out_as_they_went_in(lines: list[bytes], at: set[int]) -> None:
    data = b"".join(line + b"\r\n" for line in lines)
    inside = [place for place in sorted(at) if place < len(data)]
    buffer = LineBuffer()
    found = []
    for start, end in zip([0, *inside], [*inside, len(data)], strict=True):
        buffer.data += data[start:end]
        while (line := buffer.line(20)) is not None:
            found.append(line)
    assert found == lines


@pytest.mark.parametrize("end", [b"", b"\r", b"\n", b"\r\n"])
def test_the_limit_of_a_line_counts_its_end(end: bytes) -> None:
    buffer = LineBuffer()
    buffer.data += b"x" * 18 + b"\r\n"
    assert buffer.line(20) == b"x" * 18
    buffer.data += b"x" * (20 if not end else 21 - len(end)) + end
    with pytest.raises(LineTooLong):
        buffer.line(20)
