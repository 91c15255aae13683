"""Reports go elsewhere only where the receiver of them says so. RFC 9990, Verifying External Destinations."""

from __future__ import annotations

import asyncio

import pytest

from postlatch.senderauth.dmarc.destination import Destination, external_destination, external_destination_ok
from postlatch.testing.dns import FakeResolver, Zone

NAME = "blue.example.com._report._dmarc.red.example.net"


def asked(zone: Zone, domain: str = "blue.example.com", host: str = "red.example.net") -> Destination:
    return asyncio.run(external_destination(FakeResolver(zone), domain, host))


def permission(*texts: str) -> dict[str, dict[str, list[str] | str]]:
    return {NAME: {"TXT": list(texts)}}


@pytest.mark.parametrize("text", ["v=DMARC1", "v=DMARC1;", "v=DMARC1; rua=mailto:x@red.example.net", "v=DMARC1; x=y"])
def test_a_record_at_the_destination_permits(text: str) -> None:
    assert asked(permission("other text", text)).allowed
    assert asyncio.run(external_destination_ok(FakeResolver(permission(text)), "Blue.example.com.", "RED.example.net"))


@pytest.mark.parametrize("texts", [[], ["v=spf1"], ["p=none; v=DMARC1"], ["v=DMARC2"], [""]])
def test_anything_else_does_not(texts: list[str]) -> None:
    assert not asked(permission(*texts)).allowed
    assert not asked({}).allowed


def test_the_destination_may_name_another_mailbox_of_its_own_but_of_nobody_else() -> None:
    assert asked(permission("v=DMARC1; rua=mailto:x@red.example.net")).addresses == ("x@red.example.net",)
    assert not asked(permission("v=DMARC1; rua=mailto:victim@example.org")).allowed
    assert not asked(permission("v=DMARC1", "v=DMARC1; rua=mailto:victim@a.red.example.net")).allowed


def test_the_same_organisation_needs_no_permission() -> None:
    zone = {"_dmarc.example.com": {"TXT": ["v=DMARC1; p=none"]}}
    assert asked(zone, "example.com", "example.com").allowed
    assert asked(zone, "example.com", "reports.example.com").allowed
    assert asked(zone, "a.example.com", "example.com").allowed
    assert not asked(zone, "example.com", "other.com").allowed
    assert not asked({}, "example.com", "reports.example.com").allowed, "without a record it is no organisation"


def test_a_dns_that_does_not_answer_is_no_permission_but_may_be_asked_again() -> None:
    failing = asked({NAME: {"TXT": "SERVFAIL"}})
    assert (failing.allowed, failing.temporary) == (False, True)
    walk_fails = asked({"_dmarc.example.com": {"TXT": "TIMEOUT"}}, "example.com", "reports.example.com")
    assert (walk_fails.allowed, walk_fails.temporary) == (False, True)
    assert not asked({}).temporary


@pytest.mark.parametrize(
    ("domain", "host"),
    [
        ("", "a.example"),
        ("a.example", ""),
        ("a.example", "b\n.test"),
        ("a" * 64, "b.test"),
        (".".join(["a" * 50] * 3), "b" * 60 + "." + "c" * 60),
    ],
)
def test_what_is_no_name_or_too_long_a_one_is_not_permitted(domain: str, host: str) -> None:
    assert not asked({}, domain, host).allowed


def test_at_most_17_questions_are_asked() -> None:
    resolver = FakeResolver({})
    asyncio.run(external_destination(resolver, ".".join("abcdefghijkl") + ".com", ".".join("mnopqrstuvwx") + ".com"))
    assert len(resolver.queries) <= 17
