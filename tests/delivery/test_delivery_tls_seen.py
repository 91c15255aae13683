"""Which mail's connections are told of for TLS reports, and that a report is not held up by what it reports (RFC 8460)."""

from __future__ import annotations

import asyncio
import ssl
from random import Random

import pytest
from delivery_fakes import FakePool, FakeSpool, claim, message, recipient, refuse_connections

from postlatch.delivery.carrier import Carrier
from postlatch.delivery.config import DeliveryConfig, parse_route
from postlatch.delivery.contract import AttemptStatus, OutboundMessage, Target, TlsPolicy
from postlatch.delivery.maildir_store import MaildirStore
from postlatch.delivery.routes import Hop, UseMx
from postlatch.delivery.targets import Targets
from postlatch.delivery.tls_seen import result_of
from postlatch.testing.clock import FakeClock
from postlatch.testing.dns import FakeResolver

ELSEWHERE = UseMx("elsewhere.example")
ROUTE = parse_route("smtp://192.0.2.10:25", tls=TlsPolicy.VERIFY)
RESOLVER = FakeResolver(
    {
        "elsewhere.example": {"MX": ["10 mx1.elsewhere.example", "20 mx2.elsewhere.example"]},
        "mx1.elsewhere.example": {"A": ["11.22.33.1"]},
        "mx2.elsewhere.example": {"A": ["11.22.33.2"]},
    }
)


def carried(hop: Hop, kind: str, tls: TlsPolicy, pool: FakePool) -> list[tuple[Target, OutboundMessage]]:
    clock = FakeClock()
    one = claim(recipient("bob@elsewhere.example"), message=message(kind=kind))
    config = DeliveryConfig("mx.example.com", tls=tls)
    carrier = Carrier(FakeSpool(one), pool, Targets(RESOLVER, clock, Random(1)), MaildirStore("mx.example.com"))
    found = asyncio.run(carrier.carry(config, hop, one))
    assert {attempt.status for attempt in found.attempts} <= {AttemptStatus.DELIVERED, AttemptStatus.TEMPORARY}
    return pool.taken


@pytest.mark.parametrize(
    ("hop", "kind", "told"),
    [
        (ELSEWHERE, "", "elsewhere.example"),
        (ELSEWHERE, "dsn", "elsewhere.example"),
        (ELSEWHERE, "dmarc_report", ""),
        (ELSEWHERE, "tls_report", ""),
        (ROUTE, "", ""),
        (ROUTE, "tls_report", ""),
    ],
)
def test_only_mail_to_hosts_of_the_dns_that_is_no_report_of_ours_is_told_of(hop: Hop, kind: str, told: str) -> None:
    [(_, outbound)] = carried(hop, kind, TlsPolicy.REQUIRED, FakePool())
    assert outbound.mx_domain == told


@pytest.mark.parametrize("tls", list(TlsPolicy))
def test_a_tls_report_goes_in_plaintext_if_need_be_and_other_mail_as_it_is_configured(tls: TlsPolicy) -> None:
    [(eased, _)] = carried(ELSEWHERE, "tls_report", tls, FakePool())
    assert eased.tls is TlsPolicy.OPPORTUNISTIC
    for kind in ("", "dsn", "dmarc_report"):
        [(other, _)] = carried(ELSEWHERE, kind, tls, FakePool())
        assert other.tls is tls


def test_a_tls_report_over_a_route_keeps_what_the_route_demands() -> None:
    [(target, _)] = carried(ROUTE, "tls_report", TlsPolicy.OPPORTUNISTIC, FakePool())
    assert target.tls is TlsPolicy.VERIFY, "a password may depend on it"


def test_a_tls_report_tries_one_host_after_the_other() -> None:
    pool = FakePool({"11.22.33.1": refuse_connections})
    tried = carried(ELSEWHERE, "tls_report", TlsPolicy.VERIFY, pool)
    assert [target.address for target, _ in tried] == ["11.22.33.1", "11.22.33.2"]


def rejected(code: int) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code = code
    return error


@pytest.mark.parametrize(
    ("error", "result"),
    [
        (rejected(10), "certificate-expired"),
        (rejected(62), "certificate-host-mismatch"),
        (rejected(64), "certificate-host-mismatch"),
        (rejected(9), "certificate-not-trusted"),
        (rejected(18), "certificate-not-trusted"),
        (rejected(20), "certificate-not-trusted"),
        (ssl.SSLError(1, "wrong version number"), "validation-failure"),
        (ConnectionResetError(), "validation-failure"),
        (ValueError("not a host name"), "validation-failure"),
    ],
)
def test_each_failure_of_a_handshake_has_its_result_type(error: Exception, result: str) -> None:
    assert result_of(error) == result
