"""``postlatch dns`` against a name server and zone files, beside a running relay and without one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import dns.rdatatype
import dns.zone
import pytest
from dns.rdtypes.ANY.TXT import TXT

from postlatch.app.dns_records.site import own_addresses
from postlatch.delivery.guard import is_public
from postlatch.testing.peers.name_server import NameServer
from postlatch.testing.running import BASE, RunningRelay

# What the relay would send from, if this machine is on the internet; else an address that its records could have.
OURS = [str(address) for address in own_addresses() if is_public(address)]
FOUR = [address for address in OURS if ":" not in address] or ["11.22.33.44"]
SIX = [address for address in OURS if ":" in address]
DOMAIN, HOST = "example.com", "relay.example.com"
Zone = dict[str, dict[str, Any]]

REPORTS = '\n[reports]\ndmarc = "alice@example.com"\n\n[relay_domains."branch.example"]\nroute = "smtp://127.0.0.1:1"\n'
REPORTS += 'recipients = "callout"\nowner = "ops@example.com"\nexpires = 2099-12-31\n'


def good() -> Zone:
    """Records that are right for the relay of the tests."""
    reverse = {ip_address(address).reverse_pointer: {"PTR": [f"{HOST}."]} for address in [*FOUR, *SIX]}
    return {
        DOMAIN: {"MX": [f"10 {HOST}."], "TXT": ['"v=spf1 mx -all"'], "NS": ["ns.example.net."]},
        HOST: {"A": FOUR, "AAAA": SIX},
        f"_dmarc.{DOMAIN}": {"TXT": ['"v=DMARC1; p=none; rua=mailto:alice@example.com"']},
        **reverse,
    }


class Place:
    """A relay that asks a name server of ours."""

    def __init__(self, relay: RunningRelay, server: NameServer) -> None:
        self.relay = relay
        self.server = server

    def ask(self, *arguments: str) -> tuple[int, dict[str, Any]]:
        """Exit status and result of ``dns … --json``."""
        done = self.relay.run("dns", *(arguments or (DOMAIN,)), "--json")
        assert done.stdout, done.stderr
        return done.returncode, json.loads(done.stdout)


def bad(found: dict[str, Any]) -> dict[tuple[str, str], str]:
    """What is neither right nor optional: its status by name and type."""
    rows = found["records"]
    return {(row["name"], row["type"]): row["status"] for row in rows if row["status"] not in {"ok", "optional"}}


def publish(zone: dict[str, Any], fragment: str) -> None:
    """Do what the fragment says, apart from removing."""
    parsed = dns.zone.from_text(fragment, origin=DOMAIN, relativize=False, check_origin=False)
    for name, _, data in parsed.iterate_rdatas():
        text = " ".join(f'"{part.decode()}"' for part in data.strings) if isinstance(data, TXT) else data.to_text()
        key = name.to_text(omit_final_dot=True)
        zone[key] = {**zone.get(key, {}), dns.rdatatype.to_text(data.rdtype): [text]}


@pytest.fixture(scope="module", params=["beside a running relay", pytest.param("without one", marks=pytest.mark.soak)])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """One relay for all tests, in both ways; each test sets the zone."""
    with NameServer({}) as server:
        config = f'{BASE}{REPORTS}\n[outbound]\nresolver = ["127.0.0.1:{server.port}"]\n'
        relay = RunningRelay(tmp_path_factory.mktemp("dns"), config)
        if request.param == "without one":
            yield Place(relay, server)
            return
        with relay:
            yield Place(relay, server)


def test_records_that_are_right_end_with_0(place: Place) -> None:
    place.server.zone = {**good()}
    status, found = place.ask()
    assert (status, found["ok"], found["schema"]) == (0, True, "postlatch.dns/1"), found
    assert {row["status"] for row in found["records"]} == {"ok", "optional"}
    assert set(found["records"][0]) == {"name", "type", "publish", "published", "status", "why"}
    people = place.relay.run("dns", DOMAIN)
    assert people.returncode == 0
    assert people.stdout.startswith("The records are right.\n")
    assert ("_25._tcp.relay.example.com", "TLSA") in place.server.questions


def test_a_fault_ends_with_1_and_its_fragment_mends_it(place: Place) -> None:
    place.server.zone = {**good()}
    place.server.zone[DOMAIN] = {"NS": ["ns.example.net."], "TXT": ['"v=spf1 ip4:11.22.33.99 ?all"']}
    place.server.zone.pop(f"_dmarc.{DOMAIN}")
    status, found = place.ask()
    assert (status, found["ok"]) == (1, False)
    assert bad(found) == {
        (DOMAIN, "MX"): "missing",
        (DOMAIN, "TXT"): "wrong",
        (f"_dmarc.{DOMAIN}", "TXT"): "missing",
    }
    place.server.zone[DOMAIN] = {"NS": ["ns.example.net."]}  # as the fragment says: the old record is to go
    publish(place.server.zone, found["fragment"])
    status, found = place.ask()
    assert status == 0, found


def test_a_published_tlsa_record_of_another_key_is_wrong_and_the_fragments_is_right(place: Place) -> None:
    name = f"_25._tcp.{HOST}"
    place.server.zone = {**good(), name: {"TLSA": ["3 1 1 " + "ab" * 32]}}
    _, found = place.ask()
    assert bad(found) == {(name, "TLSA"): "wrong"}
    [row] = [row for row in found["records"] if row["type"] == "TLSA"]
    assert "do not deliver" in row["why"]
    place.server.zone = {**good(), name: {"TLSA": [row["publish"]]}}
    assert place.ask()[0] == 0


def test_a_domain_that_is_not_of_this_relay_ends_with_2(place: Place) -> None:
    done = place.relay.run("dns", "elsewhere.example")
    assert done.returncode == 2
    assert done.stderr == (
        "Error: elsewhere.example is no domain of this relay; the configuration has: branch.example, example.com\n"
    )


def test_a_domain_that_is_only_relayed_to_needs_the_mx_record_alone(place: Place) -> None:
    mine = {"MX": ["10 mx.branch.example.", f"20 {HOST}."]}
    place.server.zone = {**good(), "branch.example": mine, "mx.branch.example": {"A": ["11.22.33.99"]}}
    status, found = place.ask("branch.example")
    assert status == 0, found
    places = {(row["name"], row["type"]) for row in found["records"]}
    assert ("branch.example", "MX") in places
    assert not {("branch.example", "TXT"), ("_dmarc.branch.example", "TXT")} & places


def test_a_dns_that_does_not_answer_ends_with_3(place: Place) -> None:
    own: dict[str, Any] = {"MX": "SERVFAIL", "TXT": "REFUSED", "NS": ["ns.example.net."]}
    place.server.zone = {**good(), DOMAIN: own}
    status, found = place.ask()
    assert (status, found["ok"]) == (3, False)
    assert bad(found) == {(DOMAIN, "MX"): "unknown", (DOMAIN, "TXT"): "unknown"}


def test_what_is_wrong_outweighs_what_is_not_known(place: Place) -> None:
    own: dict[str, Any] = {"MX": "SERVFAIL", "TXT": ['"v=spf1 +all"'], "NS": ["ns.example.net."]}
    place.server.zone = {**good(), DOMAIN: own}
    assert place.ask()[0] == 1


def test_a_zone_file_is_asked_instead_of_the_dns(place: Place, tmp_path: Path) -> None:
    zone = good()
    for types in zone.values():
        if "TXT" in types:
            types["TXT"] = [text.strip('"') for text in types["TXT"]]
    file = tmp_path / "zone.json"
    file.write_text(json.dumps(zone))
    place.server.questions.clear()
    assert place.ask(DOMAIN, "--zone", str(file))[0] == 0
    del zone[DOMAIN]["MX"]
    file.write_text(json.dumps(zone))
    assert bad(place.ask(DOMAIN, "--zone", str(file))[1]) == {(DOMAIN, "MX"): "missing"}
    assert place.server.questions == []


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read: No such file or directory"),
        ("{", "is no zone file"),
        ('{"a.example": {"A": [1]}}', "the A records of a.example must be a list of texts"),
        ('{"a.example": {"CNAME": []}}', "the CNAME records of a.example must be a list of texts"),
        ("[" * 100_000, "is no zone file"),
    ],
)
def test_a_zone_file_that_is_none_ends_with_2(place: Place, tmp_path: Path, content: str | None, words: str) -> None:
    file = tmp_path / "zone.json"
    if content is not None:
        file.write_text(content)
    done = place.relay.run("dns", DOMAIN, "--zone", str(file))
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_the_keys_of_the_domain_are_to_be_published(place: Place) -> None:
    place.server.zone = {**good()}
    [made] = [key for key in place.relay.json("dkim", "keygen", DOMAIN)["keys"] if key["algorithm"] == "rsa"]
    _, found = place.ask()
    assert bad(found)[(made["name"], "TXT")] == "missing"
    publish(place.server.zone, found["fragment"])
    [text] = place.server.zone[made["name"]]["TXT"]
    assert text.replace('" "', "") == f'"{made["record"]}"'
    assert text.count('"') == 4  # a key of 2048 bits is longer than one string
    assert place.ask()[0] == 0
