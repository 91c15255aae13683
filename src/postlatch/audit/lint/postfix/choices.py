"""What a client may choose to say, and how all choices are tried: only those that some table can tell apart."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import combinations, product
from typing import Final, NamedTuple

from postlatch.audit.lint.postfix import witness
from postlatch.audit.lint.postfix.lists import is_name, names_in
from postlatch.audit.lint.postfix.pattern import Pattern
from postlatch.audit.lint.postfix.service import SmtpService
from postlatch.audit.lint.postfix.tables import Entry, Everything, Rule, Rules, Table

SENDER: Final = "someone@stranger.example"
HELO: Final = "mail.stranger.example"
_PARENTS: Final = ("example", "net", "org", "name", "blog")
_MOST_OF_ONE_ANSWER: Final = 25
_MOST_RULES: Final = 60
_MOST_CROSSED: Final = 12
_MOST_PAIRED_TABLES: Final = 6
_MOST_PAIRS: Final = 30
_MOST_UNDECIDED: Final = 3  # searches that took too long: then no more are begun


class Option(NamedTuple):
    """One thing to say. ``assumes``: what would have to be true for it to work, if that is not the client's to choose."""

    value: str | None
    assumes: str = ""


class Fork(Exception):
    """A choice between so many options has to be made."""

    def __init__(self, options: int) -> None:
        super().__init__(options)
        self.options = options


class Script:
    """The choices of one run, by number; where it ends, the run forks."""

    def __init__(self, numbers: tuple[int, ...]) -> None:
        self._numbers = numbers
        self._at = 0

    def choose(self, options: Sequence[Option]) -> Option:
        """The option that the script says. Fork if it says none yet."""
        if len(options) == 1:
            return options[0]
        if self._at == len(self._numbers):
            raise Fork(len(options))
        self._at += 1
        return options[self._numbers[self._at - 1]]


class Sayings:
    """What can be said to one service. ``complete`` False: not everything that its tables tell apart is among it."""

    def __init__(self, service: SmtpService) -> None:
        self.complete = True
        self._undecided = 0
        self._service = service
        self._used: dict[str, list[Table]] = {}
        for name, argument in service.used():
            if argument and not name.endswith("policy_service"):
                tables = self._used.setdefault(name, [])
                if (table := service.table(argument)) not in tables:
                    tables.append(table)

    @cached_property
    def senders(self) -> list[Option]:
        """Envelope senders; empty is the null sender."""
        found = [f"someone@{domain}" for domain in self._plain("check_sender_access", "stranger")]
        found.insert(1, "")
        null = self._service.parameters.get("smtpd_null_access_lookup_key")
        keys = (key for key in self._keys("check_sender_access") if key != null)
        found += [_address(key, "stranger.example") for key in keys]
        found += self._found("check_sender_access", witness.SENDER)
        return _options(_crossed(found))

    @cached_property
    def helos(self) -> list[Option]:
        """Names in HELO; None: no HELO at all, where that is allowed."""
        found: list[str | None] = [f"mail.{domain}" for domain in self._plain("check_helo_access", "stranger")]
        if not self._service.parameters.flag("smtpd_helo_required"):
            found.append(None)
        if any(name == "permit_naked_ip_address" for name, _ in self._service.used()):
            found.append("192.0.2.1")
        found += [key if not key.startswith(".") else "x" + key for key in self._keys("check_helo_access")]
        found += self._found("check_helo_access", witness.HELO)
        return _options(found)

    @cached_property
    def recipients(self) -> list[Option]:
        """Recipients in domains of others: one that nobody knows, users that a table names, and what its patterns match."""
        found = [f"someone@{domain}" for domain in self._plain("check_recipient_access", "elsewhere")]
        for key in self._keys("check_recipient_access"):
            if key.endswith("@"):
                found.append(f"{key}elsewhere.example")
            elif "." not in key.strip(".") and "@" not in key and key.strip("."):
                found.append(f"someone@elsewhere.{key.strip('.')}")  # a whole top-level domain
        for template in (witness.RECIPIENT, witness.RECIPIENT_ANYWHERE):
            found += self._found("check_recipient_access", template)
        found += [f"someone@{domain}" for domain in self._relayed()]
        return [option for option in _options(_crossed(found)) if self._foreign(option.value or "")]

    def _relayed(self) -> Iterator[str]:
        """Domains of strangers that relay_domains has: below a top-level domain, or by a pattern."""
        relayed = self._service.match_list("relay_domains")
        names = [*relayed.texts(), *(key for table in relayed.tables() for key in self._some(table))]
        yield from (f"elsewhere.{name.strip('.')}" for name in names if name.strip(".") and "." not in name.strip("."))
        for table in relayed.tables():
            if isinstance(table, Rules):
                for goal in self._goals(table)[:-1]:
                    yield from self._text(witness.DOMAIN, goal)

    def _foreign(self, address: str) -> bool:
        """Mail to a domain of the server's own is no relaying, whatever its tables say."""
        return self._service.class_of(address.rpartition("@")[2]) in {"", "relay"}

    def names(self, fixed: str | None) -> list[Option]:
        """Names of the client. ``fixed``: that of the one client that is asked for; empty if the DNS would have to say."""
        if fixed:
            return [Option(fixed)]
        tables = ("check_client_access", "check_reverse_client_hostname_access")
        keys = [key for name in tables for key in self._keys(name) if is_name(key)]
        if fixed is not None:
            return [Option("unknown"), *(Option(_host(key), f"the DNS calls the client {_host(key)}") for key in keys)]
        found = ["unknown", HELO]
        found += [f"mail.stranger.{key.strip('.')}" for key in keys if "." not in key.strip(".") and key != "unknown"]
        for name in tables:
            found += self._found(name, witness.CLIENT_NAME)
        return _options(found)

    def addresses(self) -> Iterator[str]:
        """Addresses that patterns over addresses match."""
        yield from self._found("check_client_access", witness.CLIENT_ADDRESS)

    def patterns_of_clients(self) -> bool:
        """Whether there are any such patterns."""
        return any(isinstance(table, Rules) and names_in(table) for table in self._used.get("check_client_access", []))

    def _plain(self, name: str, label: str) -> Iterator[str]:
        """Domains that nobody speaks of: the usual one, and others until no table has it or a parent of it."""
        tables = [table for table in self._used.get(name, []) if table.partial and not isinstance(table, Everything)]
        for parent in _PARENTS:
            yield f"{label}.{parent}"
            if not {parent, f".{parent}", f"{label}.{parent}"} & {key for table in tables for key in table.keys}:
                return

    def _keys(self, name: str) -> Iterator[str]:
        """The keys of the tables of one kind: of many with one answer only some."""
        for table in self._used.get(name, []):
            if not isinstance(table, Everything):
                yield from self._some(table)

    def _some(self, table: Table) -> Iterator[str]:
        counts: dict[tuple[str, bool, bool], int] = {}
        for key, entry in table.keys.items():
            kind = (entry.word, "@" in key, key.startswith("."))
            counts[kind] = counts.get(kind, 0) + 1
            if counts[kind] <= _MOST_OF_ONE_ANSWER:
                yield key
            elif not _refuses(entry):
                self.complete = False

    def _found(self, name: str, template: Pattern) -> list[str]:
        """Texts for every rule that does not refuse, and for each two such rules of two tables together."""
        goals = [self._goals(table) for table in self._used.get(name, []) if isinstance(table, Rules)]
        found = [text for of_table in goals for goal in of_table for text in self._text(template, goal)]
        for one, other in list(combinations(goals, 2))[:_MOST_PAIRED_TABLES]:
            for first, second in list(product(one, other))[:_MOST_PAIRS]:
                found += self._text(template, first.with_(second))
        return found

    def _goals(self, table: Rules) -> list[_Goal]:
        """What a text has to be for each rule that does not refuse to be the first that matches; and to reach none."""
        rules = [rule for rule in table.rules if rule.pattern is not None]
        if len(rules) > _MOST_RULES:
            self.complete = False
        goals: list[_Goal] = []
        missed = _Missed([], [], [])
        for rule in rules[:_MOST_RULES]:
            if not _refuses(rule.entry):
                reached = missed.goal().with_(_matching([*rule.conditions, rule]))
                goals.append(reached)
                if missed.blocks:  # also one that none of the blocks before can have taken
                    goals.append(reached.with_(_Goal([], missed.blocks[:])))
            missed.add(rule)
        return [*goals, missed.goal()]

    def _text(self, template: Pattern, goal: _Goal) -> Iterator[str]:
        if self._undecided >= _MOST_UNDECIDED:
            return
        try:
            text = witness.find([template, *goal.wanted], goal.unwanted)
        except witness.Undecided:
            self.complete = False
            self._undecided += 1
            return
        if text is not None:
            yield text


