"""Who could relay by smtpd.conf: the first rule that matches decides."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Final, NamedTuple

from postlatch.audit.lint.index import NetworkIndex
from postlatch.audit.lint.may import EITHER, NO, UNSURE, YES, May, chosen, known, negated
from postlatch.audit.lint.opensmtpd.config import Condition, Config, Listener, Rule, load
from postlatch.audit.lint.opensmtpd.faults import faults
from postlatch.audit.lint.opensmtpd.match import domain_matches, mail_matches
from postlatch.audit.lint.patterns import matches
from postlatch.audit.lint.reading import Budget, Line, shown
from postlatch.audit.lint.survey import CLOSED, Answer, Network, judged, networks_of
from postlatch.audit.values import Finding, LintResult, Severity, Verdict

_STEPS: Final = 2_000_000
_MOST_SENDERS: Final = 40
_STRANGER: Final = "user@elsewhere.example"
_RECIPIENT: Final = "user@third-party.example"
_LOOPBACK: Final = IPv4Address("127.0.0.1")
_OUTSIDE: Final = Listener("egress", [], "", Line("", "", 0))
_NAME: Final = "client.elsewhere.example"

Client = IPv4Address | IPv6Address


class _Asked(NamedTuple):
    client: Client
    sender: str
    listener: Listener


def lint(path: Path, client: IPv4Address | IPv6Address | None) -> LintResult:
    """``path``: smtpd.conf or its folder. LintError if it cannot be read or is too large to judge."""
    budget = Budget(_STEPS)
    config = load(path, budget)
    judge = _Judge(config, budget, names_known=client is None)
    found = [*faults(config), *(_missing(line) for line in config.missing)]
    result = judged(judge.networks, client, judge.answer, found)
    if config.missing and result.verdict is Verdict.CLOSED:
        return result._replace(verdict=Verdict.UNKNOWN)
    return result


class _Judge:
    def __init__(self, config: Config, budget: Budget, *, names_known: bool) -> None:
        self._config = config
        self._budget = budget
        self._names_known = names_known
        self._relays = {name for name, action in config.actions.items() if action.words[2].text == "relay"} | {"relay"}
        self._senders = _senders(config)
        sources = {id(condition): _networks(condition) for rule in config.rules for condition in rule.conditions}
        self.networks: list[Network] = [network for networks in sources.values() for network in networks]
        self._sources = {key: NetworkIndex(networks) for key, networks in sources.items() if networks}
        self._answers: dict[object, Answer] = {}

    def answer(self, client: Client) -> Answer:
        """For one client; clients that all rules treat alike have one answer."""
        self._budget.spend(1 + len(self._sources))
        alike = (client.is_loopback, tuple(index.narrowest(client) for index in self._sources.values()))
        if alike not in self._answers:
            self._answers[alike] = self._answer(client)
        return self._answers[alike]

    def _answer(self, client: Client) -> Answer:
        best = CLOSED
        reachable = [listener for listener in self._config.listeners if client.is_loopback or not listener.is_local]
        if not self._config.listeners:
            reachable = [_OUTSIDE] if client.is_loopback else []  # by default it listens on the loopback alone
        for listener in reachable:
            if listener.has("auth") and not listener.has("auth-optional"):
                continue  # MAIL is refused before AUTH
            answer = self._on(listener, client)
            if answer.verdict is Verdict.OPEN:
                return answer
            if listener.has("proxy-v2") and self._on(listener, _LOOPBACK).verdict is Verdict.OPEN:
                return _by_claim(listener)
            best = answer if best.verdict is Verdict.CLOSED else best
        return best

    def _on(self, listener: Listener, client: Client) -> Answer:
        best = CLOSED
        for sender in self._senders:
            answer = self._first_match(_Asked(client, sender, listener))
            if answer.verdict is Verdict.OPEN:
                return self._filtered(listener, answer)
            best = answer if best.verdict is Verdict.CLOSED else best
        return best

    def _first_match(self, asked: _Asked) -> Answer:
        value, by, doubt = 0, None, None
        for rule in reversed(self._config.rules):
            self._budget.spend()
            holds = self._holds(rule, asked)
            relays = 2 if rule.action in self._relays else 0
            new = chosen(holds, relays, value)
            if new == 1 and (relays != value or value != 1) and 1 in holds:
                doubt = rule
            by = rule if relays and holds.true == 2 else by
            value = new
        if value == 2 and by is not None:
            return _open(by, asked)
        return _doubtful(doubt) if value == 1 else CLOSED

    def _holds(self, rule: Rule, asked: _Asked) -> May:
        """All conditions together."""
        true, false = 2, 0
        for condition in rule.conditions:
            may = self._condition(condition, asked)
            may = negated(may) if condition.negated else may
            true, false = min(true, may.true), max(false, may.false)
        return May(true, false)

    def _condition(self, condition: Condition, asked: _Asked) -> May:
        subject, table = condition.subject, condition.table
        if subject == "local":
            return known(asked.client.is_loopback)
        if subject in {"own-names", "nothing", "auth"}:
            return NO
        if subject == "tls":
            return EITHER if any(asked.listener.has(word) for word in ("tls", "tls-require", "smtps")) else NO
        if table is None:
            return EITHER  # any rdns: a client may have one
        if table.entries is None:
            return UNSURE
        if subject == "src" and not condition.regex:
            index = self._sources.get(id(condition))
            return known(index is not None and index.narrowest(asked.client) is not None)
        return self._compared(condition, table.entries, asked)

    def _compared(self, condition: Condition, entries: list[str], asked: _Asked) -> May:
        self._budget.spend(1 + len(entries) // 4)
        subject = condition.subject
        if subject == "helo":
            return EITHER
        if subject == "tag":
            return known(asked.listener.tag in entries)
        if subject == "rdns" and not self._names_known:
            return UNSURE
        text = {"src": str(asked.client), "domain": _RECIPIENT.partition("@")[2], "rdns": _NAME}.get(
            subject, asked.sender if subject == "mail-from" else _RECIPIENT
        )
        if condition.regex:
            found = [matches(entry, text) for entry in entries]
            return YES if True in found else UNSURE if None in found else NO
        compare = mail_matches if subject in {"mail-from", "rcpt-to"} else domain_matches
        return known(any(compare(entry, text) for entry in entries))

    def _filtered(self, listener: Listener, answer: Answer) -> Answer:
        """A filter that looks at the client may refuse what the rules accept; one that looks at mail lets some through."""
        for name, filter_ in self._config.filters.items():
            words = {word.text for word in filter_.words}
            if listener.has(name) and words & {"disconnect", "reject"} and words & {"src", "rdns", "auth"}:
                finding = _undecided(f"the filter {shown(name, 60)}", filter_.line)
                return Answer(Verdict.UNKNOWN, f"the filter {shown(name, 60)} decides", finding=finding)
        return answer


def _networks(condition: Condition) -> list[Network]:
    if condition.subject != "src" or condition.table is None or condition.table.entries is None or condition.regex:
        return []
    return [network for entry in condition.table.entries if (network := networks_of(entry)) is not None]


def _open(rule: Rule, asked: _Asked) -> Answer:
    by_sender = any(c.subject == "mail-from" and not c.negated for c in rule.conditions)
    because = f"{rule.statement.text!r} relays it ({Path(rule.statement.line.file).name}:{rule.statement.line.number})"
    if asked.sender != _STRANGER:
        because += f", if the sender is said to be <{shown(asked.sender, 80)}>"
    finding = Finding(
        "opensmtpd.sender-trust" if by_sender else "opensmtpd.open-rule",
        Severity.CRITICAL,
        f"strangers may relay by the rule {rule.statement.text!r}",
        "the sender is whatever the client says" if by_sender else "anybody can send mail to anybody through this server",
        "relay for logins only: match auth from any for any action NAME; or name addresses: match from src <trusted> for any",
        rule.statement.line.file,
        rule.statement.line.number,
    )
    return Answer(Verdict.OPEN, because, finding=finding)


def _by_claim(listener: Listener) -> Answer:
    finding = Finding(
        "opensmtpd.proxy",
        Severity.CRITICAL,
        "strangers reach a listener with proxy-v2, and say which address they have",
        "a stranger says that it is this machine, and relays",
        "listen with proxy-v2 on an address that only the proxy reaches, or let the firewall see to it",
        listener.line.file,
        listener.line.number,
    )
    return Answer(Verdict.OPEN, "proxy-v2 lets it claim any address, such as this machine's", finding=finding)


def _doubtful(rule: Rule | None) -> Answer:
    what = "a rule" if rule is None else repr(rule.statement.text)
    return Answer(Verdict.UNKNOWN, f"{what} decides", finding=_undecided(what, None if rule is None else rule.statement.line))


def _undecided(what: str, line: Line | None) -> Finding:
    return Finding(
        "opensmtpd.undecided",
        Severity.MEDIUM,
        f"whether strangers may relay depends on {what}, which cannot be known from the configuration",
        "tables in databases, in files that cannot be read here, and filters decide while the server runs",
        "test it from outside (postlatch audit), and check the table on the server itself",
        line.file if line else "",
        line.number if line else None,
    )


def _missing(line: Line) -> Finding:
    return Finding(
        "opensmtpd.include-missing",
        Severity.MEDIUM,
        f"the included file {shown(line.text)} cannot be read here",
        "what it says may change who can relay",
        "check the configuration on the server itself, or copy the file beside it",
        line.file,
        line.number,
    )


def _senders(config: Config) -> list[str]:
    senders = [_STRANGER, ""]
    for entry in _mail_entries(config):
        local, at, domain = entry.rpartition("@")
        made = f"{local or 'postmaster'}@{domain or 'elsewhere.example'}" if at else f"postmaster@{entry}"
        senders.append(made.replace("*.", "").replace("*", "x"))
        if len(senders) >= _MOST_SENDERS:
            break
    return list(dict.fromkeys(senders))


def _mail_entries(config: Config) -> Iterator[str]:
    for rule in config.rules:
        for condition in rule.conditions:
            if condition.subject == "mail-from" and condition.table is not None and condition.table.entries is not None:
                if condition.regex:
                    yield from (
                        literal for entry in condition.table.entries if (literal := entry.strip("^$.*").replace("\\", ""))
                    )
                else:
                    yield from condition.table.entries
