"""Where DKIM of ours differs from another's, and why: the kinds of difference that are known, with the RFC's section."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from dkim_cases import Case


class Explained(NamedTuple):
    """A kind of difference, and how one knows it from the message and from what both sides said of it."""

    kind: str
    section: str
    applies: Callable[[Case, str, str], bool]


def ours(words: str) -> Callable[[Case, str, str], bool]:
    """We say these words."""
    return lambda _case, said, _theirs: words in said


def theirs(words: str) -> Callable[[Case, str, str], bool]:
    """They do."""
    return lambda _case, _ours, said: words in said


def marked(mark: str) -> Callable[[Case, str, str], bool]:
    """The message was made so, and we say that it passes."""
    return lambda case, said, _theirs: mark in case and said.startswith("pass")


def _space_before_colon(case: Case, _ours: str, said: str) -> bool:
    return "Unexpected characters" in said and re.search(rb"(?:^|\n)[!-9;-~]+[ \t]+:", case.header) is not None


def _no_field(case: Case, _ours: str, said: str) -> bool:
    lines = re.sub(rb"\r\n[ \t]", b" ", case.header).split(b"\r\n")
    return "Unexpected characters" in said and any(line and not re.match(rb"[!-9;-~]+:", line) for line in lines)


def _bare_lf(case: Case, _ours: str, _theirs: str) -> bool:
    return re.search(rb"(?<!\r)\n", case.message) is not None


def _open_last_line(case: Case, _ours: str, _theirs: str) -> bool:
    return re.search(rb"[ \t]\r?\Z", case.body) is not None and b"/relaxed" in case.header


def _no_single_space(case: Case, _ours: str, _theirs: str) -> bool:
    return b"=simple/" in case.header and re.search(rb"(?m)^[!-9;-~]+:(?! [^ \t\r])", case.header) is not None


def _one_for_all(_case: Case, said: str, theirs_: str) -> bool:
    return theirs_ == "permerror" and "pass:" not in said


def _gives_up_at_signature(_case: Case, said: str, theirs_: str) -> bool:
    return not theirs_ and "permerror:" in said


def _gives_up_at_header(case: Case, _ours: str, said: str) -> bool:
    lines = re.sub(rb"\r\n[ \t]", b" ", case.header).split(b"\r\n")
    no_field = any(line and not re.match(rb"[!-9;-~]+[ \t]*:", line) for line in lines)
    return not said and (no_field or re.search(rb"(?im)^from[ \t]*:", case.header) is None)


DKIMPY: tuple[Explained, ...] = (
    Explained("dkimpy honours l=, after which anything can follow; ours says policy", "RFC 6376 8.2", ours("(l=)")),
    Explained("dkimpy lets signatures pass ten hours after their end; ours not a second", "RFC 6376 3.5", ours("has expired")),
    Explained("dkimpy believes clocks that are ten hours ahead; ours five minutes", "RFC 6376 3.5", ours("in the future")),
    Explained("dkimpy verifies SHA-1", "RFC 8301 3.1", ours("SHA-1")),
    Explained(
        "dkimpy fails at a message that begins with a folded line; ours skips it", "RFC 5322 2.2.3", theirs("IndexError")
    ),
    Explained("dkimpy verifies signatures that do not cover From", "RFC 6376 5.4", ours("does not cover From")),
    Explained("dkimpy takes an i= whose domain is none", "RFC 6376 3.5", ours("i= has no domain")),
    Explained("dkimpy refuses a message with white space before a colon", "RFC 6376 3.4.2", _space_before_colon),
    Explained("dkimpy refuses a message with a line that is no field; ours skips it", "RFC 5322 2.2", _no_field),
    Explained("dkimpy skips empty names in h=", "RFC 6376 3.5", ours("h= is not a list")),
    Explained("dkimpy reads tag names that are none, and control characters", "RFC 6376 3.2", ours("signature is malformed")),
    Explained("dkimpy wants base64 padded, the grammar permits it unpadded", "RFC 6376 2.10", theirs("not valid base64")),
    Explained("dkimpy reads a q= of one method only; the RFC has a list", "RFC 6376 3.5", theirs("q= value is not dns/txt")),
    Explained("dkimpy lets h= name the signature itself, which was not there yet", "RFC 6376 3.7", marked("own")),
    Explained("dkimpy keeps white space behind b= in simple headers", "RFC 6376 3.7", marked("tail")),
    Explained("dkimpy reads a bare LF as a line end", "RFC 6376 5.3", _bare_lf),
    Explained("dkimpy keeps white space at a last line without its CRLF", "RFC 6376 3.4.4", _open_last_line),
)
OPENDKIM: tuple[Explained, ...] = (
    Explained("OpenDKIM passes over what is no base64 in b=", "RFC 6376 2.10", ours("b= is not base64")),
    Explained("opendkim -t reads one space behind each colon, for simple too", "RFC 6376 3.4.1", _no_single_space),
    Explained("OpenDKIM says permerror once for a message that breaks RFC 5322", "RFC 5322 3.6", _one_for_all),
    Explained(
        "OpenDKIM gives up where one signature is malformed; ours checks the others", "RFC 6376 6.1", _gives_up_at_signature
    ),
    Explained(
        "OpenDKIM gives up at a header without From, or with a line that is no field", "RFC 5322 3.6", _gives_up_at_header
    ),
)
