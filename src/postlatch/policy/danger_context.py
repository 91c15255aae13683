"""What a danger is, and what the checks must know beside the snapshot."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from postlatch.model.address import Address
from postlatch.model.envelope import IPAddress
from postlatch.policy.networks import IPNetwork


@dataclass(frozen=True, slots=True)
class Danger:
    """One danger. ``key`` is the TOML path, rights and listeners by name: ``rights.printers.networks``.

    ``fatal_at_start`` is False for what has only lapsed: ``check`` and a reload refuse it, a start warns and goes on without.
    """

    key: str
    message: str
    fatal_at_start: bool = True


@dataclass(frozen=True, slots=True)
class DangerContext:
    """The rest of the configuration and the host. Times are seconds since 1970, UTC.

    ``is_public_suffix`` answers for a lower-case A-label domain. ``container_gateways`` are the addresses of the host's own
    bridges. ``domain_names`` are the keys of ``[domains]`` and ``[relay_domains]`` as the file spells them.
    """

    now: float
    is_public_suffix: Callable[[str], bool]
    tls_certificate: bool = False
    proxies: Mapping[str, tuple[IPNetwork, ...]] = field(default_factory=dict)
    smarthost_username: bool = False
    smarthost_tls: str = ""
    container_gateways: frozenset[IPAddress] = frozenset()
    listener_addresses: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    alert_recipients: tuple[Address, ...] = ()
    domain_names: tuple[str, ...] = ()


def quoted(name: str) -> str:
    """A TOML key part: quoted where the name is not a bare key."""
    return name if name.replace("-", "").replace("_", "").isalnum() and name.isascii() else f'"{name}"'
