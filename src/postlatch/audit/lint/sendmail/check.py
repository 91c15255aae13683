"""Who could relay through Sendmail: what check_rcpt does, restated. cf/README, "Anti-spam configuration control"."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from typing import Final

from postlatch.audit.lint.index import NetworkIndex
from postlatch.audit.lint.reading import Budget, Line, shown
from postlatch.audit.lint.sendmail.config import Config, Entry, load
from postlatch.audit.lint.sendmail.faults import auth_flags, faults
from postlatch.audit.lint.survey import CLOSED, Answer, Network, judged, networks_of
from postlatch.audit.values import Finding, LintResult, Severity, Verdict

_STEPS: Final = 5_000_000
_FOREIGN: Final = "third-party.example"
_CLIENT_NAME: Final = "client.elsewhere.example"

Client = IPv4Address | IPv6Address


def lint(path: Path, client: IPv4Address | IPv6Address | None) -> LintResult:
    """``path``: sendmail.mc, sendmail.cf or their folder. LintError if it cannot be read."""
    config = load(path)
    judge = _Judge(config, named=client is None)
    return judged(judge.networks, client, judge.answer, faults(config))


class _Judge:
    def __init__(self, config: Config, *, named: bool) -> None:
        self._config = config
        self._named = named
        self._budget = Budget(_STEPS)
        self._by_network: dict[Network, Entry] = {}
        self._by_name: dict[tuple[str, str], Entry] = {}
        for entry in config.access:
            network = network_of(entry.key)
            if network is not None and entry.tag in {"connect", ""}:
                self._by_network.setdefault(network, entry)
            else:
                self._by_name.setdefault((entry.tag, entry.key), entry)
        self._relay_nets = {network: line for line in config.relay_domains if (network := network_of(line.text)) is not None}
        self.networks: list[Network] = [*self._by_network, *self._relay_nets]
        self._access_index, self._list_index = NetworkIndex(self._by_network), NetworkIndex(self._relay_nets)
        self._anyone = self._for_anyone()

    def answer(self, client: Client) -> Answer:
        """For one client."""
        self._budget.spend()
        if client.is_loopback:
            return Answer(Verdict.OPEN, "this machine itself may relay")
        if self._anyone is not None and self._anyone.verdict is Verdict.OPEN:
            return self._anyone
        listed = self._list_index.narrowest(client)
        if listed is not None:
            return _by_list(self._relay_nets[listed], str(listed))
        entry = self._by_name.get(("connect", _CLIENT_NAME)) if self._named else None
        narrow = self._access_index.narrowest(client)
        entry = entry or (None if narrow is None else self._by_network[narrow])
        if entry is not None and entry.value.upper() == "RELAY":
            return _by_access(entry, f"clients in {narrow}")
        if entry is not None and _refuses(entry):
            return CLOSED
        if not self._config.access_readable:
            return self._unreadable()
        if not self._named and self._trusts_names():
            return Answer(Verdict.UNKNOWN, "the name of its address decides", finding=None)
        return self._anyone or CLOSED

    def _for_anyone(self) -> Answer | None:
        """Faults that do not look at the client's address."""
        features = self._config.features
        if feature := features.get("promiscuous_relay"):
            return _open("promiscuous-relay", "FEATURE(`promiscuous_relay') turns all relay checks off", feature.line)
        if feature := features.get("relay_local_from"):
            because = "FEATURE(`relay_local_from') relays for whoever says that the sender is local"
            return _open("relay-local-from", because, feature.line)
        return self._by_sender() or self._by_recipient() or self._by_mx() or self._by_anonymous_login()

    def _by_anonymous_login(self) -> Answer | None:
        trusted = self._config.trusted_mechanisms
        if (
            trusted is None
            or "ANONYMOUS" not in {name.upper() for name in trusted.arguments}
            or "y" in auth_flags(self._config)
        ):
            return None
        return Answer(Verdict.UNKNOWN, "it decides whether the SASL library offers ANONYMOUS")

    def _by_sender(self) -> Answer | None:
        feature = self._config.features.get("relay_mail_from")
        if feature is None:
            return None
        by_domain = "domain" in feature.arguments
        for entry in self._config.access:
            whole = "@" in entry.key
            if entry.tag == "from" and entry.value.upper() == "RELAY" and (whole or by_domain):
                said = shown(entry.line.text, 80)
                because = f"FEATURE(`relay_mail_from') and {said!r} relay for whoever says that this is the sender"
                return _open("relay-mail-from", because, entry.line)
        return None

    def _by_recipient(self) -> Answer | None:
        """RELAY for a recipient's domain that is a whole top-level domain, or everything."""
        for name in (_FOREIGN, "example", "com", "org", "net"):
            entry = self._by_name.get(("to", name)) or self._by_name.get(("", name))
            if entry is not None and entry.value.upper() == "RELAY" and not (entry.tag == "" and "." in name):
                where = "anywhere" if name == _FOREIGN else f"every domain under .{name}"
                return _by_access(entry, "recipients", where)
        for line in self._config.relay_domains:
            if line.text in {"com", "org", "net", "edu", "gov", "de", "uk", "co.uk", "fr", "eu"}:
                return _by_list(line, f"every name under .{line.text}", f"every domain under .{line.text}")
        return None

    def _by_mx(self) -> Answer | None:
        feature = self._config.features.get("relay_based_on_MX") or self._config.features.get("relay_based_on_mx")
        if feature is None:
            return None
        because = "FEATURE(`relay_based_on_MX') relays for every domain whose MX names this server"
        return _open("relay-based-on-mx", because, feature.line, "domains whose MX names this server")

    def _trusts_names(self) -> bool:
        by_name = any(tag in {"connect", ""} and entry.value.upper() == "RELAY" for (tag, _), entry in self._by_name.items())
        return by_name or any(network_of(line.text) is None for line in self._config.relay_domains)

    def _unreadable(self) -> Answer:
        place = self._config.features["access_db"].line
        finding = Finding(
            "sendmail.access-missing",
            Severity.MEDIUM,
            "the source of the access map was not found beside the configuration",
            "its RELAY entries decide who may relay",
            "copy /etc/mail/access beside the configuration, or check it on the server",
            place.file,
            place.number,
        )
        return Answer(Verdict.UNKNOWN, "the access map decides", finding=finding)


