"""The keys of [oauth] and of client certificates that need one another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from postlatch.settings.origin import Origin
from postlatch.settings.problem import Problem
from postlatch.settings.raw import sub_table

_WAYS = ("jwks_url", "jwks_file", "introspection_url")


def check_proofs(origin: Origin) -> Iterator[Problem]:
    """Every key that stands alone and cannot work."""
    if "oauth" in origin.data:
        yield from _oauth(origin, sub_table(origin.data, "oauth"))
    tls = sub_table(origin.data, "tls")
    for key in ("client_addresses", "client_certificates"):
        if tls.get(key) and "client_ca" not in tls:
            message = 'is given without client_ca, so no client is asked for a certificate: add client_ca = "FILE"'
            yield origin.problem(("tls", key), message)
    if "client_ca" in tls and not tls.get("client_addresses") and not tls.get("client_certificates"):
        message = "is given, and no certificate stands for a login: add [tls.client_certificates], or client_addresses = true"
        yield origin.problem(("tls", "client_ca"), message)
    seen: dict[str, str] = {}
    for raw in sub_table(tls, "client_certificates"):
        first = seen.setdefault(raw.replace(":", "").lower(), raw)
        if first != raw:
            at = origin.line(("tls", "client_certificates", first))
            yield origin.problem(("tls", "client_certificates", raw), f"this certificate is on line {at} too: keep one")


def _oauth(origin: Origin, table: Mapping[str, Any]) -> Iterator[Problem]:
    ways = [key for key in _WAYS if key in table]
    if len(ways) != 1:
        found = " and ".join(ways) if ways else "none of them"
        message = f"tokens are verified in one way: jwks_url, jwks_file or introspection_url ({found} is given)"
        yield origin.problem(("oauth", ways[1]) if ways else "oauth", message)
        return
    needed = ("client_id", "client_secret_file") if ways[0] == "introspection_url" else ("issuer", "audience")
    for key in needed:
        if not table.get(key):
            yield origin.problem(("oauth", ways[0]), f"is given without {key}: add {key}")
