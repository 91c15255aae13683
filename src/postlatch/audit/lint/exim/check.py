"""Who could relay by a configuration of Exim."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Final, NamedTuple

from postlatch.audit.lint.exim.acl import ACCEPTED, DENIED, Outcome, Request, Walker
from postlatch.audit.lint.exim.config import Clause, Config, Statement, load
from postlatch.audit.lint.exim.faults import faults, takes_any_password
from postlatch.audit.lint.exim.lists import CLIENT_NAME, Asked, Lists
from postlatch.audit.lint.may import YES
from postlatch.audit.lint.reading import Budget, Line, shown
from postlatch.audit.lint.survey import CLOSED, Answer, judged
from postlatch.audit.values import Finding, LintResult, Severity, Verdict

_STEPS: Final = 1_500_000
_MOST_SENDERS: Final = 40
_MOST_DOMAINS: Final = 40
STRANGER: Final = "user@elsewhere.example"
_ELSEWHERE: Final = "third-party.example"
_LOOPBACK: Final = IPv4Address("127.0.0.1")
_PRIVATE: Final = IPv4Address("192.168.0.10")
# Conditions that say why a statement accepts.
_TELLING: Final = frozenset(
    ("hosts", "domains", "senders", "sender_domains", "condition", "verify", "encrypted", "acl", "authenticated")
)

Client = IPv4Address | IPv6Address


class Target(NamedTuple):
    """A recipient, and in words what is reached by it."""

    local_part: str
    domain: str
    where: str
    mx_here: bool = False


def lint(path: Path, client: IPv4Address | IPv6Address | None) -> LintResult:
    """``path``: exim.conf, or a folder such as /etc/exim4. LintError if it cannot be read or is too large to judge."""
    budget = Budget(_STEPS)
    config = load(path, budget)
    lists = Lists(config, budget)
    judge = _Judge(config, lists, Walker(config, lists, budget), named_client=client is None)
    found = [*faults(config, lists), *(_missing(line) for line in config.source.missing)]
    result = judged(lists.networks, client, judge.answer, found)
    if config.source.missing and result.verdict is Verdict.CLOSED:
        return result._replace(verdict=Verdict.UNKNOWN)
    return result


class NamedLists:
    """Finds the named list that made a condition true."""

    def __init__(self, config: Config, lists: Lists) -> None:
        self._config = config
        self._lists = lists

    def hosts(self, clause: Clause, request: Request) -> Line | None:
        """The list of hosts that has the client."""
        asked = Asked(client=request.client)
        return next(
            (line for name, line in self._named(clause, "hostlist") if self._lists.host(f"+{name}", asked) == YES), None
        )

    def domains(self, clause: Clause | None, target: Target) -> Line | None:
        """The list of domains that has the recipient's."""
        asked = Asked(target.domain, mx_here=target.mx_here)
        clauses = [c for c in self._config.clauses if c.name == "domains" and not c.negated] if clause is None else [clause]
        for found in clauses[:100]:
            for name, line in self._named(found, "domainlist"):
                if self._lists.domain(f"+{name}", asked) == YES:
                    return line
        return None

    def _named(self, clause: Clause, kind: str) -> Iterator[tuple[str, Line]]:
        for item in self._lists.split(clause.value):
            if item.startswith("+") and (value := self._config.lists.get((kind, item[1:]))) is not None:
                yield item[1:], value.line


