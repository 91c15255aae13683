"""Who could relay, as far as compose and Kubernetes files can say it."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Final, NamedTuple

from postlatch.audit.lint.compose import docker, kubernetes
from postlatch.audit.lint.compose.document import Item, documents
from postlatch.audit.lint.compose.trust import Trust, is_described, trusts
from postlatch.audit.lint.compose.workload import Port, Setting, Workload
from postlatch.audit.lint.problem import LintError
from postlatch.audit.lint.reading import Budget, is_readable_file, shown
from postlatch.audit.lint.survey import CLOSED, Answer, Network, judged, networks_of
from postlatch.audit.values import Finding, LintResult, Severity, Verdict

_STEPS: Final = 500_000
_MOST_FILES: Final = 200
_COMPOSE: Final = ("compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml")
_HEADER: Final = frozenset(
    (
        "POSTFIX_SMTPD_UPSTREAM_PROXY_PROTOCOL",
        "POSTSCREEN_UPSTREAM_PROXY_PROTOCOL",
        "POSTFIX_POSTSCREEN_UPSTREAM_PROXY_PROTOCOL",
    )
)

Client = IPv4Address | IPv6Address


class _Way(NamedTuple):
    """Networks that may relay through a workload that strangers reach."""

    workload: Workload
    trust: Trust


def lint(path: Path, client: IPv4Address | IPv6Address | None) -> LintResult:
    """``path``: a compose file, a Kubernetes file, or a folder of them. LintError if it cannot be read."""
    budget = Budget(_STEPS)
    workloads = [workload for workload in _workloads(path, budget) if workload.ports]
    ways = [_Way(w, trust) for w in workloads if w.reachable for trust in trusts(w)]
    networks: list[Network] = [network for way in ways for network in way.trust.networks]
    judge = _Judge(workloads, ways, Budget(_STEPS))
    return judged(networks, client, judge.answer, _faults(workloads))


def _workloads(path: Path, budget: Budget) -> Iterator[Workload]:
    files = _files(path)
    kinds: list[Item] = []
    for file in files:
        for document in documents(file, budget):
            if kubernetes.is_kubernetes(document) or not document.get("services"):
                kinds.append(document)
            else:
                yield from docker.workloads(document, file.parent)
    yield from kubernetes.workloads(kinds)


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    found = [path / name for name in _COMPOSE if is_readable_file(path / name)]
    if found:
        return found[:1]
    try:
        found = sorted(child for child in path.iterdir() if child.suffix in {".yaml", ".yml"})[:_MOST_FILES]
    except OSError as error:
        raise LintError(f"cannot be read: {error}", shown(str(path), 300)) from error
    if not found:
        raise LintError("holds no .yaml and no .yml file", shown(str(path), 300))
    return found


class _Judge:
    def __init__(self, workloads: list[Workload], ways: list[_Way], budget: Budget) -> None:
        self._ways = ways
        self._budget = budget
        self._claim = next((claim for w in workloads if w.reachable and (claim := _header(w)) is not None), None)
        self._mask = next((mask for way in ways if (mask := _mask(way)) is not None), None)
        self._unsaid = next((w for w in workloads if w.reachable and not is_described(w)), None)

    def answer(self, client: Client) -> Answer:
        """For one client."""
        for workload, trust in self._ways:
            self._budget.spend(1 + len(trust.networks) // 8)
            if any(client in network for network in trust.networks):
                return _trusted(workload, trust)
        return self._claim or self._mask or (CLOSED if self._unsaid is None else _unsaid(self._unsaid))


def _trusted(workload: Workload, trust: Trust) -> Answer:
    because = f"{shown(trust.name, 60)} of {workload.name} lets it relay"
    finding = Finding(
        "compose.networks",
        Severity.CRITICAL,
        f"{shown(trust.name, 60)} of {workload.name} lets strangers relay: {shown(trust.setting.value, 100)}",
        "anybody can send mail to anybody through this container",
        f"name your own addresses in {shown(trust.name, 60)}, and let everybody else log in",
        trust.setting.file,
        trust.setting.line,
    )
    return Answer(Verdict.OPEN, because, finding=finding)


def _mask(way: _Way) -> Answer | None:
    """A gateway that may relay, and a port through which strangers arrive with the gateway's address."""
    port = next((port for port in way.workload.reachable if port.masked), None)
    if port is None or not way.trust.has_gateways:
        return None
    name = shown(way.trust.name, 60)
    finding = Finding(
        "compose.masked-relay",
        Severity.CRITICAL if port.surely else Severity.HIGH,
        f"{name} of {way.workload.name} lets the container's gateway relay, and {port.masked}",
        "who arrives with the gateway's address can send mail to anybody",
        f"{port.fix}; and PERMIT_DOCKER=none"
        if name.startswith("PERMIT_DOCKER")
        else f"{port.fix}; and take private networks out of {name}",
        port.file,
        port.line,
    )
    because = f"{name} of {way.workload.name} trusts the gateway, and {port.masked}"
    return Answer(Verdict.OPEN if port.surely else Verdict.UNKNOWN, because, finding=finding)


