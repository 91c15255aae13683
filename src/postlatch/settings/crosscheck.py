"""What no single key can show: names given twice, addresses that collide, references that lead nowhere.

These checks read the raw data, not the models, so that they speak even where some other key is wrong. A value of the wrong
type is passed over here: ``explain`` reports it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from postlatch.settings.aliases import check_aliases
from postlatch.settings.directory import check_directories
from postlatch.settings.kinds import quote, suggest
from postlatch.settings.loginproofs import check_proofs
from postlatch.settings.origin import Origin
from postlatch.settings.problem import Problem
from postlatch.settings.raw import domain_tables, sub_table, tables, texts
from postlatch.settings.reportboxes import check_reports
from postlatch.settings.reputationneeds import check_reputation
from postlatch.settings.routes import parse_route
from postlatch.settings.tomlines import KeyPath
from postlatch.settings.tree import HttpSettings
from postlatch.settings.values import parse_socket, split_socket
from postlatch.settings.wayoutneeds import check_way_out


def cross_check(origin: Origin) -> list[Problem]:
    """Every problem between keys."""
    checks = (
        _names,
        _addresses,
        _references,
        _domain_names,
        _callouts,
        check_aliases,
        check_reports,
        check_directories,
        check_proofs,
        check_reputation,
        check_way_out,
        _smarthost_login,
    )
    return [problem for check in checks for problem in check(origin)]


def _names(origin: Origin) -> Iterator[Problem]:
    for kind, what in (("listeners", "listener"), ("rights", "right")):
        seen: dict[str, int] = {}
        for index, table in tables(origin.data, kind):
            name = table.get("name")
            if not isinstance(name, str):
                continue
            if name in seen:
                first = origin.line((kind, seen[name], "name"))
                yield origin.problem(
                    (kind, index, "name"), f"there is another {what} {quote(name)} on line {first}: names are unique"
                )
            seen.setdefault(name, index)


def _addresses(origin: Origin) -> Iterator[Problem]:
    bound: list[tuple[IPv4Address | IPv6Address, int, str]] = []
    for path, text, name in _sockets(origin.data):
        try:
            address, port = split_socket(parse_socket(text))
        except ValueError:
            continue
        clash = next((held for held in bound if _collide(held, address, port)), None)
        if clash is not None:
            yield origin.problem(
                path, f"{text} is taken by {clash[2]} ({_show(clash[0], clash[1])}): use another address or port"
            )
        elif port:
            bound.append((address, port, name))


def _sockets(data: Mapping[str, Any]) -> Iterator[tuple[KeyPath, str, str]]:
    """(path, text, whose) of every address that is bound, the dashboard's first: it has a default that may be in the way."""
    address = sub_table(data, "http").get("address", HttpSettings.model_fields["address"].default)
    if isinstance(address, str):
        yield ("http", "address"), address, "[http]"
    for index, table in tables(data, "listeners"):
        name = table.get("name")
        whose = f"listener {quote(name)}" if isinstance(name, str) else "another listener"
        value = table.get("address")
        if isinstance(value, str):
            yield ("listeners", index, "address"), value, whose
        for place, text in texts(value):
            yield ("listeners", index, "address", place), text, whose


def _collide(held: tuple[IPv4Address | IPv6Address, int, str], address: IPv4Address | IPv6Address, port: int) -> bool:
    other, other_port, _ = held
    if port != other_port or address.version != other.version:
        return False  # an IPv6 socket is IPv6 only
    return address == other or address.is_unspecified or other.is_unspecified


def _show(address: IPv4Address | IPv6Address, port: int) -> str:
    return f"[{address}]:{port}" if isinstance(address, IPv6Address) else f"{address}:{port}"


def _references(origin: Origin) -> Iterator[Problem]:
    known = [table["name"] for _, table in tables(origin.data, "listeners") if isinstance(table.get("name"), str)]
    for index, table in tables(origin.data, "rights"):
        for place, name in texts(table.get("listeners")):
            if name not in known:
                hint = suggest(name, known) or f"; there are: {', '.join(known) or 'none'}"
                yield origin.problem(("rights", index, "listeners", place), f"there is no listener {quote(name)}{hint}")


def _domain_names(origin: Origin) -> Iterator[Problem]:
    seen: dict[str, KeyPath] = {}
    for kind in ("domains", "relay_domains"):
        for raw, domain, _ in domain_tables(origin.data, kind):
            if domain in seen:
                first = seen[domain]
                place = f"[{first[0]}] on line {origin.line(first)}"
                yield origin.problem(
                    (kind, raw), f"{domain} is given already in {place}: a domain is ours or relayed to, and only once"
                )
            seen.setdefault(domain, (kind, raw))
    seen.clear()
    for raw, domain, _ in domain_tables(sub_table(origin.data, "outbound"), "routes"):
        path: KeyPath = ("outbound", "routes", raw)
        if domain in seen:
            yield origin.problem(path, f"there is another route for {domain} on line {origin.line(seen[domain])}: keep one")
        seen.setdefault(domain, path)


def _callouts(origin: Origin) -> Iterator[Problem]:
    for raw, _, table in domain_tables(origin.data, "domains"):
        deliver = table.get("deliver")
        try:
            local = isinstance(deliver, str) and parse_route(deliver).kind == "maildir"
        except ValueError:
            continue
        if not local:
            continue
        if table.get("recipients") == "callout":
            message = 'a Maildir cannot be asked who is in it: list the local parts, or deliver to "lmtp://…" or "smtp://…"'
            yield origin.problem(("domains", raw, "recipients"), message)
        for place, name in texts(table.get("recipients")):
            if "/" in name:
                yield origin.problem(
                    ("domains", raw, "recipients", place), f"{quote(name)} cannot be a folder's name: a Maildir has no /"
                )


def _smarthost_login(origin: Origin) -> Iterator[Problem]:
    outbound = sub_table(origin.data, "outbound")
    if "password_file" in outbound and "username" not in outbound:
        yield origin.problem(("outbound", "password_file"), "is given without username: add the login name at the smarthost")
    if "username" not in outbound:
        return
    if "smarthost" not in outbound:
        yield origin.problem(("outbound", "username"), 'is given without smarthost: add smarthost = "smtp://HOST:PORT"')
    if "password_file" not in outbound:
        yield origin.problem(("outbound", "username"), 'is given without password_file: add password_file = "smarthost.secret"')
    if outbound.get("tls", "opportunistic") in {"opportunistic", "required"}:
        message = 'a password goes only to a server whose name was verified: add tls = "verify"'
        yield origin.problem(("outbound", "tls" if "tls" in outbound else "username"), message, danger=True)
