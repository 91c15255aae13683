"""What a record may cost, and what the DNS may do to a check: RFC 7208 section 4.6.4, and every failure of a look-up."""

from __future__ import annotations

import asyncio
from ipaddress import ip_address
from typing import Any

import pytest
from spf_samples import CLIENT, NOW, RawResolver, checked, record

from postlatch.model.dns import DnsError
from postlatch.senderauth.results import Result
from postlatch.senderauth.spf.parse import MAX_RECORD
from postlatch.senderauth.spf.verify import check_spf
from postlatch.testing.dns import FakeResolver

OTHER = {"A": ["198.51.100.1"], "AAAA": ["2001:db8::99"]}
DENIED = "v=spf1 -all"


def terms(count: int, name: str = "a:h{}.example.org") -> str:
    return "v=spf1 " + " ".join(name.format(number) for number in range(count))


def hosts(count: int) -> dict[str, Any]:
    return {f"h{number}.example.org": OTHER for number in range(count)}


def test_ten_terms_that_cause_look_ups_are_evaluated() -> None:
    resolver = FakeResolver({"example.org": record(terms(10) + " ip4:192.0.2.1"), **hosts(10)})
    found = checked(resolver)
    assert (found.result, found.lookups, found.mechanism) == (Result.PASS, 10, "ip4:192.0.2.1")
    assert len(resolver.queries) == 11


def test_the_eleventh_is_a_permerror_before_it_is_asked_for() -> None:
    resolver = FakeResolver({"example.org": record(terms(11) + " ip4:192.0.2.1"), **hosts(11)})
    found = checked(resolver)
    assert (found.result, found.lookups, found.mechanism) == (Result.PERMERROR, 10, "a:h10.example.org")
    assert len(resolver.queries) == 11
    assert ("h10.example.org", "A") not in resolver.queries
    assert "more than 10" in found.reason
    assert "section 4.6.4" in found.reason


def test_terms_of_included_records_and_redirects_count_as_well() -> None:
    zone = {
        "example.org": record("v=spf1 include:one.example.org redirect=two.example.org"),
        "one.example.org": record("v=spf1 " + "a:h0.example.org " * 4 + "-all"),
        "two.example.org": record("v=spf1 " + "a:h0.example.org " * 4 + "ip4:192.0.2.1"),
        **hosts(1),
    }
    assert checked(zone)[0] == Result.PASS
    zone["two.example.org"] = record("v=spf1 " + "a:h0.example.org " * 5 + "ip4:192.0.2.1")
    found = checked(zone)
    assert (found.result, found.lookups) == (Result.PERMERROR, 10)


def test_terms_that_ask_nothing_are_not_counted() -> None:
    found = checked({"example.org": record("v=spf1 " + "ip4:198.51.100.1 ip6:2001:db8::1 " * 40 + "x=y -all")})
    assert (found.result, found.lookups, found.mechanism) == (Result.FAIL, 0, "-all")


def test_two_void_terms_are_borne_and_the_third_is_a_permerror() -> None:
    zone = {"example.org": record(terms(2) + " ip4:192.0.2.1"), "h1.example.org": {"MX": ["10 x.example.org"]}}
    assert checked(zone).result is Result.PASS
    resolver = FakeResolver({"example.org": record(terms(4) + " ip4:192.0.2.1"), "h1.example.org": {}})
    found = checked(resolver)
    assert (found.result, found.lookups, found.mechanism) == (Result.PERMERROR, 3, "a:h2.example.org")
    assert len(resolver.queries) == 4
    assert "more than 2 terms" in found.reason


def test_a_term_is_void_once_however_many_of_its_hosts_have_no_address_of_the_clients_kind() -> None:
    zone = {
        "example.org": record("v=spf1 mx a:h9.example.org ip6:2001:db8::/32", MX=[f"10 h{n}.example.org" for n in range(5)])
    }
    zone |= {f"h{number}.example.org": {"A": ["198.51.100.1"]} for number in range(5)} | {"h9.example.org": OTHER}
    assert checked(zone, "2001:db8::1").result is Result.PASS


@pytest.mark.parametrize("way", ["include:", "redirect="])
def test_a_loop_of_records_is_a_permerror_after_ten_questions_more(way: str) -> None:
    zone = {"example.org": record(f"v=spf1 {way}b.example.org"), "b.example.org": record(f"v=spf1 {way}example.org")}
    resolver = FakeResolver(zone)
    found = checked(resolver)
    assert (found.result, found.lookups) == (Result.PERMERROR, 10)
    assert len(resolver.queries) == 11


def test_a_name_that_includes_itself_is_a_permerror() -> None:
    assert checked({"example.org": record("v=spf1 include:%{d} -all")}).result is Result.PERMERROR


@pytest.mark.parametrize(("count", "result"), [(10, Result.PASS), (11, Result.PERMERROR)])
def test_ten_mx_hosts_are_asked_for_and_an_eleventh_is_a_permerror_at_once(count: int, result: Result) -> None:
    exchanges = [f"{number} h{number}.example.org" for number in range(count)]
    zone = {"example.org": record("v=spf1 mx -all", MX=exchanges), **hosts(count), "h9.example.org": {"A": [CLIENT]}}
    resolver = FakeResolver(zone)
    assert checked(resolver).result is result
    assert len(resolver.queries) == (12 if count == 10 else 2)


def test_names_of_the_client_after_the_tenth_are_ignored() -> None:
    zone = {
        "example.org": record("v=spf1 ptr -all"),
        "1.2.0.192.in-addr.arpa": {"PTR": [f"h{number}.example.org" for number in range(11)]},
        **hosts(10),
        "h10.example.org": {"A": [CLIENT]},
    }
    resolver = FakeResolver(zone)
    assert checked(resolver).result is Result.FAIL
    assert len(resolver.queries) == 12
    zone["h9.example.org"] = {"A": [CLIENT]}
    assert checked(zone).result is Result.PASS