def _header(workload: Workload) -> Answer | None:
    """A PROXY header that is believed from everybody."""
    settings = workload.settings
    wide = settings.get("REAL_IP_FROM")
    proxied = settings.get("PROXY_PROTOCOL")
    if wide is not None and proxied is not None and proxied.value.strip() and _has_all(wide.value):
        because = f"REAL_IP_FROM of {workload.name} lets it say which address it has, such as one that may relay"
        return Answer(Verdict.OPEN, because, finding=_claims(workload, "REAL_IP_FROM", wide))
    for name in _HEADER:
        setting = settings.get(name)
        if setting is not None and setting.value.strip():
            because = f"{name} of {workload.name} believes whoever reaches the port; a firewall in front decides"
            return Answer(Verdict.UNKNOWN, because, finding=_claims(workload, name, setting))
    return None


def _has_all(text: str) -> bool:
    return any(
        network is not None and network.prefixlen == 0 for network in map(networks_of, text.replace(",", " ").split()[:500])
    )


def _claims(workload: Workload, name: str, setting: Setting) -> Finding:
    return Finding(
        "compose.proxy-header",
        Severity.CRITICAL,
        f"{name} of {workload.name} believes PROXY headers from everybody who reaches the port",
        "a stranger says that it has an address that may relay",
        f"name the proxy alone in {name}" if name == "REAL_IP_FROM" else "publish the port for the proxy alone",
        setting.file,
        setting.line,
    )


def _unsaid(workload: Workload) -> Answer:
    finding = Finding(
        "compose.not-said",
        Severity.INFO,
        f"{workload.name} publishes a mail port, and this file does not say for whom it relays",
        "the configuration inside the container decides",
        "check it with 'postlatch lint' for its kind of server, and from outside with 'postlatch audit'",
        workload.file,
        workload.line,
    )
    return Answer(Verdict.UNKNOWN, "the configuration inside the container decides", finding=finding)


def _faults(workloads: list[Workload]) -> Iterator[Finding]:
    for workload in workloads:
        permit = workload.settings.get("PERMIT_DOCKER")
        if permit is not None and permit.value.lower() not in {"", "none"}:
            yield Finding(
                "compose.permit-docker",
                Severity.HIGH,
                f"PERMIT_DOCKER={shown(permit.value, 40)} lets containers relay by their address",
                "a gateway's address is every client's that loses its own: over IPv6, in rootless engines, behind proxies",
                "PERMIT_DOCKER=none, and let other containers log in",
                permit.file,
                permit.line,
            )
        for port in workload.reachable:
            if port.masked:
                yield _masked(workload, port)


def _masked(workload: Workload, port: Port) -> Finding:
    return Finding(
        "compose.masked",
        Severity.MEDIUM,
        f"port {port.number} of {workload.name}: {port.masked}",
        "bans, limits, SPF and the right to relay meet all such clients at once",
        port.fix,
        port.file,
        port.line,
    )
