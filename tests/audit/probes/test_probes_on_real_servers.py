"""The families of conversations against Postfix in several configurations, and against Postlatch itself."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from probe_support import LOCAL_DOMAIN, MAILBOX, Ask, Mailbox, bad, inquiry, run

from postlatch.app.certificate import write_self_signed
from postlatch.audit.probes import authentication, enumeration, neighbours, sessions, smuggling, spoofing, starttls, trust
from postlatch.audit.probes.inquiry import Inquiry
from postlatch.audit.probes.sessions import SCRIPTS
from postlatch.audit.probes.smuggling import SEQUENCES
from postlatch.audit.probes.trust import CLAIMS
from postlatch.audit.probes.values import Outcome, Stand
from postlatch.testing.dns import FakeResolver
from postlatch.testing.peers.ports import free_port
from postlatch.testing.peers.postfix import Postfix
from postlatch.testing.running import BASE, RunningRelay

pytestmark = pytest.mark.real

FAMILIES = (sessions, trust, spoofing, starttls, authentication, smuggling, enumeration, neighbours)
# By what is on a port of its own: settings that open one thing each.
SERVICES: Mapping[str, str] = {
    "normalize": "-o smtpd_forbid_bare_newline=normalize",
    "reject": "-o smtpd_forbid_bare_newline=reject",
    "xclient": "-o smtpd_authorized_xclient_hosts=127.0.0.1 -o smtpd_authorized_xforward_hosts=127.0.0.1",
    "xclient_relays": "-o smtpd_authorized_xclient_hosts=127.0.0.1 -o mynetworks=10.0.0.0/8",
    "proxy": "-o smtpd_upstream_proxy_protocol=haproxy",
}
OURS = {LOCAL_DOMAIN: {"TXT": ["v=spf1 ip4:127.0.0.1 -all"]}}
# Of the catalogue, what is asked elsewhere, and what no stranger can ask.
ELSEWHERE: Mapping[str, str] = {
    "G06": "configurations: default accounts are not guessed",
    "G08": "needs an account of the target",
    "G09": "would be guessing passwords",
    "G11": "needs a certificate that some authority signed",
    "I04": "every family is asked at every address",
    "I05": "masking",
    "I06": "masking and lint",
    "I07": "masking and lint",
    "I08": "masking and lint",
    "I09": "lint",
    "I10": "lint",
    "I11": "lint",
    "I12": "envelope (A05, A06) and lint",
}


@pytest.fixture(scope="module")
def ports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, int]]:
    folder = tmp_path_factory.mktemp("postfix")
    write_self_signed("mx.local.test", folder / "cert.pem", folder / "key.pem", time.time())
    settings = {
        "myhostname": "mx.local.test",
        "mydestination": LOCAL_DOMAIN,
        "mynetworks": "192.0.2.1",
        "local_recipient_maps": f"inline:{{{MAILBOX}=x, postmaster=x}}",
        "local_transport": "discard:",
        "smtpd_tls_cert_file": str(folder / "cert.pem"),
        "smtpd_tls_key_file": str(folder / "key.pem"),
        "smtpd_tls_security_level": "may",
        "disable_vrfy_command": "yes",
    }
    found = {name: free_port() for name in SERVICES}
    services = "".join(f"127.0.0.1:{port} inet n - n - 20 smtpd {SERVICES[name]}\n" for name, port in found.items())
    with Postfix(folder / "postfix", settings, services=services) as postfix:
        yield {"plain": postfix.port, **found}


def in_turn(asked: Inquiry) -> tuple[Ask, Inquiry, *tuple[Ask, ...]]:
    """The arguments of `run` for all families."""
    first, *others = (family.ask for family in FAMILIES)
    return first, asked, *others


def broken(outcomes: list[Outcome]) -> set[str]:
    return {one.vector for one in outcomes if one.stand is Stand.BROKE}


def test_a_closed_postfix_holds_within_the_time_and_the_messages_of_a_default_audit(ports: dict[str, int]) -> None:
    began = time.monotonic()
    asked = inquiry(ports["normalize"], resolver=FakeResolver(OURS))
    outcomes = run(*in_turn(asked))
    assert not bad(outcomes)
    assert not [one for one in outcomes if one.stand is Stand.UNDECIDED]
    assert asked.manners.messages <= 15
    assert time.monotonic() - began < 4


def test_the_smuggling_verdict_is_right_for_every_setting_of_postfix(ports: dict[str, int]) -> None:
    def asked(name: str) -> list[Outcome]:
        return run(smuggling.ask, inquiry(ports[name]))

    assert broken(asked("plain")) == {"F02", "F04", "F08"}
    for name in ("normalize", "reject"):
        assert {one.stand for one in asked(name)} == {Stand.HELD}


def test_trust_that_postfix_gives_to_strangers_is_found(ports: dict[str, int]) -> None:
    found = {one.vector: one for one in run(trust.ask, inquiry(ports["xclient"]))}
    assert found["I01"].stand is found["I02"].stand is Stand.BROKE
    assert found["I03"].stand is Stand.HELD
    opened = [one for one in run(trust.ask, inquiry(ports["xclient_relays"], deep=True)) if one.stand is Stand.TAKEN]
    assert {one.how for one in opened} == {"XCLIENT ADDR=10.0.0.1 NAME=[UNAVAILABLE]"}
    assert all(one.foreign for one in opened)


def test_a_postfix_behind_a_proxy_that_strangers_reach_is_found(ports: dict[str, int]) -> None:
    outcomes = asyncio.run(trust.ask(inquiry(ports["proxy"], patience=0.5)))
    assert {one.stand for one in outcomes if one.vector == "I03"} == {Stand.BROKE}


def test_postlatch_holds_in_every_family(tmp_path: Path) -> None:
    config = BASE.replace("example.com", LOCAL_DOMAIN)
    with RunningRelay(tmp_path / "relay", config) as relay:
        places = (relay.port("mx"), relay.port("submission"), relay.port("submissions"))
        # A port of implicit TLS says nothing to whoever waits for a banner.
        outcomes = run(*in_turn(inquiry(*places, canary=Mailbox(), resolver=FakeResolver(OURS), patience=1.0)))
    assert not [(one.vector, str(one.place), one.how, one.why) for one in bad(outcomes)]
    assert not [(one.vector, str(one.place), one.how, one.why) for one in outcomes if one.stand is Stand.UNDECIDED]


def test_every_question_of_the_catalogue_is_asked_or_is_elsewhere(testdata: Path) -> None:
    vectors = json.loads((testdata / "relay_vectors.json").read_text("utf-8"))["vectors"]
    catalogue = {one["id"] for one in vectors if one["id"][0] in "EFGHI" or one["id"] == "J08"}
    ours = {script.id for script in SCRIPTS} | {one.vector for one in SEQUENCES} | {one.vector for one in CLAIMS}
    ours |= {forgery.vector for forgery in spoofing.FORGERIES}
    ours |= {"E09", "E10", "E12", "E14", "E15", "G01", "G02", "G03", "G04", "G05", "G07", "G10", "I03", "J08"}
    assert ours | set(ELSEWHERE) == catalogue
    assert not ours & set(ELSEWHERE)


def test_the_sequences_are_those_of_the_catalogue(testdata: Path) -> None:
    listed = json.loads((testdata / "smuggling.json").read_text("utf-8"))["sequences"]
    assert {one.vector: one.octets for one in SEQUENCES} == {one["id"]: bytes.fromhex(one["bytes_hex"]) for one in listed}
    genuine = {one["id"] for one in listed if one["contains_standard_eod"]}
    assert {one.vector for one in SEQUENCES if one.genuine} == genuine
