"""Real name servers: NSD serves zones, Unbound resolves and validates them, and our resolver asks Unbound."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pytest
from case_support import tool
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from signed_zones import signed, zone_text

from postlatch.app.clock import SystemClock
from postlatch.app.dns_records.compare import compare
from postlatch.app.dns_records.fragment import fragment
from postlatch.app.dns_records.published import look_up
from postlatch.app.dns_records.rows import Row
from postlatch.app.dns_records.wanted import Certificate, KeyRecord, Link, Site
from postlatch.delivery.resolver import DnsResolver
from postlatch.model.dns import DnsError, MxRecord, Resolver
from postlatch.senderauth.spf.verify import check_spf
from postlatch.testing.dns import FakeResolver
from postlatch.testing.peers.nsd import Nsd, check_zone
from postlatch.testing.peers.unbound import Unbound

pytestmark = pytest.mark.real

T = TypeVar("T")
LONG = "v=DKIM1; k=rsa; p=" + "A" * 3000  # with its signature too long for UDP
RECORDS = f"""\
example.com. 60 IN MX 20 backup.example.com.
example.com. 60 IN MX 10 mail.example.com.
example.com. 60 IN TXT "v=spf1 mx" " -all"
mail.example.com. 60 IN A 11.22.33.44
mail.example.com. 60 IN AAAA 2a99::25
www.example.com. 60 IN CNAME mail.example.com.
long._domainkey.example.com. 60 IN TXT {" ".join(f'"{LONG[at : at + 255]}"' for at in range(0, len(LONG), 255))}
_25._tcp.mail.example.com. 60 IN TLSA 3 1 1 {"ab" * 32}
example.com. 60 IN CAA 0 issue "letsencrypt.org"
altered.example.com. 60 IN A 11.22.33.45
"""
REVERSE = "44.33.22.11.in-addr.arpa. 60 IN PTR mail.example.com.\n"


class Servers(NamedTuple):
    """What answers at the end, and the logs for a test that fails."""

    unbound: Unbound
    nsd: Nsd

    def ask(self, name: str, *arguments: Any) -> Any:
        """One question to our resolver by the name of its method."""

        async def run() -> Any:
            resolver = DnsResolver.of_servers([f"127.0.0.1:{self.unbound.port}"], SystemClock())
            return await getattr(resolver, name)(*arguments)

        return asyncio.run(run())


@contextmanager
def servers(folder: Path, zones: dict[str, str], anchors: list[str]) -> Iterator[Servers]:
    """NSD with these zones behind an Unbound."""
    tool("nsd")
    tool("unbound")
    with Nsd(folder / "nsd", zones) as nsd, Unbound(folder / "unbound", dict.fromkeys(zones, nsd.port), anchors) as unbound:
        yield Servers(unbound, nsd)


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """A whole signed zone, one with an altered record, one whose signatures are old, and a reverse zone."""
    whole = signed("example.com", RECORDS)
    old = signed("old.example", "old.example. 60 IN MX 10 mail.old.example.\n", age=30 * 86_400)
    broken = signed(
        "broken.example", "host.broken.example. 60 IN A 11.22.33.44\nbroken.example. 60 IN MX 10 host.broken.example.\n"
    )
    zones = {
        "example.com": whole.text,
        "old.example": old.text,
        "broken.example": broken.text.replace(" 11.22.33.44", " 11.22.33.66"),
        "33.22.11.in-addr.arpa": zone_text("33.22.11.in-addr.arpa", REVERSE),
    }
    anchors = [whole.anchor, old.anchor, broken.anchor]
    with servers(tmp_path_factory.mktemp("dns"), zones, anchors) as found:
        yield found


def test_a_signed_zone_is_resolved_type_by_type(up: Servers) -> None:
    assert sorted(up.ask("mx", "example.com")) == [MxRecord(10, "mail.example.com"), MxRecord(20, "backup.example.com")]
    assert up.ask("txt", "example.com") == [b"v=spf1 mx -all"]
    assert up.ask("a", "mail.example.com") == up.ask("a", "www.example.com") == [ip_address("11.22.33.44")]
    assert up.ask("aaaa", "mail.example.com") == [ip_address("2a99::25")]
    assert up.ask("ptr", ip_address("11.22.33.44")) == ["mail.example.com"]
    assert up.ask("records", "_25._tcp.mail.example.com", "TLSA") == [f"3 1 1 {'ab' * 32}"]
    assert up.ask("records", "example.com", "CAA") == ['0 issue "letsencrypt.org"']
    assert up.ask("records", "example.com", "NS") == ["ns.example.com."]


def test_an_answer_that_is_too_long_for_a_datagram_comes_whole(up: Servers) -> None:
    assert up.ask("txt", "long._domainkey.example.com") == [LONG.encode()]


def test_what_is_proved_not_to_exist_is_known_and_what_has_no_such_record_is_empty(up: Servers) -> None:
    with pytest.raises(DnsError) as caught:
        up.ask("mx", "nowhere.example.com")
    assert not caught.value.temporary
    assert up.ask("mx", "mail.example.com") == []


@pytest.mark.parametrize(("kind", "name"), [("a", "host.broken.example"), ("mx", "old.example"), ("txt", "old.example")])
def test_a_signature_that_does_not_hold_is_a_failure_that_may_heal(up: Servers, kind: str, name: str) -> None:
    with pytest.raises(DnsError) as caught:
        up.ask(kind, name)
    assert caught.value.temporary
    assert "NoNameservers" in str(caught.value)


def test_only_what_was_altered_fails(up: Servers) -> None:
    assert up.ask("mx", "broken.example") == [MxRecord(10, "host.broken.example")]


# What ``postlatch dns`` prints


def _site() -> Site:
    rsa = generate_private_key(65_537, 2048).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    key = KeyRecord("example.com", "s1", f"v=DKIM1; k=rsa; p={base64.b64encode(rsa).decode()}", "active")
    chain = (Link(b"certificate", b"public key"),)
    return Site(
        "example.com",
        "mail.example.com",
        1_800_000_000.0,
        own=(ip_address("11.22.33.44"),),
        versions=frozenset({4}),
        keys=(key,),
        certificate=Certificate(("mail.example.com",), "Let's Encrypt", self_signed=False, not_after=2e9, chain=chain),
        dmarc_reports="dmarc@example.com",
        tls_reports="tls@example.com",
    )


async def _rows(site: Site, resolver: Resolver) -> tuple[list[Row], str]:
    published = await look_up(site, resolver, check_spf)
    rows = compare(site, published)
    return rows, fragment(site, published, rows)


def _run(work: Awaitable[T]) -> T:
    async def run() -> T:
        return await work

    return asyncio.run(run())


def test_the_fragment_is_loaded_by_nsd_and_what_is_served_then_is_right(tmp_path: Path) -> None:
    tool("nsd-checkzone")
    site = _site()
    _, text = _run(_rows(site, FakeResolver({"example.com": {"NS": ["ns.example.com."]}})))
    text = text.replace("; optional: ", "") + "mta-sts.example.com. 60 IN A 11.22.33.44\n"
    checked = check_zone(tmp_path, "example.com", zone_text("example.com", text))
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "zone example.com is ok" in checked.stdout
    assert "warning" not in checked.stdout + checked.stderr
    whole = signed("example.com", text)
    zones = {"example.com": whole.text, "33.22.11.in-addr.arpa": zone_text("33.22.11.in-addr.arpa", REVERSE)}
    with servers(tmp_path, zones, [whole.anchor]) as up:

        async def ask() -> tuple[list[Row], str]:
            return await _rows(site, DnsResolver.of_servers([f"127.0.0.1:{up.unbound.port}"], SystemClock()))

        rows, rest = asyncio.run(ask())
    assert {row.status for row in rows} == {"ok"}, [row for row in rows if row.status != "ok"]
    assert rest == ""
    [tlsa] = [row for row in rows if row.type == "TLSA"]
    assert tlsa.published == (f"3 1 1 {hashlib.sha256(b'public key').hexdigest()}",)


def test_a_zone_whose_signatures_do_not_hold_is_not_known(tmp_path: Path) -> None:
    site = _site()
    _, text = _run(_rows(site, FakeResolver({"example.com": {"NS": ["ns.example.com."]}})))
    whole = signed("example.com", text, age=30 * 86_400)
    with servers(tmp_path, {"example.com": whole.text}, [whole.anchor]) as up:

        async def ask() -> tuple[list[Row], str]:
            return await _rows(site, DnsResolver.of_servers([f"127.0.0.1:{up.unbound.port}"], SystemClock()))

        rows, _ = asyncio.run(ask())
    by_type = {(row.name, row.type): row.status for row in rows}
    assert by_type[("example.com", "MX")] == by_type[("example.com", "TXT")] == "unknown"
    assert not any(row.status in {"missing", "wrong"} for row in rows if row.type in {"MX", "TXT", "A"}), by_type
