"""The addresses for reports must be ones that get mail here: in a domain of ours, and known in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from postlatch.model.address import AddressError, parse_address
from postlatch.settings.kinds import quote, suggest
from postlatch.settings.origin import Origin
from postlatch.settings.problem import Problem
from postlatch.settings.raw import domain_tables, sub_table, texts


def check_reports(origin: Origin) -> Iterator[Problem]:
    """Every report address whose mail would not arrive."""
    given = sub_table(origin.data, "reports")
    domains = {domain: table for _, domain, table in domain_tables(origin.data, "domains")}
    for key in ("dmarc", "tls"):
        value = given.get(key)
        fault = _fault(value, domains) if isinstance(value, str) else None
        if fault is not None:
            yield origin.problem(("reports", key), fault)


def _fault(value: str, domains: Mapping[str, Mapping[str, Any]]) -> str | None:
    try:
        local, _, home = parse_address(value, smtputf8=True).key.rpartition("@")
    except AddressError:
        return None  # reported where its form is checked
    if home not in domains:
        return f"{quote(value)} is not in a domain of ours, so its mail would not come here; name one of [domains]"
    table = domains[home]
    if table.get("recipients") == "callout":
        return None  # only the next hop knows
    listed = [name.lower() for _, name in texts(table.get("recipients"))]
    known = {*listed, *(name.lower() for name in sub_table(table, "aliases"))}
    if local == "postmaster" or {local, local.partition("+")[0], "*"} & known:
        return None
    hint = suggest(local, sorted(known - {"*"}))
    return f"{quote(local)} is neither a recipient nor an alias of {home}{hint}: add it, or its mail is refused"