class _Judge:
    def __init__(self, config: Config, lists: Lists, walker: Walker, *, named_client: bool) -> None:
        self._config = config
        self._lists = lists
        self._walker = walker
        self._name = CLIENT_NAME if named_client else None
        self._hosts = self._host_lists()
        self._senders = _senders(config, lists)
        self._targets = _targets(config, lists)
        self._weak = takes_any_password(config, lists)
        self._answers: dict[object, Answer] = {}
        for text in self._hosts:  # so that their networks are known
            lists.host(text, Asked(client=_LOOPBACK, name=self._name))

    def answer(self, client: Client) -> Answer:
        """For one client; clients that all lists of hosts treat alike have one answer."""
        asked = Asked(client=client, name=self._name)
        alike = tuple(self._lists.host(text, asked) for text in self._hosts)
        if alike not in self._answers:
            self._answers[alike] = self._answer(client)
        return self._answers[alike]

    def _host_lists(self) -> list[str]:
        texts = [clause.value for clause in self._config.clauses if clause.name == "hosts"]
        texts += [self._config.option(name) for name in ("hosts_proxy", "hosts_xclient", "host_reject_connection")]
        texts += [value.text for (kind, _), value in self._config.lists.items() if kind == "hostlist"]
        return list(dict.fromkeys(text for text in texts if text))

    def _answer(self, client: Client) -> Answer:
        direct = self._relay(client, authenticated=False)
        if direct.verdict is Verdict.OPEN:
            return direct
        for option in ("hosts_proxy", "hosts_xclient"):
            text = self._config.option(option)
            if text and self._lists.host(text, Asked(client=client, name=self._name)) == YES:
                claimed = [self._relay(address, authenticated=False) for address in (_LOOPBACK, _PRIVATE)]
                if any(answer.verdict is Verdict.OPEN for answer in claimed):
                    return self._by_claim(option)
        if self._weak is not None:
            logged_in = self._relay(client, authenticated=True)
            if logged_in.verdict is Verdict.OPEN:
                finding = _finding("exim.any-password", Severity.CRITICAL, self._weak)
                because = f"any name and password are right (server_condition, {_place(self._weak)})"
                return Answer(Verdict.OPEN, because, logged_in.where, finding)
        return direct

    def _by_claim(self, option: str) -> Answer:
        file, line = self._config.place(option)
        finding = Finding(
            f"exim.{option.replace('_', '-')}",
            Severity.CRITICAL,
            f"{option} lets strangers say which address they have",
            "a stranger says that it is this machine, and relays",
            f"name the addresses of the proxies alone in {option}, or remove it",
            file,
            line,
        )
        return Answer(Verdict.OPEN, f"{option} lets it claim any address, such as one that may relay", finding=finding)

    def _relay(self, client: Client, *, authenticated: bool) -> Answer:
        """The best of all that the client may say."""
        best = CLOSED
        rejecting = self._config.option("host_reject_connection")
        if rejecting and self._lists.host(rejecting, Asked(client=client, name=self._name)) == YES:
            return CLOSED
        for target in self._targets:
            for sender in self._senders:
                request = Request(client, sender, target.local_part, target.domain, target.mx_here, authenticated, self._name)
                answer = self._attempt(request, target)
                if answer.verdict is Verdict.OPEN:
                    return answer
                if answer.verdict is Verdict.UNKNOWN and best.verdict is Verdict.CLOSED:
                    best = answer
        return best

    def _attempt(self, request: Request, target: Target) -> Answer:
        walker = self._walker
        rcpt = walker.option("acl_smtp_rcpt", DENIED, request)
        if not rcpt.accept:
            return CLOSED
        steps = [rcpt]
        for name in ("acl_smtp_connect", "acl_smtp_helo", "acl_smtp_mail", "acl_smtp_predata", "acl_smtp_data"):
            steps.append(walker.option(name, ACCEPTED, request))
            if not steps[-1].accept:
                return CLOSED
        if all(step.accept == 2 for step in steps):
            return _open(rcpt, request, target, NamedLists(self._config, self._lists))
        return _doubtful(next(step for step in steps if step.accept == 1))


def _open(rcpt: Outcome, request: Request, target: Target, lists: NamedLists) -> Answer:
    because = "acl_smtp_rcpt accepts it"
    finding = None
    if rcpt.by is not None:
        line = rcpt.by.line
        because = f"the statement {shown(_said(rcpt.by), 120)!r} accepts it ({_place(line)})"
        kind, line = _kind(rcpt.by, request, target, lists)
        finding = _finding(f"exim.{kind}", Severity.CRITICAL, line)
    if request.sender != STRANGER:
        because += f", if the sender is said to be <{shown(request.sender, 80)}>"
    return Answer(Verdict.OPEN, because, target.where, finding)


def _kind(by: Statement, request: Request, target: Target, named: NamedLists) -> tuple[str, Line]:
    """Which fault it is, and the line to change: the list that is too wide, if a condition names one."""
    if "%" in request.local_part:
        return "percent-hack", by.line
    conditions = {clause.name: clause for clause in by.clauses if clause.name in _TELLING}
    if conditions.keys() & {"senders", "sender_domains"}:
        return "sender", by.line
    if (hosts := conditions.get("hosts")) is not None and not hosts.negated:
        listed = named.hosts(hosts, request)
        return ("relay", by.line) if listed is None else ("relay-from-hosts", listed)
    # A condition before it, such as "require domains = ...", may be what let the recipient through.
    listed = named.domains(conditions.get("domains"), target) if "domains" in conditions or not conditions else None
    if target.mx_here:
        return "mx-any", by.line if listed is None else listed
    return ("relay", by.line) if listed is None else ("relay-to-domains", listed)


def _doubtful(step: Outcome) -> Answer:
    line = step.doubt
    what = "a condition" if line is None else repr(shown(line.text, 120))
    finding = Finding(
        "exim.undecided",
        Severity.MEDIUM,
        f"whether strangers may relay depends on {what}, which cannot be known from the configuration",
        "look-ups, files of other places and programs decide while the server runs",
        "test it from outside (postlatch audit), and put 'require domains = +local_domains : +relay_to_domains' before it",
        line.file if line else "",
        line.number if line else None,
    )
    return Answer(Verdict.UNKNOWN, f"{what} decides", finding=finding)


