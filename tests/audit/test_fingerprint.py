"""Which server a greeting, an EHLO answer and replies tell."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postlatch.audit.fingerprint import MOST_VERSION, NAMES, Recognised, recognise

GREETINGS = [
    ("220 mx.example.com ESMTP Postfix", "postfix", ""),
    ("220 mx.example.com ESMTP Postfix (Debian/GNU)", "postfix", ""),
    ("220 mx.example.com ESMTP Postfix (3.7.11)", "postfix", "3.7.11"),
    ("220-mx.example.com ESMTP, be polite\r\n220 mx.example.com ESMTP Postfix (3.11-20260404)", "postfix", "3.11-20260404"),
    ("220 mx.example.com ESMTP Exim 4.96-58-g4e9ed49f8 Mon, 01 Jun 2026", "exim", "4.96-58-g4e9ed49f8"),
    ("220 mx.example.com ESMTP Exim 4.97", "exim", "4.97"),
    ("220 mx.example.com ESMTP Sendmail 8.17.1.9/8.17.1.9/Debian-2+deb12u2; Mon", "sendmail", "8.17.1.9"),
    ("220 mx.example.com ESMTP OpenSMTPD", "opensmtpd", ""),
    ("220 mx.example.com Microsoft ESMTP MAIL Service ready at Fri, 6 Mar 2026", "exchange", ""),
    ("220 mx Microsoft ESMTP MAIL Service, Version: 6.0.3790.4675 ready", "exchange", "6.0.3790.4675"),
    ("220 mx.example.com ESMTP Haraka/3.0.3 ready", "haraka", "3.0.3"),
    ("220 mx.example.com ESMTP Haraka 2.8.27 ready", "haraka", "2.8.27"),
    ("220 mx.example.com ESMTP hMailServer 5.6.8-B2574", "hmailserver", "5.6.8-b2574"),
    ("220 mx.example.com Stalwart ESMTP at your service", "stalwart", ""),
    ("220 mx.example.com Python SMTP 1.4.6", "aiosmtpd", "1.4.6"),
    ("220 mx.example.com ESMTP Postlatch", "postlatch", ""),
    ("220 mx.example.com Kerio Connect 9.4.2 ESMTP ready", "kerio", "9.4.2"),
    ("220 mx.example.com SurgeSMTP (Version 7.3a-2) http://surgemail.com", "surgemail", "7.3a-2"),
    ("220 mx.example.com ESMTP MDaemon 23.0.2; Mon", "mdaemon", "23.0.2"),
    ("mx.example.com ESMTP Exim 4.99.1", "exim", "4.99.1"),
]


@pytest.mark.parametrize(("banner", "product", "version"), GREETINGS)
def test_a_greeting_that_names_its_server_tells_it_and_its_version(banner: str, product: str, version: str) -> None:
    found = recognise(banner)
    assert (found.product, found.version, found.how) == (product, version, "banner")


@pytest.mark.parametrize(
    "banner",
    [
        "220 postfix.example.com ESMTP",
        "220 mail.exim.example ESMTP ready",
        "220 mx.example.com ESMTP run by sendmail.example",
        "220 mx.example.com ESMTP Eximious",
        "220 mx.example.com ESMTP not-postfix-at-all",
        "220 mx.example.com ESMTP ready",
        "",
        "HTTP/1.1 400 Bad Request",
    ],
)
def test_a_name_within_another_word_or_a_host_is_no_evidence(banner: str) -> None:
    assert recognise(banner) == Recognised()


def test_a_distribution_in_the_greeting_is_told() -> None:
    assert recognise("220 mx ESMTP Postfix (Debian/GNU)").distribution == "Debian"
    assert recognise("220 mx ESMTP Postfix (Ubuntu)").distribution == "Ubuntu"
    assert recognise("220 mx ESMTP Postfix").distribution == ""


EHLOS = [
    (["250-mx Hello client [192.0.2.1], Haraka is at your service.", "250 SIZE 0"], "haraka"),
    (["250-mx Ok.", "250-XVERP=Courier", "250 DSN"], "courier"),
    (["250-mx Hello [192.0.2.1]", "250-X-ANONYMOUSTLS", "250 XRDST"], "exchange"),
    (["250-mx Hello c [192.0.2.1], pleased to meet you", "250-ENHANCEDSTATUSCODES", "250-ETRN", "250 HELP"], "sendmail"),
    (["250-mx Hello c [192.0.2.1], pleased to meet you", "250-8BITMIME", "250-SIZE 1", "250 HELP"], "opensmtpd"),
    (["250-mx Hello c [192.0.2.1], pleased to meet you", "250 SIZE 0"], ""),
    (["mx Hello c [192.0.2.1]", "X_PIPE_CONNECT"], "exim"),
    (["250-mx", "250 SIZE"], ""),
]


@pytest.mark.parametrize(("ehlo", "product"), EHLOS)
def test_a_silent_greeting_leaves_it_to_the_ehlo_answer(ehlo: list[str], product: str) -> None:
    found = recognise("220 mx.example.com ESMTP", ehlo)
    assert (found.product, found.how) == (product, "EHLO" if product else "")


REPLIES = [
    ("554 5.7.1 <a@b.example>: Relay access denied", "postfix"),
    ("454 4.7.1 <a@b.example>: Relay access denied", "postfix"),
    ("550 5.7.0 Error: insufficient authorization", "postfix"),
    ("550 relay not permitted", "exim"),
    ("550 Restricted characters in address", "exim"),
    ("550 5.7.1 <a@b.example>... Relaying denied. Proper authentication required.", "sendmail"),
    ("550 Invalid recipient: <a@b.example>", "opensmtpd"),
    ("550 I cannot deliver mail for <a@b.example>", "haraka"),
    ("550 5.1.2 Relay not allowed.", "stalwart"),
    ("550 5.7.54 SMTP; Unable to relay recipient in non-accepted domain", "exchange"),
    ("550 5.7.1 Unable to relay", "exchange"),
    ("550 5.7.68 TenantInboundAttribution; Direct Send not allowed for this organization", "exchange"),
    ("553 sorry, that domain isn't in my list of allowed rcpthosts (#5.7.1)", "qmail"),
    ("501 5.1.8 Non-local sender domain (msg ID = 913b2863)", "maddy"),
    ("513 Relaying denied.", "courier"),
    ("550 Delivery is not allowed to this address.", "hmailserver"),
    ("250 2.1.5 Ok", ""),
]


@pytest.mark.parametrize(("reply", "product"), REPLIES)
def test_the_words_of_a_refusal_tell_a_server_that_says_nothing_else(reply: str, product: str) -> None:
    found = recognise("220 mx.example.com ESMTP", ["250 mx"], [reply])
    assert (found.product, found.how) == (product, "reply" if product else "")


def test_help_of_sendmail_tells_its_version() -> None:
    assert recognise("220 mx ESMTP", (), ["214-2.0.0 This is sendmail version 8.18.1"]).version == "8.18.1"


def test_what_a_server_says_of_itself_goes_before_how_it_refuses() -> None:
    assert recognise("220 mx ESMTP Exim 4.97", ["250-X-EXPS NTLM"], ["550 5.7.1 Unable to relay"]).product == "exim"


@settings(max_examples=200, deadline=None)
@given(st.text(), st.lists(st.text(), max_size=5), st.lists(st.text(), max_size=5))
def test_any_text_gives_a_result_of_bounded_printable_words(banner: str, ehlo: list[str], replies: list[str]) -> None:
    for text in (banner, f"220 mx ESMTP Postfix ({banner}"):
        found = recognise(text, ehlo, replies)
        assert not found.product or found.product in NAMES
        assert len(found.version) <= MOST_VERSION
        assert (found.version + found.name).isascii()
        assert (found.version + found.name).isprintable()


def test_a_megabyte_is_cut_before_it_is_looked_at() -> None:
    assert recognise("220 mx " + "x" * 1_000_000 + " Postfix", ["x" * 1_000_000], ["y\n" * 500_000]) == Recognised()