def test_the_names_of_the_client_are_asked_for_once() -> None:
    zone = {
        "example.org": record("v=spf1 ptr:a.example ptr:b.example exists:%{p}.c.example exists:%{p}.d.example ptr -all"),
        "1.2.0.192.in-addr.arpa": {"PTR": ["h.example.org", "h.a.example", "h.b.example"]},
        "h.example.org": {"A": [CLIENT]},
        "h.a.example": OTHER,
        "h.b.example": OTHER,
    }
    resolver = FakeResolver(zone)
    assert checked(resolver).result is Result.PASS
    assert len(resolver.queries) == len(set(resolver.queries))


def test_a_macro_that_needs_the_clients_name_counts_as_a_look_up() -> None:
    zone = {
        "example.org": record("v=spf1 a:%{p}.example.org -all"),
        "1.2.0.192.in-addr.arpa": {"PTR": ["h.example.org"]},
        "h.example.org": {"A": [CLIENT]},
    }
    assert checked(zone).lookups == 2


def test_a_record_that_is_too_long_is_a_permerror_and_one_at_the_limit_is_read() -> None:
    start = "v=spf1 ip4:192.0.2.1 x="
    whole = start + "y" * (MAX_RECORD - len(start))
    assert checked({"example.org": record(whole)}).result is Result.PASS
    found = checked({"example.org": record(whole + "y")})
    assert found.result is Result.PERMERROR
    assert "longer than 8192 octets" in found.reason


# Failures of the DNS


@pytest.mark.parametrize("failure", ["SERVFAIL", "TIMEOUT"])
@pytest.mark.parametrize(
    ("text", "name", "kind"),
    [
        ("", "example.org", "TXT"),
        ("v=spf1 a -all", "example.org", "A"),
        ("v=spf1 a:h.example.org +all", "h.example.org", "A"),
        ("v=spf1 exists:h.example.org -all", "h.example.org", "A"),
        ("v=spf1 mx -all", "example.org", "MX"),
        ("v=spf1 mx:h.example.org +all", "mx.example.org", "A"),
        ("v=spf1 include:h.example.org +all", "h.example.org", "TXT"),
        ("v=spf1 redirect=h.example.org", "h.example.org", "TXT"),
    ],
)
def test_a_look_up_that_fails_is_a_temperror_and_never_pass_or_fail(failure: str, text: str, name: str, kind: str) -> None:
    zone: dict[str, dict[str, Any]] = {"example.org": record(text), "h.example.org": {"MX": ["10 mx.example.org"]}}
    zone.setdefault(name, {})[kind] = failure
    found = checked(zone)
    assert found.result is Result.TEMPERROR
    assert found.explanation is None
    assert f"no usable answer for {kind} of {name}" in found.reason


@pytest.mark.parametrize("kind", ["PTR", "A"])
def test_a_name_of_the_client_that_cannot_be_had_is_no_match_as_section_5_5_says(kind: str) -> None:
    zone: dict[str, dict[str, Any]] = {
        "example.org": record("v=spf1 ptr ?all"),
        "1.2.0.192.in-addr.arpa": {"PTR": ["h.example.org"]},
        "h.example.org": {"A": [CLIENT]},
    }
    zone["1.2.0.192.in-addr.arpa" if kind == "PTR" else "h.example.org"][kind] = "SERVFAIL"
    assert checked(zone).mechanism == "?all"


@pytest.mark.parametrize(
    "error", [ValueError("x"), OSError("x"), RuntimeError("x"), TimeoutError(), DnsError("x", temporary=True)]
)
def test_garbage_that_a_resolver_chokes_on_is_a_temperror(error: Exception) -> None:
    resolver = RawResolver([b"v=spf1 a mx -all"], {"A": error})
    found = asyncio.run(run(resolver))
    assert found.result is Result.TEMPERROR
    assert found.lookups == 1


def test_a_check_ends_as_a_temperror_when_its_time_is_over() -> None:
    found = asyncio.run(run(Slow([b"v=spf1 a a a a -all"], {"A": [ip_address("198.51.100.1")]}), timeout=0.05))
    assert found.result is Result.TEMPERROR
    assert "within 0.05 seconds" in found.reason
    assert "section 4.6.4" in found.reason


def test_an_explanation_that_takes_too_long_leaves_the_result_as_it_is() -> None:
    class SlowExplanation(RawResolver):
        async def txt(self, name: str) -> list[bytes]:
            if name.startswith("why."):
                await asyncio.sleep(60)
            return await super().txt(name)

    found = asyncio.run(run(SlowExplanation([b"v=spf1 -all exp=why.%{d}"]), timeout=0.05))
    assert (found.result, found.explanation) == (Result.FAIL, None)


def test_being_cancelled_is_not_a_result() -> None:
    async def cancelled() -> None:
        task = asyncio.create_task(run(Slow([b"v=spf1 a -all"])))
        await asyncio.sleep(0.01)
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cancelled())


class Slow(RawResolver):
    """Takes a minute for an A record."""

    async def a(self, name: str) -> list[Any]:
        """A."""
        await asyncio.sleep(60)
        return await super().a(name)


async def run(resolver: RawResolver, timeout: float = 20.0) -> Any:  # noqa: ASYNC109
    return await check_spf(
        resolver,
        client=ip_address(CLIENT),
        helo="mail.example.org",
        sender="a@example.org",
        receiver="mx.example.com",
        now=NOW,
        timeout=timeout,
    )
