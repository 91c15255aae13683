"""Bans, trace fields, TLS files: the small parts of the server room."""

from __future__ import annotations

import ssl
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
import trustme

from postlatch.server.bans import BanList
from postlatch.server.tls import CertificateError, WatchedCertificate
from postlatch.server.trace import missing_fields, protocol_name, received_field


def test_a_ban_covers_its_network_until_its_end() -> None:
    ends = {"192.0.2.0/24": 200.0, "192.0.2.7/32": 300.0, "2001:db8::/64": 150.0}
    bans = BanList((ip_network(text), end) for text, end in ends.items())
    assert bans.until(ip_address("192.0.2.7"), 100) == 300.0
    assert bans.until(ip_address("192.0.2.8"), 100) == 200.0
    assert bans.until(ip_address("192.0.2.8"), 200) is None
    assert bans.until(ip_address("192.0.3.8"), 100) is None
    assert bans.until(ip_address("2001:db8::99"), 100) == 150.0
    assert bans.until(ip_address("2001:db8:0:1::99"), 100) is None


def test_a_received_field_holds_nothing_that_a_hostile_helo_could_break_out_with() -> None:
    field = received_field(
        hostname="mx.example.com",
        helo="evil)\x1b[2J;from<x>",
        client="2001:db8::1",
        protocol="ESMTPS",
        queue_id="01K3F9Q2ZB7NM",
        recipient="a@example.com",
        now=1_767_225_600,
    )
    assert field == (
        b"Received: from evil??[2J?from?x? ([IPv6:2001:db8::1])\r\n\tby mx.example.com with ESMTPS id 01K3F9Q2ZB7NM\r\n"
        b"\tfor <a@example.com>;\r\n\tThu, 01 Jan 2026 00:00:00 +0000\r\n"
    )


def test_the_protocol_keyword_follows_rfc_3848_and_6531() -> None:
    assert protocol_name(esmtp=False, tls=False, authenticated=False, utf8=False) == "SMTP"
    assert protocol_name(esmtp=True, tls=True, authenticated=True, utf8=False) == "ESMTPSA"
    assert protocol_name(esmtp=True, tls=True, authenticated=False, utf8=True) == "UTF8SMTPS"


def test_only_what_is_missing_is_added() -> None:
    assert missing_fields({b"date", b"message-id"}, hostname="h", queue_id="Q", now=0) == b""
    assert missing_fields({b"date"}, hostname="h.example", queue_id="Q", now=0) == b"Message-ID: <Q@h.example>\r\n"


def _write(folder: Path, name: str) -> tuple[Path, Path]:
    certificate, key = folder / "cert.pem", folder / "key.pem"
    issued = trustme.CA().issue_cert(name)
    certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    key.write_bytes(issued.private_key_pem.bytes())
    return certificate, key


def test_a_renewed_certificate_is_taken_up_and_an_unusable_one_is_not(tmp_path: Path) -> None:
    certificate, key = _write(tmp_path, "a.example")
    watched = WatchedCertificate.load(certificate, key)
    assert not watched.refresh()
    _write(tmp_path, "b.example")
    assert watched.refresh()
    certificate.write_text("nonsense")
    with pytest.raises(CertificateError, match=r"cert\.pem"):
        watched.refresh()
    assert not watched.refresh()
    assert watched.context.minimum_version is ssl.TLSVersion.TLSv1_2


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    certificate, key = _write(tmp_path, "a.example")
    key.unlink()
    with pytest.raises(CertificateError, match=r"key\.pem: cannot be read"):
        WatchedCertificate.load(certificate, key)
