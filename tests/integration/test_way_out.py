"""The table of outbound TLS: DANE and MTA-STS, usable, expired, mismatched, downgraded, towards a real Postfix.

Unbound validates, NSD serves signed zones, an HTTPS server has the policies, and Postfix is the next hop with a certificate of
each kind. Each row says what must become of the mail, why, and what the TLS reports will tell.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, NamedTuple

import pytest
from case_support import CABLE, Row, lacking, recipients, relayed, settled, tool
from protected_hops import (
    ADDRESSES,
    POLICY_SERVER,
    POSTFIX,
    UNTRUSTED_SERVER,
    Answer,
    Certificates,
    certificates,
    policy,
    policy_server,
    services,
)
from running_support import reading
from signed_zones import signed, zone_text

from postlatch.testing.peers.network import Network, NetworkUnavailable
from postlatch.testing.peers.nsd import Nsd
from postlatch.testing.peers.postfix import Postfix
from postlatch.testing.peers.unbound import Unbound
from postlatch.testing.running import BASE, LOOPBACK_RIGHT, RunningRelay

pytestmark = pytest.mark.real

ONLY_FOUR = BASE.replace('["127.0.0.1:0", "[::1]:0"]', '"127.0.0.1:0"')
CONFIG = (
    ONLY_FOUR
    + LOOPBACK_RIGHT
    + '\n[reports]\nsend = true\n[outbound]\nresolver = ["127.0.0.1:{port}"]\ndnssec = true\n'
    + '[outbound.by_sender."@bound.example"]\nsource = ["11.22.33.7"]\n'
    + '[outbound.by_sender."@six.example"]\nsource = ["2a99::1"]\n'
)


class Case(NamedTuple):
    """A recipient domain. ``hop`` is the kind of its mail host; ``tlsa`` a record of it; ``sts`` its policy.

    Wanted: the state, a part of the last reply, and what the reports tell: (type of policy, result).
    """

    zone: str
    hop: str
    state: str
    told: tuple[str, str] | None
    reply: str = ""
    tlsa: str = ""
    sts: Answer | None = None
    web: str = POLICY_SERVER


FIT, NOT_FIT = "fit", "3 1 1 " + "ab" * 32
NOTHING, DANE, STS = "no-policy-found", "tlsa", "sts"
DEFERRED, DELIVERED = "deferred", "delivered"
S, P, B = "signed.example", "plain.example", "bogus.example"
ANY = "*.plain.example"

TABLE = {
    # DANE
    "ee-fits": Case(S, "unknown", DELIVERED, (DANE, ""), tlsa=FIT),
    "ee-fits-expired": Case(S, "expired", DELIVERED, (DANE, ""), tlsa=FIT),
    "ee-fits-misnamed": Case(S, "misnamed", DELIVERED, (DANE, ""), tlsa=FIT),
    "ee-other": Case(S, "good", DEFERRED, (DANE, "validation-failure"), "no certificate of the server matches", NOT_FIT),
    "ta-fits": Case(S, "below", DELIVERED, (DANE, ""), tlsa="authority"),
    "ta-expired": Case(S, "below-expired", DEFERRED, (DANE, "certificate-expired"), "has expired", "authority"),
    "ta-misnamed": Case(
        S, "below-misnamed", DEFERRED, (DANE, "certificate-host-mismatch"), "does not hold the host's name", "authority"
    ),
    "ta-other": Case(S, "good", DEFERRED, (DANE, "validation-failure"), "matches its TLSA records", "authority"),
    "dane-stripped": Case(S, "none", DEFERRED, (DANE, "starttls-not-supported"), "STARTTLS is not offered", NOT_FIT),
    "unusable": Case(S, "unknown", DELIVERED, (DANE, "tlsa-invalid"), tlsa="1 1 1 " + "ab" * 32),
    "unusable-stripped": Case(
        S, "none", DEFERRED, (DANE, "starttls-not-supported"), "STARTTLS is not offered", "0 0 1 " + "ab" * 32
    ),
    "signed-without": Case(S, "none", DELIVERED, (NOTHING, "starttls-not-supported")),
    "bogus-tlsa": Case(B, "good", DEFERRED, (DANE, "dnssec-invalid"), "no valid answer for the TLSA records", "bogus"),
    "insecure-tlsa": Case(P, "unknown", DELIVERED, (NOTHING, ""), tlsa=NOT_FIT),
    # DANE goes before MTA-STS
    "dane-before-sts": Case(S, "unknown", DELIVERED, (DANE, ""), tlsa=FIT, sts=policy("enforce", "elsewhere.example")),
    "dane-fails-before-sts": Case(
        S, "good", DEFERRED, (DANE, "validation-failure"), "DANE", NOT_FIT, policy("enforce", "*.signed.example")
    ),
    "unusable-with-sts": Case(
        S,
        "unknown",
        DEFERRED,
        (DANE, "certificate-not-trusted"),
        "certificate was not accepted",
        "1 1 1 " + "ab" * 32,
        policy("enforce", "*.signed.example"),
    ),
    # MTA-STS, enforced
    "enforced": Case(P, "good", DELIVERED, (STS, ""), sts=policy("enforce", "mx-enforced.plain.example")),
    "enforced-wildcard": Case(P, "good", DELIVERED, (STS, ""), sts=policy("enforce", "other.example", ANY)),
    "enforced-unknown": Case(
        P, "unknown", DEFERRED, (STS, "certificate-not-trusted"), "not accepted", sts=policy("enforce", ANY)
    ),
    "enforced-expired": Case(P, "expired", DEFERRED, (STS, "certificate-expired"), "expired", sts=policy("enforce", ANY)),
    "enforced-misnamed": Case(
        P, "misnamed", DEFERRED, (STS, "certificate-host-mismatch"), "not accepted", sts=policy("enforce", ANY)
    ),
    "enforced-stripped": Case(P, "none", DEFERRED, (STS, "starttls-not-supported"), "not offered", sts=policy("enforce", ANY)),
    "enforced-other-host": Case(
        P,
        "good",
        DEFERRED,
        (STS, "validation-failure"),
        "4.7.5 no mail host of the recipient's domain may be used: the MTA-STS policy does not name mx-enforced-other-host",
        sts=policy("enforce", "*.elsewhere.example"),
    ),
    # MTA-STS, tested
    "tested": Case(P, "good", DELIVERED, (STS, ""), sts=policy("testing", ANY)),
    "tested-unknown": Case(P, "unknown", DELIVERED, (STS, "certificate-not-trusted"), sts=policy("testing", ANY)),
    "tested-expired": Case(P, "expired", DELIVERED, (STS, "certificate-expired"), sts=policy("testing", ANY)),
    "tested-misnamed": Case(P, "misnamed", DELIVERED, (STS, "certificate-host-mismatch"), sts=policy("testing", ANY)),
    "tested-stripped": Case(P, "none", DELIVERED, (STS, "starttls-not-supported"), sts=policy("testing", ANY)),
    "tested-other-host": Case(P, "good", DELIVERED, (STS, "validation-failure"), sts=policy("testing", "*.elsewhere.example")),
    # MTA-STS, without a policy in the end
    "mode-none": Case(P, "unknown", DELIVERED, (NOTHING, ""), sts=policy("none")),
    "not-found": Case(P, "unknown", DELIVERED, (STS, "sts-policy-fetch-error"), sts=Answer("", 404)),
    "redirected": Case(
        P,
        "unknown",
        DELIVERED,
        (STS, "sts-policy-fetch-error"),
        sts=Answer("", 301, location="https://mta-sts.enforced.plain.example/.well-known/mta-sts.txt"),
    ),
    "as-html": Case(
        P, "unknown", DELIVERED, (STS, "sts-policy-invalid"), sts=policy("enforce", ANY)._replace(kind="text/html")
    ),
    "no-policy": Case(P, "unknown", DELIVERED, (STS, "sts-policy-invalid"), sts=Answer("mode: enforce\r\n")),
    "untrusted-web": Case(
        P, "unknown", DELIVERED, (STS, "sts-webpki-invalid"), sts=policy("enforce", ANY), web=UNTRUSTED_SERVER
    ),
}


SHOWN = ("ee-fits", "bogus-tlsa", "enforced")


class World(NamedTuple):
    """What became of the mail of the table, and what was counted: (domain, type of policy, result)."""

    rows: dict[str, Row]
    told: dict[str, list[tuple[str, str]]]
    asked: list[str]
    postfix: str
    commands: dict[str, dict[str, Any]]


def record(case: Case, found: Certificates) -> str:
    if case.tlsa in {FIT, "bogus"}:
        return found.tlsa(case.hop)
    return found.tlsa(case.hop, 2) if case.tlsa == "authority" else case.tlsa


def zones(found: Certificates) -> dict[str, str]:
    """The records of each zone."""
    text = dict.fromkeys((S, P, B), "")
    for name, case in TABLE.items():
        domain, host = f"{name}.{case.zone}", f"mx-{name}.{case.zone}"
        lines = [f"{domain}. 60 IN MX 10 {host}.", f"{host}. 60 IN A {ADDRESSES[case.hop]}"]
        if case.tlsa:
            lines.append(f"_25._tcp.{host}. 60 IN TLSA {record(case, found)}")
        if case.sts is not None:
            lines.append(f'_mta-sts.{domain}. 60 IN TXT "v=STSv1; id=1;"')
            lines.append(f"mta-sts.{domain}. 60 IN A {case.web}")
        text[case.zone] += "\n".join(lines) + "\n"
    return text


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    for program in ("nsd", "unbound", "postfix"):
        tool(program)
    folder = tmp_path_factory.mktemp("way-out")
    found = certificates(folder / "certificates")
    text = zones(found)
    whole, broken = signed(S, text[S]), signed(B, text[B])
    altered = broken.text.replace(found.tlsa("good").split()[-1][:20].lower(), "ab" * 10)
    assert altered != broken.text
    served = {S: whole.text, B: altered, P: zone_text(P, text[P])}
    answers = {f"{name}.{case.zone}": case.sts for name, case in TABLE.items() if case.sts is not None}
    asked: list[str] = []
    try:
        here, there = Network(), Network()
        ends = [f"{address}/24" for address in (*ADDRESSES.values(), POLICY_SERVER, UNTRUSTED_SERVER)]
        here.join(there, [*CABLE["here"], "11.22.33.7/24"], ends)
    except NetworkUnavailable as error:
        lacking(f"no networks of our own: {error}")
    with here, there, ExitStack() as stack:
        with there.inside():
            names = [f"mta-sts.{domain}" for domain in answers]
            for address, authority in ((POLICY_SERVER, found.known), (UNTRUSTED_SERVER, found.below)):
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                authority.issue_cert(*names).configure_cert(context)
                stack.enter_context(policy_server(address, context, answers, asked))
            postfix = stack.enter_context(Postfix(folder / "postfix", POSTFIX, services=services(found)))
        with here.inside():
            nsd = stack.enter_context(Nsd(folder / "nsd", served))
            anchors = [whole.anchor, broken.anchor]
            unbound = stack.enter_context(Unbound(folder / "unbound", dict.fromkeys(served, nsd.port), anchors))
            relay = RunningRelay(folder / "relay", CONFIG.replace("{port}", str(unbound.port)))
            relay.start(prefix=("env", f"SSL_CERT_FILE={found.trusted}"))
            try:
                rows, commands = _run(relay)
            finally:
                relay.stop()
        yield World(rows, _told(relay), asked, postfix.log(), commands)


def _run(relay: RunningRelay) -> tuple[dict[str, Row], dict[str, dict[str, Any]]]:
    for name, case in TABLE.items():
        relayed(relay, name, f"someone@{name}.{case.zone}")
    relayed(relay, "bound", f"bound@enforced.{P}", "sender@bound.example")
    relayed(relay, "six", f"six@enforced.{P}", "sender@six.example")
    for state in (DELIVERED, DEFERRED):
        wanted = [f"someone@{name}.{case.zone}" for name, case in TABLE.items() if case.state == state]
        settled(relay, wanted, state, 60)
    settled(relay, [f"bound@enforced.{P}"], DELIVERED, 20)
    settled(relay, [f"six@enforced.{P}"], DEFERRED, 20)
    shown = {name: relay.json("outbound", f"{name}.{TABLE[name].zone}") for name in SHOWN}
    return recipients(relay), shown


def _told(relay: RunningRelay) -> dict[str, list[tuple[str, str]]]:
    told: dict[str, list[tuple[str, str]]] = {}
    with reading(relay.data / "postlatch.db") as connection:
        for domain, text, result in connection.execute("SELECT domain, policy, result FROM tls_seen"):
            told.setdefault(domain, []).append((json.loads(text)[0] if text else NOTHING, result))
    return told


@pytest.mark.parametrize("name", TABLE)
def test_each_row_of_the_table(world: World, name: str) -> None:
    case = TABLE[name]
    domain = f"{name}.{case.zone}"
    row = world.rows[f"someone@{domain}"]
    assert row.state == case.state, row
    assert case.reply in row.last_reply
    assert set(world.told[domain]) == {case.told}


def test_a_policy_is_fetched_once_however_much_mail_there_is_for_its_domain(world: World) -> None:
    assert world.asked.count(f"enforced.{P}") == 1


def test_mail_of_a_sender_with_an_address_of_its_own_leaves_from_there_and_nowhere_else(world: World) -> None:
    assert "unknown[11.22.33.7]" in world.postfix
    assert "no address of the family" in world.rows[f"six@enforced.{P}"].last_reply


def test_the_command_says_what_would_be_done_and_why(world: World) -> None:
    said = {}
    for name in SHOWN:
        answer = world.commands[name]
        host = answer["hosts"][0]
        said[name] = host["used"], host["tls"], host["proof"], host["policy"]
    assert said == {
        "ee-fits": (True, "verify", "DANE", "tlsa"),
        "bogus-tlsa": (False, "verify", "", "tlsa"),
        "enforced": (True, "verify", "certificate", "sts"),
    }
    assert world.commands["enforced"]["mta_sts"] == {"mode": "enforce", "mx": [f"mx-enforced.{P}"], "why": ""}
