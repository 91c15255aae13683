"""Whatever the DNS holds and the client says: a result whose texts can be printed, after a bounded number of questions."""

from __future__ import annotations

import asyncio
from ipaddress import ip_address
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from spf_samples import NOW, RawResolver

from postlatch.model.dns import DnsError
from postlatch.senderauth.results import Result, SpfResult
from postlatch.senderauth.spf.verify import check_spf

# One question for the record; ten terms of at most eleven; the explanation's text, and once the client's names.
MOST_QUESTIONS = 1 + 10 * 11 + 1 + 11

_PIECES = (
    *(
        "all",
        "a",
        "mx",
        "ptr",
        "ip4:",
        "ip6:",
        "include:",
        "exists:",
        "redirect=",
        "exp=",
        "192.0.2.0",
        "2001:db8::",
        "/24",
        "//64",
    ),
    *(
        "%{",
        "}",
        "%%",
        "%_",
        "d",
        "s",
        "l",
        "p",
        "h",
        "i",
        "v",
        "c",
        "t",
        "2",
        "r",
        "-",
        "+",
        "?",
        "~",
        ".",
        "example.org",
        "=",
        ":",
        " ",
    ),
    *(" a:%{p}.example.org ", " include:x.example.org ", " exists:%{ir}.%{l1r-}.%{d2} ", " exp=%{d} ", " redirect=%{d} "),
)
_RECORDS = st.one_of(
    st.binary(max_size=300).map(lambda tail: b"v=spf1 " + tail),
    st.lists(st.sampled_from(_PIECES), max_size=40).map(lambda pieces: b"v=spf1 " + "".join(pieces).encode()),
    st.binary(max_size=100),
)
_HOSTS = st.one_of(st.just("h.example.org"), st.text(max_size=80))
_FAILURES = st.sampled_from([DnsError("x", temporary=True), DnsError("x", temporary=False), ValueError("x"), UnicodeError("x")])
_ADDRESSES = st.lists(st.ip_addresses(v=4), max_size=3)
_OTHERS = st.fixed_dictionaries(
    {
        "A": st.one_of(_ADDRESSES, st.just([ip_address("192.0.2.1")]), _FAILURES),
        "AAAA": st.one_of(st.lists(st.ip_addresses(v=6), max_size=3), _FAILURES),
        "MX": st.one_of(st.lists(_HOSTS, max_size=12), _FAILURES),
        "PTR": st.one_of(st.lists(_HOSTS, max_size=12), _FAILURES),
    }
)
_CLIENTS = st.one_of(st.just(ip_address("192.0.2.1")), st.ip_addresses())
_NAMES = st.one_of(
    st.just("example.org"),
    st.just("a@example.org"),
    st.text(max_size=300),
    st.text(max_size=20).map(lambda t: t + "@example.org"),
)


@settings(max_examples=600, deadline=None)
@given(st.lists(_RECORDS, min_size=1, max_size=2), _OTHERS, _CLIENTS, _NAMES, _NAMES)
def test_any_octets_in_the_dns_and_any_names_give_a_result(
    texts: list[bytes], others: dict[str, Any], client: Any, sender: str, helo: str
) -> None:
    resolver = RawResolver(texts, others)
    found = asyncio.run(
        check_spf(resolver, client=client, helo=helo, sender=sender, receiver="mx.example.com", now=NOW, timeout=5)
    )
    sound(found)
    assert resolver.asked <= MOST_QUESTIONS
    for name, _ in resolver.questions:
        assert name.isascii()
        assert name.isprintable()
        assert name == name.lower()
        assert max(map(len, name.split("."))) <= 63


@settings(max_examples=200, deadline=None)
@given(st.binary(min_size=1, max_size=2000))
def test_any_explanation_is_safe_to_print(text: bytes) -> None:
    class Explaining(RawResolver):
        async def txt(self, name: str) -> list[bytes]:
            return [text] if name.startswith("why.") else await super().txt(name)

    resolver = Explaining([b"v=spf1 -all exp=why.%{d}"])
    client = ip_address("192.0.2.1")
    found = asyncio.run(
        check_spf(resolver, client=client, helo="x", sender="\x1b\u00e9@example.org", receiver="mx.example.com", now=NOW)
    )
    sound(found)
    assert found.result is Result.FAIL


def sound(found: SpfResult) -> None:
    assert found.result in set(Result) - {Result.POLICY}
    for text in (found.domain, found.explanation or "", found.mechanism, found.reason):
        assert text.isascii()
        assert text.isprintable()
        assert len(text) <= 500
    assert 0 <= found.lookups <= 10
    assert "(RFC 7208 section" in found.reason
    assert found.explanation is None or found.result is Result.FAIL
