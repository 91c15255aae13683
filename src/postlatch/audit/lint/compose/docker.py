"""Services of a compose file."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from postlatch.audit.lint.compose.document import Item
from postlatch.audit.lint.compose.workload import MAIL_PORTS, Port, Setting, Workload
from postlatch.audit.lint.problem import LintError
from postlatch.audit.lint.reading import Line, is_readable_file, lines_of, shown

_VARIABLE: Final = re.compile(r"\$\$|\$\{(\w+)(?::?([-?+])([^{}]*))?\}|\$(\w+)")
_PORT: Final = re.compile(
    r"(?:(\[[0-9a-fA-F:.]+\]|[0-9]+\.[0-9.]+|[0-9a-fA-F:]{0,40}::[0-9a-fA-F:]{0,40}):)?(?:([\d-]*):)?(\d+)(?:-(\d+))?(?:/(tcp|udp))?"
)
_ASSIGNMENT: Final = re.compile(r"\s*+(?:export\s++)?([A-Za-z_]\w*+)\s*+=(.*)")
_MOST_SERVICES: Final = 500

_IPV6_FIX: Final = (
    "give the network enable_ipv6: true (with ip6tables in daemon.json), or publish on 0.0.0.0 alone, or use network_mode: host"
)


def workloads(document: Item, folder: Path) -> Iterator[Workload]:
    """All services; each with its mail ports and environment."""
    known = _env_file(folder / ".env")
    for count, (name, service) in enumerate(document.get("services").pairs()):
        if count >= _MOST_SERVICES:
            raise LintError(f"has more than {_MOST_SERVICES} services", document.file, service.line)
        if service.is_mapping:
            ports = tuple(_ports(service, document, known))
            image = _filled(service.get("image").text, known)
            yield Workload(shown(name, 80), image, _settings(service, folder, known), ports, service.file, service.line)


def _settings(service: Item, folder: Path, known: Mapping[str, str]) -> dict[str, Setting]:
    settings: dict[str, Setting] = {}
    files = service.get("env_file")
    for item in [files, *files.items()]:
        name = item.text or item.get("path").text
        if name and "\0" not in name:
            settings |= _env_settings(folder / Path(name).name)
    environment = service.get("environment")
    for key, value in environment.pairs():
        settings[key.upper()] = Setting(_filled(value.text, known), value.file, value.line)
    for item in environment.items():
        key, _, text = item.text.partition("=")
        settings[key.strip().upper()] = Setting(_filled(text, known).strip(), item.file, item.line)
    return settings


def _env_settings(path: Path) -> dict[str, Setting]:
    return {key.upper(): Setting(value, line.file, line.number) for key, value, line in _assignments(path)}


def _env_file(path: Path) -> dict[str, str]:
    return {key: value for key, value, _ in _assignments(path)}


def _assignments(path: Path) -> Iterator[tuple[str, str, Line]]:
    if not is_readable_file(path):
        return
    for line in lines_of(path):
        if not line.text.lstrip().startswith("#") and (found := _ASSIGNMENT.fullmatch(line.text)):
            yield found[1], found[2].strip().strip("'\""), line


def _filled(text: str, known: Mapping[str, str]) -> str:
    """Variables from .env and their defaults."""

    def value(found: re.Match[str]) -> str:
        if found[0] == "$$":
            return "$"
        name = found[1] or found[4]
        return known.get(name) or (found[3] if found[2] == "-" and found[3] else "")

    return _VARIABLE.sub(value, text[:10_000])


def _ports(service: Item, document: Item, known: Mapping[str, str]) -> Iterator[Port]:
    mode = _filled(service.get("network_mode").text, known)
    if mode == "host":
        for number in sorted(_container_ports(service, known) & MAIL_PORTS) or [25]:
            yield Port(number, True, "", "", service.file, service.line)
        return
    for item in service.get("ports").items():
        address, target, last, line = _published(item, known)
        for number in sorted(n for n in MAIL_PORTS if target <= n <= last):
            masked, fix, surely = _masked(address, mode, service, document)
            yield Port(number, not _is_loopback(address), masked, fix, item.file, line, surely)


def _container_ports(service: Item, known: Mapping[str, str]) -> set[int]:
    found: set[int] = set()
    for key in ("ports", "expose"):
        for item in service.get(key).items():
            _, target, last, _ = _published(item, known)
            found |= {port for port in MAIL_PORTS if target <= port <= last}
    return found


def _published(item: Item, known: Mapping[str, str]) -> tuple[str, int, int, int | None]:
    """Host address, first and last container port, line."""
    if item.is_mapping:
        target = _filled(item.get("target").text, known)
        number = int(target) if target.isascii() and target.isdecimal() and len(target) < 6 else 0
        return item.get("host_ip").text, number, number, item.line
    found = _PORT.fullmatch(_filled(item.text, known).strip()[:200])
    if found is None or found[5] == "udp":
        return "", 0, 0, item.line
    first = int(found[3][:6])
    return (found[1] or "").strip("[]"), first, int((found[4] or found[3])[:6]), item.line


def _is_loopback(address: str) -> bool:
    return address.startswith("127.") or address == "::1"


def _masked(address: str, mode: str, service: Item, document: Item) -> tuple[str, str, bool]:
    """Why clients may arrive with the gateway's address, what helps, and whether it is sure."""
    if mode.startswith("slirp4netns") and "port_handler=slirp4netns" not in mode:
        why = "rootless Podman's port handler gives every client one address"
        return why, "network_mode: pasta, or slirp4netns:port_handler=slirp4netns", True
    over_ipv6 = not address or ":" in address
    if over_ipv6 and not _has_ipv6(service, document):
        return (
            "clients that come over IPv6 arrive with the gateway's IPv4 address, as the network has no IPv6",
            _IPV6_FIX,
            ":" in address,
        )
    return "", "", False


def _has_ipv6(service: Item, document: Item) -> bool:
    networks = service.get("networks")
    names = [name for name, _ in networks.pairs()] + [item.text for item in networks.items()] or ["default"]
    return any(document.get("networks", name, "enable_ipv6").text.lower() in {"true", "yes", "on"} for name in names)
