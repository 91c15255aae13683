"""Who could relay by a configuration of Haraka.

A recipient that no plugin vouches for is refused, so only what sets ``relaying`` counts.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Final, NamedTuple

from postlatch.audit.lint.haraka.config import Config
from postlatch.audit.lint.haraka.faults import faults
from postlatch.audit.lint.haraka.plugins import HARMLESS
from postlatch.audit.lint.index import NetworkIndex
from postlatch.audit.lint.patterns import matches
from postlatch.audit.lint.problem import LintError
from postlatch.audit.lint.reading import Budget, Line, is_readable_file, read, shown
from postlatch.audit.lint.survey import CLOSED, Answer, Network, judged, networks_of
from postlatch.audit.values import Finding, LintResult, Severity, Verdict

_STEPS: Final = 2_000_000
_FOREIGN: Final = "third-party.example"
_OLD_ALL: Final = "relay_all"
_RELAY: Final = frozenset(("relay", "relay_acl", "relay_force_routing", _OLD_ALL))
_MOST_PLUGINS: Final = 300


class _Entry(NamedTuple):
    network: Network
    line: Line
    only_in_old: bool = False


def lint(path: Path, client: IPv4Address | IPv6Address | None) -> LintResult:
    """``path``: Haraka's folder or its config folder. LintError if it cannot be read."""
    config = Config(path)
    judge = _Judge(config)
    return judged(judge.networks, client, judge.answer, faults(config))


class _Judge:
    def __init__(self, config: Config) -> None:
        self._config = config
        self._budget = Budget(_STEPS)
        self._plugins = {line.text.split()[0]: line for line in config.lines("plugins")[:_MOST_PLUGINS]}
        self._allowed = {entry.network: entry for entry in self._acl()}
        self._proxies = {entry.network: entry for entry in _proxies(config)}
        self._allowed_index, self._proxy_index = NetworkIndex(self._allowed), NetworkIndex(self._proxies)
        self.networks: list[Network] = [*self._allowed, *self._proxies]
        self._anyone = self._for_anyone()
        self._doubt = self._of_plugins()

    def answer(self, client: IPv4Address | IPv6Address) -> Answer:
        """For one client."""
        self._budget.spend()
        if self._anyone is not None:
            return self._anyone
        if (network := self._allowed_index.narrowest(client)) is not None:
            return _by_address(self._allowed[network])
        sure = any(not entry.only_in_old for entry in self._allowed.values())
        if sure and (network := self._proxy_index.narrowest(client)) is not None:
            return _by_claim(self._proxies[network])
        return self._doubt or CLOSED

    def _acl(self) -> Iterator[_Entry]:
        """The addresses that may relay, as the plugin reads them."""
        config = self._config
        if (
            not self._plugins.keys() & {"relay", "relay_acl"}
            or not config.flag("relay.ini", "relay", "acl", default=True).holds
        ):
            return
        for line in config.lines("relay_acl_allow"):
            text = line.text.split("#")[0].strip()
            address, slash, bits = text.partition("/")
            if not slash and networks_of(address) is not None:
                text = f"{address}/32"  # what the plugin appends, to IPv6 addresses as well
            if (network := networks_of(text)) is not None:
                yield _Entry(network, line, only_in_old=bits.strip() == "0")

    def _for_anyone(self) -> Answer | None:
        if _OLD_ALL in self._plugins:
            return _open(
                "haraka.relay-all", "the plugin relay_all lets everyone relay", self._plugins[_OLD_ALL], "remove the plugin"
            )
        if "relay" not in self._plugins:
            return None
        all_ = self._config.flag("relay.ini", "relay", "all", default=False)
        by_destination = self._config.flag("relay.ini", "relay", "dest_domains", default=False).holds
        listed = any(entry.section == "domains" for entry in self._config.ini("relay_dest_domains.ini"))
        if all_.holds and not (by_destination and listed):  # who lists destinations refuses all others before
            return _open("haraka.relay-all", "relay.ini says all=true", all_.line, "all=false in relay.ini, section [relay]")
        return self._by_destination()

    def _by_destination(self) -> Answer | None:
        """After one recipient that is let through so, the whole connection may relay."""
        if not self._config.flag("relay.ini", "relay", "dest_domains", default=False).holds:
            return None
        for entry in self._config.ini("relay_dest_domains.ini")[:10_000]:
            if entry.section == "domains" and _action(entry.value) in {"accept", "continue"}:
                because = f"after a recipient at {shown(entry.key, 80)} the connection counts as relaying"
                fix = f"list {shown(entry.key, 80)} in host_list instead, and say dest_domains=false in relay.ini"
                return _open("haraka.dest-domains", because, entry.line, fix)
        return None

    def _of_plugins(self) -> Answer | None:
        """Plugins that nobody knows: one that sets ``relaying`` decides."""
        for name, line in self._plugins.items():
            if name in HARMLESS or name in _RELAY or name.removeprefix("haraka-plugin-") in HARMLESS:
                continue
            source = self._source(name)
            if source is None or "relaying" in source:
                return _undecided(name, line, known=source is not None)
        return self._of_domains()

    def _of_domains(self) -> Answer | None:
        """An expression for every domain: then the host behind decides."""
        if "rcpt_to.in_host_list" not in self._plugins:
            return None
        for line in self._config.lines("host_list_regex")[:5000]:
            if matches(f"^(?:{line.text})$", _FOREIGN):
                finding = Finding(
                    "haraka.any-domain",
                    Severity.HIGH,
                    f"host_list_regex takes every domain for one of ours: {shown(line.text, 100)!r}",
                    "the host behind (smtp_forward, lmtp) gets mail for anybody, from an address that it is likely to trust",
                    "name the domains in host_list, or give the expression the domain's name",
                    line.file,
                    line.number,
                )
                return Answer(Verdict.UNKNOWN, "the host behind decides", finding=finding)
        return None

    def _source(self, name: str) -> str | None:
        root = self._config.folder.parent
        if "\0" in name or ".." in name or name.startswith("/"):
            return None
        packages = (root / "node_modules" / name / "index.js", root / "node_modules" / f"haraka-plugin-{name}" / "index.js")
        for path in (root / "plugins" / f"{name}.js", root / "plugins" / name / "index.js", *packages):
            if is_readable_file(path):
                try:
                    return read(path)
                except LintError:
                    return None
        return None