def network_of(key: str) -> Network | None:
    """``10``, ``192.168``, ``192.0.2.1``, ``IPv6:2001:db8``: Sendmail compares whole groups from the front."""
    text = key.lower()
    if text.startswith("ipv6:"):
        groups = text[5:].rstrip(":")
        if "::" in text[5:] or groups.count(":") == 7:
            return (
                networks_of(text[5:]) if not text.endswith("::") else networks_of(f"{text[5:]}/{16 * (groups.count(':') + 1)}")
            )
        try:
            return IPv6Network(f"{groups}::/{16 * (groups.count(':') + 1)}", strict=False)
        except ValueError:
            return None
    parts = text.strip("[]").rstrip(".").split(".")
    if len(parts) > 4 or not all(part.isascii() and part.isdecimal() and len(part) <= 3 and int(part) < 256 for part in parts):
        return None
    number = ".".join([*map(str, map(int, parts)), *["0"] * (4 - len(parts))])
    return IPv4Network(f"{number}/{8 * len(parts)}")


def _refuses(entry: Entry) -> bool:
    return entry.value.upper().startswith(("REJECT", "DISCARD", "ERROR", "5", "4", "QUARANTINE"))


def _place(line: Line) -> str:
    return f"{Path(line.file).name}:{line.number}"


def _by_access(entry: Entry, who: str, where: str = "anywhere") -> Answer:
    text = shown(entry.line.text.strip(), 80)
    finding = Finding(
        "sendmail.access-relay",
        Severity.CRITICAL,
        f"the access map relays for {who}: {text!r}",
        "everybody whom the short entry covers can send mail to anybody",
        "write the whole address or network, with its tag: Connect:192.0.2.1 RELAY; then make the map anew",
        entry.line.file,
        entry.line.number,
    )
    return Answer(Verdict.OPEN, f"the access map has {text!r} ({_place(entry.line)})", where, finding)


def _by_list(line: Line, what: str, where: str = "anywhere") -> Answer:
    finding = Finding(
        "sendmail.relay-domains",
        Severity.CRITICAL,
        f"relay-domains has {shown(line.text, 80)!r}: {what}",
        "clients with such an address or name, and recipients there, are relayed",
        "list whole domains and networks of your own",
        line.file,
        line.number,
    )
    return Answer(Verdict.OPEN, f"relay-domains has {shown(line.text, 80)!r} ({_place(line)})", where, finding)


_FIXES: Final = {
    "promiscuous-relay": "remove the line, and list who may relay in relay-domains or as Connect:... RELAY in access",
    "relay-local-from": "remove the line; let users log in",
    "relay-mail-from": "remove the feature and the From: entries with RELAY; let users log in, or name addresses by Connect:",
    "relay-based-on-mx": "remove the line, and name the domains in relay-domains or as To:DOMAIN RELAY",
}


def _open(id_: str, because: str, line: Line, where: str = "anywhere") -> Answer:
    mx = id_ == "relay-based-on-mx"
    finding = Finding(
        f"sendmail.{id_}",
        Severity.HIGH if mx else Severity.CRITICAL,
        because,
        "a stranger makes the server relay for domains of its own"
        if mx
        else "anybody can send mail to anybody through this server; senders are whatever the client says",
        _FIXES[id_],
        line.file,
        line.number,
    )
    return Answer(Verdict.OPEN, f"{because} ({_place(line)})", where, finding)
