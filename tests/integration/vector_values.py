"""The open-relay catalogue as cases to play: placeholders filled in, one case for each combination of a vector's values."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from postlatch.testing.running import ACCOUNT, BASE, PASSWORD

# The office of the vectors: BASE, a relay domain with a list, and a right that covers no client of these tests.
OFFICE = """
[relay_domains."branch.example"]
route = "{sink}"
recipients = ["known"]
owner = "ops@example.com"
expires = 2099-12-31

[outbound]
smarthost = "{sink}"

[[rights]]
name = "printers"
networks = ["192.0.2.16/28"]
listeners = ["relay"]
owner = "ops@example.com"
expires = 2099-12-31
"""
KNOWN = "alice@example.com"  # {R}@{L}: anybody may write to it on mx
# What may be accepted for a stranger on mx: mailboxes of ours, as the vectors spell them.
OURS = frozenset({KNOWN, "alice@ExAmPlE.CoM", "postmaster"})

NAMES = {
    "T": "canary.test",
    "T2": "canary2.test",
    "U": "canary",
    "L": "example.com",
    "H": "relay.example.com",
    "IP": "127.0.0.1",
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
    "random": "tr0ub4dor",
    "random_b64": base64.b64encode(b"\0nobody@example.com\0tr0ub4dor").decode(),
    "junk_b64": base64.b64encode(b"user=x\x01auth=Bearer junk\x01\x01").decode(),
    "test_user": ACCOUNT,
    "test_password": PASSWORD,
}
# PROXY protocol version 2: signature, PROXY over TCP4, 12 octets: 127.0.0.1 to 127.0.0.1, ports 1 and 25.
PROXY_V2 = "\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x7f\0\0\x01\x7f\0\0\x01\0\x01\0\x19"
_PLACEHOLDER = re.compile(r"\{([A-Za-z0-9_]+)\}")
_BASE64 = re.compile(r"base64\(([^)]*)\)")


def office(sink: str, greeting_delay: float = 0) -> str:
    """The configuration; ``sink`` is the URL of where mail leaves to."""
    delayed = BASE.replace("greeting_delay = 0", f"greeting_delay = {greeting_delay}")
    return delayed + OFFICE.format(sink=sink)


@dataclass(frozen=True, slots=True)
class Case:
    """One vector with one value of each kind. ``values`` are filled in; ``steps`` still hold their placeholders."""

    vector: str
    kind: str
    values: Mapping[str, str]
    steps: tuple[str, ...]
    expected: frozenset[str]

    @property
    def group(self) -> str:
        """The letter of its group."""
        return self.vector[0]

    def fill(self, template: str) -> str:
        """A step with this case's values."""
        return fill(template, self.values)

    def __str__(self) -> str:
        shown = {key: value for key, value in self.values.items() if key != "helo" or value != "client.example"}
        return f"{self.vector} {shown!r}"


def fill(template: str, values: Mapping[str, str]) -> str:
    """Placeholders and ``base64(…)`` replaced; KeyError if a placeholder has no value."""
    text = _PLACEHOLDER.sub(lambda match: values.get(match[1]) or NAMES.get(match[1]) or _empty(match[1], values), template)
    return _BASE64.sub(lambda match: base64.b64encode(match[1].encode()).decode(), text)


def _empty(name: str, values: Mapping[str, str]) -> str:
    return values[name]  # an empty string is a value: <>


def load_vectors(testdata: Path) -> list[dict[str, Any]]:
    """The catalogue."""
    vectors: list[dict[str, Any]] = json.loads((testdata / "relay_vectors.json").read_text("utf-8"))["vectors"]
    return vectors


def cases_of(vector: dict[str, Any]) -> Iterator[Case]:
    """All combinations of a vector's values, and the second forms that its notes ask for."""
    choices: dict[str, list[str]] = {
        "mail_from": vector["mail_from"] or [""],
        "rcpt_to": vector["rcpt_to"] or [""],
        "helo": vector.get("helo") or ["client.example"],
        "raw_rcpt": vector.get("raw_rcpt") or [""],
        "headers": ["\r\n".join(headers) for headers in _headers(vector)],
        **vector.get("params", {}),
    }
    for combination in product(*choices.values()):
        values: dict[str, str] = {}
        for key, text in zip(choices, combination, strict=True):
            values[key] = fill(text, values)
        case = Case(vector["id"], vector["kind"], values, tuple(vector["steps"]), frozenset(vector["expected"]))
        yield from _forms(case)


def _headers(vector: dict[str, Any]) -> list[list[str]]:
    if vector["id"] == "J07":
        return [["Received: from a by b; Thu, 1 Jan 2026 00:00:00 +0000"] * 101]
    found: list[list[str]] = vector.get("header_sets") or [vector.get("headers") or ["From: <probe@canary.test>"]]
    return found


def _forms(case: Case) -> Iterator[Case]:
    yield case
    if case.vector == "E09":
        yield _with_steps(case, "NOOP", "RSET")
    elif case.vector == "I03":
        yield _with_steps(case, "PROXY TCP4 127.0.0.1 {IP} 1 25{CR}{LF}", PROXY_V2)
    elif not (case.values["mail_from"] + case.values["rcpt_to"]).isascii():
        yield _with_steps(case, "MAIL FROM:<{mail_from}>", "MAIL FROM:<{mail_from}> SMTPUTF8")


def _with_steps(case: Case, old: str, new: str) -> Case:
    return replace(case, steps=tuple(step.replace(old, new) for step in case.steps))
