"""Every envelope of the relay vectors, through parser and policy, on every listener: nothing foreign is ever accepted."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from ipaddress import ip_address
from itertools import product
from pathlib import Path
from typing import NamedTuple

import pytest
from policy_samples import LISTENERS, NOW, STRANGER, STRANGER6, addr, snapshot

from postlatch.model.address import POSTMASTER, Address, AddressError, parse_address
from postlatch.model.envelope import Client, Destination, GrantReason
from postlatch.model.verdict import Accept
from postlatch.policy.decide import AcceptRecipient, decide_recipient, decide_sender
from postlatch.policy.facts import RecipientFacts, SenderFacts

# {BMX} is a relay domain of the sample policy, {L} and {R} a domain and a mailbox of it.
NAMES = {
    "T": "canary.test",
    "T2": "canary2.test",
    "U": "canary",
    "L": "example.com",
    "H": "mx.example.com",
    "IP": "192.0.2.1",
    "X": "probe",
    "R": "alice",
    "R2": "bob",
    "V": "victim",
    "S": "198.51.100.7",
    "RAND": "qz7k",
    "T_IP": "203.0.113.9",
    "T_IP6": "2001:db8::9",
    "MXT": "mxt.test",
    "BMX": "branch.example",
    "WILD_MX": "wild.test",
    "A_LOOPBACK": "loop.test",
    "A_TARGET": "atarget.test",
    "CNAME_L": "cname.test",
    "T_UPPER": "CANARY.TEST",
    "L_MIXED": "ExAmPlE.CoM",
    "L_DOT_AS_X": "exampleXcom",
    "T_IDN_U": "b\u00fccher.test",
    "T_IDN_A": "xn--bcher-kva.test",
    "L_FULLWIDTH_DOT": "example\uff0ecom",
    "L_IDEOGRAPHIC_DOT": "example\u3002com",
    "L_HOMOGRAPH": "ex\u0430mple.com",
    "U_8BIT": "jos\u00e9",
    "LOCAL65": "a" * 65,
    "DOMAIN256": ".".join(["a" * 50] * 5) + ".test",
    "NUL": "\x00",
    "TAB": "\t",
    "CR": "\r",
    "LF": "\n",
}
OURS = {"example.com", "callout.example", "catch.example"}
SNAPSHOT = snapshot()


class Probe(NamedTuple):
    vector: str
    mail_from: str
    rcpt_to: str
    expected: tuple[str, ...]


def fill(template: str) -> str:
    return re.sub(r"\{([A-Z0-9_]+)\}", lambda match: NAMES[match.group(1)], template)


def probes(testdata: Path) -> Iterator[Probe]:
    vectors = json.loads((testdata / "relay_vectors.json").read_text("utf-8"))["vectors"]
    for vector in vectors:
        if vector["kind"] in {"envelope", "session", "message"}:
            for sender, recipient in product(vector.get("mail_from") or (), vector.get("rcpt_to") or ()):
                yield Probe(vector["id"], fill(sender), fill(recipient), tuple(vector["expected"]))


def parsed(text: str, *, smtputf8: bool) -> Address | None:
    try:
        return POSTMASTER if text.lower() == "postmaster" else parse_address(text, smtputf8=smtputf8)
    except AddressError:
        return None


def answers(probe: Probe, listener: str, client: str, known: bool | None) -> Iterator[tuple[str, AcceptRecipient | None]]:
    """The reply codes of MAIL and RCPT, in a plain and in an SMTPUTF8 session."""
    peer = Client(ip_address(client), 40000)
    for smtputf8 in (False, True):
        sender = parsed(probe.mail_from, smtputf8=smtputf8) if probe.mail_from else None
        recipient = parsed(probe.rcpt_to, smtputf8=smtputf8)
        if recipient is None or (probe.mail_from and sender is None):
            yield "SYNTAX", None
            continue
        mail = decide_sender(SenderFacts(SNAPSHOT, listener, peer, NOW, True, None, sender, NAMES["H"]))
        facts = RecipientFacts(SNAPSHOT, listener, peer, NOW, True, None, sender, recipient, object(), known)
        rcpt = decide_recipient(facts)
        if isinstance(rcpt, AcceptRecipient):
            yield ("accepted" if isinstance(mail, Accept) else "refused"), rcpt
        else:
            yield f"{rcpt.reply.code}", None


def test_the_vectors_are_there(testdata: Path) -> None:
    found = {probe.vector for probe in probes(testdata)}
    assert {
        f"{group}{number:02}" for group, last in (("A", 16), ("B", 22), ("C", 6), ("D", 15)) for number in range(1, last + 1)
    } <= found


@pytest.mark.parametrize("listener", LISTENERS)
@pytest.mark.parametrize("client", [STRANGER, STRANGER6, f"::ffff:{STRANGER}", "10.0.0.1", "172.17.0.1", "::1"])
def test_no_vector_is_accepted_for_a_domain_that_is_not_ours(testdata: Path, listener: str, client: str) -> None:
    for probe, known in product(probes(testdata), (None, True, False)):
        for answer, verdict in answers(probe, listener, client, known):
            if verdict is None:
                assert answer[0] in "5S" or known is None, probe
            elif verdict.destination is Destination.RELAY:
                # {RAND}@{BMX} is what a relay domain is for, and only if its next hop knows the mailbox.
                assert (listener, known, probe.rcpt_to) == ("mx", True, f"{NAMES['RAND']}@branch.example"), probe
                assert verdict.grant is not None
                assert verdict.grant.reason is GrantReason.RELAY_DOMAIN
            else:
                assert listener == "mx"
                assert verdict.destination is Destination.LOCAL, probe
                assert verdict.grant is None
                assert addr(probe.rcpt_to).domain in OURS | {""}, probe


def test_what_is_accepted_on_mx_is_exactly_what_the_vectors_call_local(testdata: Path) -> None:
    accepted = {
        (probe.vector, probe.rcpt_to)
        for probe in probes(testdata)
        for answer, verdict in answers(probe, "mx", STRANGER, None)
        if answer == "accepted"
    }
    local = {recipient for _, recipient in accepted}
    assert local <= {"alice@example.com", "alice@ExAmPlE.CoM", "postmaster"}
    assert ("D15", "postmaster") in accepted
    assert ("D08", "alice@ExAmPlE.CoM") in accepted
    assert not any(vector in {"A06", "H01"} for vector, _ in accepted)