def _proxies(config: Config) -> Iterator[_Entry]:
    for entry in config.ini("connection.ini"):
        if entry.section == "haproxy" and entry.key == "hosts":
            yield from _proxy_entries(entry.value, entry.line)
    for line in config.lines("haproxy_hosts"):
        yield from _proxy_entries(line.text, line)


def _proxy_entries(text: str, line: Line) -> Iterator[_Entry]:
    for part in text.split(",")[:1000]:
        address = part.strip()
        if ":" in address and "/" not in address:
            address += "/64"
        if (network := networks_of(address)) is not None:
            yield _Entry(network, line)


def _action(value: str) -> str:
    try:
        read_ = json.loads(value[:2000])
    except (ValueError, RecursionError):
        return ""
    action = read_.get("action") if isinstance(read_, dict) else None
    return action if isinstance(action, str) else ""


def _place(line: Line) -> str:
    return f"{Path(line.file).name}:{line.number}"


def _by_address(entry: _Entry) -> Answer:
    text = shown(entry.line.text, 80)
    wider = "" if "/" in text or entry.network.version == 4 else ": an IPv6 address without a length is taken for a /32"
    finding = Finding(
        "haraka.relay-acl",
        Severity.CRITICAL,
        f"relay_acl_allow lets {entry.network} relay{wider}",
        "everybody with such an address can send mail to anybody",
        "name your own addresses, at most a /24 each; write /128 behind a single IPv6 address",
        entry.line.file,
        entry.line.number,
    )
    because = f"relay_acl_allow has {text!r} ({_place(entry.line)}){wider}"
    if entry.only_in_old:
        why = f"{because}, which the older plugin takes for everybody and the newer for one address"
        return Answer(
            Verdict.UNKNOWN,
            why,
            finding=finding._replace(message=f"relay_acl_allow has {text!r}: in older versions, everybody"),
        )
    return Answer(Verdict.OPEN, because, finding=finding)


def _by_claim(proxy: _Entry) -> Answer:
    finding = Finding(
        "haraka.haproxy",
        Severity.CRITICAL,
        f"haproxy.hosts lets {proxy.network} say which address a client has",
        "a stranger says that it has an address of relay_acl_allow, and relays",
        "name the proxies' own addresses in haproxy.hosts; write /128 behind a single IPv6 address",
        proxy.line.file,
        proxy.line.number,
    )
    return Answer(Verdict.OPEN, f"haproxy.hosts lets it claim any address ({_place(proxy.line)})", finding=finding)


def _open(id_: str, because: str, line: Line, fix: str) -> Answer:
    finding = Finding(
        id_, Severity.CRITICAL, because, "anybody can send mail to anybody through this server", fix, line.file, line.number
    )
    return Answer(Verdict.OPEN, f"{because} ({_place(line)})", finding=finding)


def _undecided(name: str, line: Line, *, known: bool) -> Answer:
    what = "sets or reads connection.relaying" if known else "is not known here, and its source was not found"
    finding = Finding(
        "haraka.plugin",
        Severity.MEDIUM,
        f"the plugin {shown(name, 80)} {what}",
        "a plugin that sets connection.relaying lets clients send to anybody",
        "look in the plugin for 'relaying', and test from outside (postlatch audit)",
        line.file,
        line.number,
    )
    return Answer(Verdict.UNKNOWN, f"the plugin {shown(name, 80)} decides", finding=finding)