class _Goal(NamedTuple):
    """What a text must match, and what it must not."""

    wanted: list[Pattern]
    unwanted: list[Pattern]

    def with_(self, other: _Goal) -> _Goal:
        """Both at once."""
        return _Goal([*self.wanted, *other.wanted], [*self.unwanted, *other.unwanted])


class _Missed(NamedTuple):
    """What a text must and must not match to get past the rules so far. ``blocks``: the conditions of rules in ``if``."""

    wanted: list[Pattern]
    unwanted: list[Pattern]
    blocks: list[Pattern]

    def goal(self) -> _Goal:
        """To get past all of them."""
        return _Goal(self.wanted[:], self.unwanted[:])

    def add(self, rule: Rule) -> None:
        """One more rule to get past."""
        if rule.conditions:
            outer = rule.conditions[0].pattern
            if outer is not None and not rule.conditions[0].negated and outer not in self.blocks:
                self.blocks.append(outer)
        elif rule.pattern is not None:
            (self.wanted if rule.negated else self.unwanted).append(rule.pattern)


def _matching(rules: list[Rule]) -> _Goal:
    """For all of these to hold."""
    wanted = [rule.pattern for rule in rules if rule.pattern is not None and not rule.negated]
    return _Goal(wanted, [rule.pattern for rule in rules if rule.pattern is not None and rule.negated])


def _crossed(found: list[str]) -> list[str]:
    """Every user at every domain: one table may look at the one, another at the other."""
    parts = [address.rpartition("@") for address in dict.fromkeys(found) if address]
    users = list(dict.fromkeys(user for user, _, _ in parts))[:_MOST_CROSSED]
    domains = list(dict.fromkeys(domain for _, _, domain in parts))[:_MOST_CROSSED]
    return [*found, *(f"{user}@{domain}" for user, domain in product(users, domains))]


def _address(key: str, domain: str) -> str:
    if key.endswith("@"):
        return key + domain
    if "@" in key:
        return key
    return f"someone@x{key}" if key.startswith(".") else f"someone@{key}"


def _host(key: str) -> str:
    return "mail" + key if key.startswith(".") else key


def _refuses(entry: Entry) -> bool:
    word = entry.word
    return word in {"REJECT", "DEFER", "HANGUP"} or (
        word[0] in "45" and len(word) == 3 and word.isdigit() and entry.value != word
    )


def _options(found: Iterable[str | None]) -> list[Option]:
    return [Option(value) for value in dict.fromkeys(found)]
