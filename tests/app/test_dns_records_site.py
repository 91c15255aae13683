"""What the configuration, the certificate and the machine say of this relay."""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from dns_records_support import GOOD, HOST, KEY, SITE, V4, V6

from postlatch.app.certificate import write_self_signed
from postlatch.app.dns_records.published import look_up
from postlatch.app.dns_records.site import own_addresses, read_certificate, site_of
from postlatch.app.dns_records.wanted import tlsa, uri_address
from postlatch.model.dns import DnsError
from postlatch.senderauth.results import Result, SpfResult
from postlatch.senderauth.spf.verify import check_spf
from postlatch.settings.load import load_text
from postlatch.settings.tree import Settings
from postlatch.testing.dns import FakeResolver

NOW = 1_800_000_000.0
CONFIG = """\
hostname = "mail.example.com"
[[listeners]]
name = "mx"
address = {addresses}
role = "{role}"
[domains."example.com"]
deliver = "maildir:mail"
recipients = ["alice", "dmarc", "tls"]
[relay_domains."branch.example"]
route = "smtp://10.1.0.5:25"
recipients = "callout"
owner = "ops@example.com"
expires = 2099-12-31
[reports]
dmarc = "dmarc@example.com"
tls = "tls@example.com"
"""


def settings(folder: Path, *addresses: str, role: str = "mx", more: str = "") -> Settings:
    """The configuration with these listeners."""
    text = CONFIG.format(addresses=list(addresses), role=role).replace("'", '"') + more
    return load_text(text, folder / "postlatch.toml")


def test_addresses_that_listeners_are_bound_to_by_name_are_those_of_the_host(tmp_path: Path) -> None:
    site = site_of(settings(tmp_path, f"{V4}:25", "10.0.0.1:25", f"[{V6}]:25"), "example.com", now=NOW, own=[])
    assert site.bound == (ip_address(V4), ip_address(V6))
    assert site.versions == {4, 6}


def test_a_wildcard_leaves_the_addresses_of_its_version_open(tmp_path: Path) -> None:
    own = [ip_address("11.0.0.1"), ip_address("192.168.1.5")]
    site = site_of(settings(tmp_path, "0.0.0.0:25", f"{V4}:26"), "example.com", now=NOW, own=own)
    assert site.bound == ()
    assert site.own == (ip_address("11.0.0.1"),)
    assert site.versions == {4}


def test_the_rest_of_the_configuration_is_taken_up(tmp_path: Path) -> None:
    more = '[outbound]\nsmarthost = "smtp://relay.isp.example:587"\n'
    found = settings(tmp_path, "0.0.0.0:25", more=more)
    site = site_of(found, "example.com", now=NOW, keys=[KEY], own=[])
    assert (site.hostname, site.smarthost, site.backup, site.receives) == (HOST, "relay.isp.example", False, True)
    assert (site.dmarc_reports, site.tls_reports, site.keys) == ("dmarc@example.com", "tls@example.com", (KEY,))
    assert site.ours == {"example.com", "branch.example"}
    assert site.certificate is None
    assert site_of(found, "branch.example", now=NOW, own=[]).backup


def test_a_certificate_is_read_with_its_names_key_and_end(tmp_path: Path) -> None:
    write_self_signed(HOST, tmp_path / "cert.pem", tmp_path / "key.pem", NOW)
    found = settings(tmp_path, "0.0.0.0:25", more='[tls]\ncertificate = "cert.pem"\nkey = "key.pem"\n')
    site = site_of(found, "example.com", now=NOW, own=[])
    assert site.certificate is not None
    assert (site.certificate.names, site.certificate.self_signed) == ((HOST,), True)
    assert site.certificate.not_after == NOW + 365 * 86_400 - 300
    whole = ssl.PEM_cert_to_DER_cert((tmp_path / "cert.pem").read_text())
    assert site.certificate.chain[0].whole == whole
    assert site.certificate.chain[0].public_key in whole
    assert tlsa(site) == f"3 1 1 {hashlib.sha256(site.certificate.chain[0].public_key).hexdigest()}"


@pytest.mark.parametrize(
    "content", [None, b"", b"no certificate", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_a_certificate_that_cannot_be_read_is_told(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "cert.pem").write_bytes(content)
        with pytest.raises(ValueError, match=r"."):
            read_certificate(tmp_path / "cert.pem")
    found = settings(tmp_path, "0.0.0.0:25", more='[tls]\ncertificate = "cert.pem"\nkey = "key.pem"\n')
    site = site_of(found, "example.com", now=NOW, own=[])
    assert site.certificate is None
    assert "cert.pem cannot be read: " in site.certificate_problem


def test_asking_the_machine_for_its_addresses_finds_what_it_would_send_from() -> None:
    found = own_addresses()
    assert len(found) <= 2
    assert not any(address.is_unspecified or address.is_multicast for address in found)


def test_an_address_in_a_uri_keeps_its_meaning_in_a_tag_list() -> None:
    assert uri_address("dmarc+a@example.com") == "dmarc+a@example.com"
    assert uri_address("a!b;c,d@example.com") == "a%21b%3Bc%2Cd@example.com"


class _Slow(FakeResolver):
    """Answers MX, and nothing else for a long time."""

    async def txt(self, name: str) -> list[bytes]:
        await asyncio.sleep(60)
        return await super().txt(name)


def test_a_dns_that_is_silent_ends_in_time_with_what_was_answered() -> None:
    async def ask() -> Any:
        async with asyncio.timeout(5):
            return await look_up(SITE, _Slow(GOOD), check_spf, whole=0.2)

    found = asyncio.run(ask())
    assert found.at(SITE.domain, "MX").records == ("10 mail.example.com.",)
    assert "no answer in time" in found.at(SITE.domain, "TXT").failure


def test_spf_is_asked_as_it_will_be_once_our_mx_is_published() -> None:
    asked: list[list[str]] = []

    async def check(resolver: Any, **_: Any) -> SpfResult:
        asked.append([record.host for record in await resolver.mx("example.com")])
        with pytest.raises(DnsError):
            await resolver.mx("elsewhere.example")
        return SpfResult(Result.PASS, "example.com", "mfrom")

    zone = {**GOOD, "example.com": {"MX": ["10 other.example."], "TXT": ["v=spf1 mx -all"]}}
    asyncio.run(look_up(SITE, FakeResolver(zone), check))
    assert {tuple(hosts) for hosts in asked} == {("other.example", HOST)}
