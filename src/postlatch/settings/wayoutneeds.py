"""What the settings of the way out need of each other: a trusted resolver for DANE, a verified server for a password."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from postlatch.settings.kinds import quote
from postlatch.settings.origin import Origin
from postlatch.settings.problem import Problem
from postlatch.settings.raw import sub_table, texts
from postlatch.settings.tomlines import KeyPath
from postlatch.settings.values import parse_endpoint, split_socket


def check_way_out(origin: Origin) -> Iterator[Problem]:
    """DNSSEC needs a resolver that nobody can speak for; each way of its own must be whole."""
    outbound = sub_table(origin.data, "outbound")
    yield from _dnssec(origin, outbound)
    for kind in ("by_account", "by_sender"):
        for raw, table in sub_table(outbound, kind).items():
            if isinstance(table, dict):
                yield from _way(origin, ("outbound", kind, raw), table, outbound)


def _dnssec(origin: Origin, outbound: dict[str, Any]) -> Iterator[Problem]:
    reason = outbound.get("resolver_trusted")
    if outbound.get("dnssec") is not True:
        if reason:
            yield origin.problem(("outbound", "resolver_trusted"), "means nothing without dnssec = true")
        return
    resolvers = list(texts(outbound.get("resolver")))
    if not resolvers:
        absent = 'needs a validating resolver of this machine: add resolver = ["127.0.0.1:53"]'
        yield origin.problem(("outbound", "dnssec"), absent)
    for place, text in resolvers:
        if not reason and not _is_loopback(text):
            message = (
                f"{quote(text)} is not on loopback: whoever sits between could forge its answers, DNSSEC or not. Run a "
                'validating resolver here, or accept it in writing with resolver_trusted = "why"'
            )
            yield origin.problem(("outbound", "resolver", place), message, danger=True)


def _is_loopback(text: str) -> bool:
    try:
        return split_socket(parse_endpoint(text))[0].is_loopback
    except ValueError:
        return True  # it is no endpoint at all, which is told elsewhere


def _way(origin: Origin, path: KeyPath, table: dict[str, Any], outbound: dict[str, Any]) -> Iterator[Problem]:
    if not table.get("source") and "smarthost" not in table:
        yield origin.problem(path, "says nothing: give it source, smarthost or both")
    for key in ("tls", "username", "password_file"):
        if key in table and "smarthost" not in table:
            yield origin.problem((*path, key), 'is given without smarthost: add smarthost = "smtp://HOST:PORT"')
    if ("username" in table) != ("password_file" in table):
        given, absent = ("username", "password_file") if "username" in table else ("password_file", "username")
        yield origin.problem((*path, given), f"is given without {absent}: a login needs both")
    level = table.get("tls", outbound.get("tls", "opportunistic"))
    if "username" in table and level in {"opportunistic", "required"}:
        message = 'a password goes only to a server whose name was verified: add tls = "verify"'
        yield origin.problem((*path, "tls" if "tls" in table else "username"), message, danger=True)