_TEXTS: Final = {
    "exim.relay": (
        "strangers may send to anywhere: this statement accepts every recipient",
        "anybody can send mail to anybody through this server",
        (
            "name the hosts that may relay (hosts = +relay_from_hosts), or let them log in (authenticated = *); "
            "else 'require domains = +local_domains : +relay_to_domains' before the last accept"
        ),
    ),
    "exim.relay-from-hosts": (
        "the list of hosts that may relay covers strangers",
        "anybody can send mail to anybody through this server",
        "name your own addresses, at most a /24 each (IPv6: a /48); let everybody else log in",
    ),
    "exim.relay-to-domains": (
        "the list of domains to relay to covers every domain",
        "anybody can send mail to anybody through this server",
        "name the domains for which this server is a backup MX, without *",
    ),
    "exim.sender": (
        "who says a certain sender may send to anywhere",
        "the sender is whatever the client says; anybody can send mail to anybody through this server",
        "ask for a login (authenticated = *) or the client's address (hosts = ...), not for the sender",
    ),
    "exim.percent-hack": (
        "user%elsewhere@local is sent on to user@elsewhere, and this statement accepts it",
        "anybody can send mail to anybody through this server",
        "remove percent_hack_domains, and refuse such local parts: deny local_parts = ^.*[@%!/|]",
    ),
    "exim.mx-any": (
        "every domain whose owner lets its MX point at this server is relayed for",
        "a stranger can use the server as relay for domains of its own, and for bounces",
        "name the domains in relay_to_domains instead of @mx_any or @mx_secondary",
    ),
    "exim.any-password": (
        "server_condition is always true: any name and password log in",
        "anybody can send mail to anybody through this server",
        "compare the password in server_condition, for example with ${lookup{$auth2}lsearch{FILE}...} and crypteq",
    ),
}


def _finding(id_: str, severity: Severity, line: Line) -> Finding:
    message, why, fix = _TEXTS[id_]
    return Finding(id_, severity, message, why, fix, line.file, line.number)


def _missing(line: Line) -> Finding:
    return Finding(
        "exim.include-missing",
        Severity.MEDIUM,
        f"the included file {shown(line.text)} cannot be read here",
        "what it says may change who can relay",
        "check the configuration on the server itself, or copy the file beside it",
        line.file,
        line.number,
    )


def _said(statement: Statement) -> str:
    clauses = [clause.line.text.strip() for clause in statement.clauses if clause.line is not statement.line]
    return " ".join([statement.line.text.strip(), *clauses])


def _place(line: Line) -> str:
    return f"{Path(line.file).name}:{line.number}"


def _senders(config: Config, lists: Lists) -> list[str]:
    """A stranger's, none, and those that the configuration speaks of."""
    senders = [STRANGER, ""]
    texts = [clause.value for clause in config.clauses if clause.name in {"senders", "sender_domains"}]
    texts += [value.text for (kind, _), value in config.lists.items() if kind in {"addresslist", "domainlist"}]
    for text in texts:
        for item in lists.split(text):
            local, _, domain = item.lstrip("! ").rpartition("@")
            domain = lists.known["primary_hostname"] if not domain else domain.replace("*", "x", 1)
            if domain and "$" not in item and not set(domain) & set("^+/;({\\"):
                senders.append(f"{local.lstrip('*') or 'postmaster'}@{domain}")
            if len(senders) >= _MOST_SENDERS:
                return list(dict.fromkeys(senders))
    return list(dict.fromkeys(senders))


def _targets(config: Config, lists: Lists) -> list[Target]:
    targets = [
        Target("user", _ELSEWHERE, "anywhere"),
        Target("user", _ELSEWHERE, "domains whose MX names this server", mx_here=True),
    ]
    hack = config.option("percent_hack_domains")
    if not hack:
        return targets
    names = [lists.known["primary_hostname"]]
    for (kind, _), value in config.lists.items():
        if kind == "domainlist":
            names += [item for item in lists.split(value.text) if item and not set(item) & set("!^+/;({\\*@$")]
    names += [item for item in lists.split(hack) if item and not set(item) & set("!^+/;({\\*@$")]
    return targets + [
        Target(f"user%{_ELSEWHERE}", name, f"anywhere, as user%elsewhere@{shown(name, 60)}")
        for name in list(dict.fromkeys(names))[:_MOST_DOMAINS]
        if lists.domain(hack, Asked(name)) == YES
    ]
