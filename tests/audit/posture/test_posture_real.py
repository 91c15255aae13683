"""The whole command against real servers: a domain in which all is right, one in which much is not, and one that is gone."""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module, resources
from typing import Any

import pytest
from posture_lab import DEAD, GOOD, WEAK, Lab, lab

from postlatch.testing.peers.network import NetworkUnavailable

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """The lab, where its programs are installed."""
    path = os.environ["PATH"] + ":/usr/sbin:/sbin"
    missing = [name for name in ("nsd", "unbound", "postfix", "ip") if shutil.which(name, path=path) is None]
    if missing or os.geteuid() != 0:
        reason = f"not installed: {', '.join(missing)}" if missing else "only root may make networks"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    with suppress(NetworkUnavailable), lab(tmp_path_factory.mktemp("posture")) as found:
        yield found
        return
    pytest.skip("no networks of one's own here")


def states(data: dict[str, Any]) -> dict[str, str]:
    return {check["id"]: check["state"] for check in data["checks"]}


def findings(data: dict[str, Any]) -> set[str]:
    return {finding["id"] for check in data["checks"] for finding in check["findings"]}


def test_a_domain_in_which_all_is_right_gets_the_best_grade(world: Lab) -> None:
    status, data = world.ask_trusting(GOOD)
    found = states(data)
    others = {name: state for name, state in found.items() if state != "good"}
    assert others == {
        "dmarc.alignment": "info",
        "bimi.record": "absent",
        "tls.client-renegotiation": "unknown",
        "tls.chain": "info",
    }
    assert (status, data["grade"], data["first"]) == (0, "A+", [])
    assert data["seconds"] < 10
    assert "mx.example.com:465" in next(c["detail"] for c in data["checks"] if c["id"] == "tls.offered")


def test_a_domain_in_which_much_is_wrong_is_told_all_of_it(world: Lab) -> None:
    status, data, _ = world.ask(WEAK)
    assert (status, data["grade"]) == (1, "F")
    assert findings(data) >= {
        *("spf.too-wide", "spf.neutral", "dmarc.none", "dmarc.removed-tags", "dmarc.no-rua", "dkim.none"),
        *("mta-sts.missing", "tls-rpt.missing", "ipv6.none", "fcrdns.no-ptr", "fcrdns.banner", "dnsbl.listed"),
        *("tls.old-versions", "tls.cipher-null", "tls.cipher-anonymous", "tls.static-suites", "tls.client-order"),
        *("tls.expired", "tls.wrong-name", "tls.short-key", "dane.mismatch"),
    }
    mismatch = next(f for c in data["checks"] for f in c["findings"] if f["id"] == "dane.mismatch")
    assert mismatch["fix"].startswith(f"publish: _25._tcp.mx.{WEAK}. TLSA 3 1 1 ")
    assert len(data["first"]) == 5
    assert data["first"][0]["severity"] == "high"


def test_a_domain_that_nobody_answers_for_is_undecided(world: Lab) -> None:
    status, data, seconds = world.ask(DEAD, time_limit=1)
    assert (status, data["grade"]) == (3, "?")
    assert set(states(data).values()) <= {"unknown", "info"}
    assert not findings(data)
    assert seconds < 3.5


def test_nothing_is_connected_to_where_only_the_dns_is_asked(world: Lab) -> None:
    before = (world.folder / "postfix" / "maillog").read_text().count(": connect from")
    status, data, _ = world.ask(GOOD, no_connect=True)
    assert (world.folder / "postfix" / "maillog").read_text().count(": connect from") == before
    found = states(data)
    assert status == 0
    assert {found[name] for name in ("tls.offered", "mta-sts.policy", "dane.match", "fcrdns.banner", "ipv6.reach")} == {
        "unknown"
    }
    assert data["grade"] == "A"


def test_name_servers_that_never_answer_do_not_hold_it_up(world: Lab) -> None:
    with world.network.inside(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        status, data, seconds = world.ask(GOOD, resolver=f"127.0.0.1:{silent.getsockname()[1]}", time_limit=1)
    assert status == 3
    assert seconds < 3.5
    assert set(states(data).values()) <= {"unknown", "info"}


def test_the_page_for_people_has_the_grade_and_every_finding(world: Lab) -> None:
    _, data, _ = world.ask(WEAK, format="html")
    page = "\n".join(data["lines"])
    assert page.startswith("<!DOCTYPE html>")
    assert all(finding in page for finding in findings(data))
    assert "script" not in page


@pytest.mark.parametrize(("domain", "limits"), [(GOOD, {}), (WEAK, {}), (DEAD, {"time_limit": 1})])
def test_json_is_valid_by_its_schema(world: Lab, domain: str, limits: dict[str, int]) -> None:
    text = resources.files("postlatch.audit.report").joinpath("schemas", "audit-posture-1.schema.json").read_text("ascii")
    validator: Any = import_module("jsonschema").Draft202012Validator
    validator.check_schema(json.loads(text))
    _, data, _ = world.ask(domain, **limits)
    validator(json.loads(text)).validate(json.loads(json.dumps(data)))
