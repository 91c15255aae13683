"""Walks access control lists. Exim specification, chapter 44.

The value of a list is computed from its end: what follows a statement depends on nothing before it, so the work is linear.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import Final, NamedTuple

from postlatch.audit.lint.exim.config import VERB, Clause, Config, Statement, clause_of
from postlatch.audit.lint.exim.expand import Fork, Known, Text
from postlatch.audit.lint.exim.lists import Asked, Lists
from postlatch.audit.lint.may import EITHER, NO, UNSURE, YES, May, branch, chosen, negated
from postlatch.audit.lint.problem import LintError
from postlatch.audit.lint.reading import Budget, Line

_DEEPEST: Final = 20
_MODIFIERS: Final = frozenset(
    [
        "message",
        "log_message",
        "logwrite",
        "log_reject_target",
        "control",
        "delay",
        "set",
        "add_header",
        "remove_header",
        "continue",
        "queue",
        "udpsend",
        "endpass",
    ]
)
# Whether these hold depends on what the client sends or how it behaves.
_CLIENTS_CHOICE: Final = frozenset(
    [
        "malware",
        "spam",
        "regex",
        "mime_regex",
        "decode",
        "ratelimit",
        "dkim_signers",
        "dkim_status",
        "dmarc_status",
        "spf",
        "spf_guess",
        "seen",
        "demime",
        "bmi_optin",
        "atrn_domains",
    ]
)
_CLIENTS_VERIFY: Final = frozenset(
    [
        "sender",
        "recipient",
        "helo",
        "reverse_host_lookup",
        "header_syntax",
        "header_sender",
        "header_names_ascii",
        "not_blind",
        "csa",
        "arc",
    ]
)


# Where a condition cannot be asked, Exim answers with a temporary error.
_EARLY: Final = frozenset(("acl_smtp_connect", "acl_smtp_helo"))
_ONLY_RCPT: Final = frozenset(("domains", "local_parts", "recipients"))
_NOT_EARLY: Final = frozenset(("authenticated", "encrypted", "senders", "sender_domains"))


class Request(NamedTuple):
    """One attempt: who asks, and for what."""

    client: IPv4Address | IPv6Address
    sender: str
    local_part: str
    domain: str
    mx_here: bool = False
    authenticated: bool = False
    name: str | None = ""
    stage: str = "acl_smtp_rcpt"


class Outcome(NamedTuple):
    """How far acceptance and refusal can be brought about; what is neither is a temporary error, or the message is discarded.

    ``by``: the statement that accepts. ``doubt``: what nobody knows.
    """

    accept: int
    deny: int
    by: Statement | None = None
    doubt: Line | None = None

    @property
    def may(self) -> May:
        return May(self.accept, self.deny)


ACCEPTED: Final = Outcome(2, 0)
DENIED: Final = Outcome(0, 2)
DEFERRED: Final = Outcome(0, 0)


class Walker:
    """Walks the lists of one configuration."""

    def __init__(self, config: Config, lists: Lists, budget: Budget) -> None:
        self._config = config
        self._lists = lists
        self._budget = budget
        self._known: dict[object, May] = {}
        self._inline: dict[str, list[Statement]] = {}

    def option(self, name: str, unset: Outcome, request: Request) -> Outcome:
        """The list that an option such as acl_smtp_rcpt names."""
        value = self._config.options.get(name)
        if value is None or not value.text:
            return unset
        return self._named(self._lists.expanded(value.text), value.line, request._replace(stage=name), 0)

    def _named(self, made: Text, line: Line, request: Request, depth: int) -> Outcome:
        if isinstance(made, Fork):
            yes = self._named(made.yes, line, request, depth)
            no = self._named(made.no, line, request, depth)
            return _joined(EITHER if made.chosen else UNSURE, yes, no, line)
        if not isinstance(made, Known):
            return Outcome(1, 1, None, line)
        name = made.text.strip()
        if not name:
            return ACCEPTED
        statements = self._config.acls.get(name.split()[0])
        if statements is None:
            statements = self._written_inline(name, line)
        return Outcome(1, 1, None, line) if statements is None else self._walk(statements, request, depth)

    def _written_inline(self, text: str, line: Line) -> list[Statement] | None:
        """An option may hold statements itself."""
        if text not in self._inline:
            made: list[Statement] = []
            for part in text.split("\n"):
                verb = VERB.fullmatch(part.strip())
                if verb is not None:
                    made.append(Statement(verb[1], [], line))
                rest = verb[2] if verb is not None else part.strip()
                if rest and made:
                    try:
                        made[-1].clauses.append(clause_of(rest, line))
                    except LintError:
                        made = []
                        break
            self._inline[text] = made
        return self._inline[text] or None

    def _walk(self, statements: list[Statement], request: Request, depth: int) -> Outcome:
        if depth > _DEEPEST:
            return Outcome(1, 1)
        after = DENIED  # the end of a list refuses
        for statement in reversed(statements):
            self._budget.spend()
            after = self._statement(statement, request, after, depth)
        return after

    def _statement(self, statement: Statement, request: Request, after: Outcome, depth: int) -> Outcome:
        verb = statement.verb
        if verb == "warn":
            return self._warning(statement, request, after, depth)
        holds = DENIED if verb in {"deny", "drop"} else DEFERRED
        if verb in {"accept", "require"}:
            holds = Outcome(2, 0, statement) if verb == "accept" else after
        fails = DENIED if verb == "require" else after
        value = holds
        # From the last condition to the first: the first that fails decides. Behind endpass a failure refuses.
        behind_endpass = verb == "accept" and any(clause.name == "endpass" for clause in statement.clauses)
        for clause in reversed(statement.clauses):
            if clause.name == "endpass":
                behind_endpass = False
            elif not _can_be_asked(clause.name, request.stage):
                value = DEFERRED
            elif clause.name not in _MODIFIERS:
                # Some stranger is on no list of those to refuse; whether one is on a list of those to welcome, nobody knows.
                refuses = clause.name == "dnslists" and verb in {"deny", "drop", "defer"}
                may = EITHER if refuses else self._clause(clause, request, depth)
                value = _joined(may, value, DENIED if behind_endpass else fails, clause.line)
        return value

    def _warning(self, statement: Statement, request: Request, after: Outcome, depth: int) -> Outcome:
        """Decides nothing, unless a condition that is reached cannot be asked at this stage."""
        value = after
        for clause in reversed(statement.clauses):
            if not _can_be_asked(clause.name, request.stage):
                value = DEFERRED
            elif clause.name not in _MODIFIERS and value is not after:
                value = _joined(self._clause(clause, request, depth), value, after, clause.line)
        return value

    def _clause(self, clause: Clause, request: Request, depth: int) -> May:
        if clause.name == "acl":
            may = self._named(self._lists.expanded(clause.value), clause.line, request, depth + 1).may
            return negated(may) if clause.negated else may
        key = (clause.name, clause.value, _part(clause.name, request))
        may_be = self._known.get(key)
        if may_be is None:
            may_be = self._known[key] = self._condition(clause, request)
        return negated(may_be) if clause.negated else may_be

    def _condition(self, clause: Clause, request: Request) -> May:
        name, value, lists = clause.name, clause.value, self._lists
        sender_domain = request.sender.rpartition("@")[2]
        if name == "hosts":
            return lists.host(value, Asked(client=request.client, name=request.name or None))
        if name == "domains":
            return lists.domain(value, Asked(request.domain, mx_here=request.mx_here))
        if name == "senders":
            return lists.address(value, Asked(request.sender))
        if name == "sender_domains":
            return lists.domain(value, Asked(sender_domain))
        if name == "local_parts":
            return lists.local_part(value, Asked(request.local_part))
        if name == "recipients":
            return lists.address(value, Asked(f"{request.local_part}@{request.domain}", mx_here=request.mx_here))
        if name == "authenticated":
            return YES if request.authenticated else NO
        if name == "encrypted":
            return EITHER if self._config.option("tls_advertise_hosts", "*") else NO
        return self._of_the_moment(name, value)

    def _of_the_moment(self, name: str, value: str) -> May:
        if name == "verify":
            return EITHER if value.split("/", maxsplit=1)[0].split("=", maxsplit=1)[0].strip() in _CLIENTS_VERIFY else UNSURE
        if name == "condition":
            return _truth(self._lists.expanded(value))
        if name == "dnslists":
            return UNSURE
        return EITHER if name in _CLIENTS_CHOICE else UNSURE


def _truth(made: Text) -> May:
    """What a string means as a condition. Specification, section 44.28."""
    if isinstance(made, Fork):
        return branch(EITHER if made.chosen else UNSURE, _truth(made.yes), _truth(made.no))
    if not isinstance(made, Known):
        return EITHER if made.chosen else UNSURE
    text = made.text.strip().lower()
    if text in {"", "0", "no", "false"}:
        return NO
    if text in {"yes", "true"} or text.lstrip("-").isdecimal():
        return YES
    return UNSURE  # anything else is a temporary error


def _joined(may: May, if_true: Outcome, if_false: Outcome, line: Line) -> Outcome:
    accept = chosen(may, if_true.accept, if_false.accept)
    better = if_true if may.true and if_true.accept >= if_false.accept else if_false
    doubt = if_true.doubt or if_false.doubt
    if accept == 1 and if_true.accept != 1 and if_false.accept != 1:
        doubt = line
    by = better.by or if_true.by or if_false.by
    return Outcome(accept, chosen(may, if_true.deny, if_false.deny), by if accept else None, doubt)


def _can_be_asked(name: str, stage: str) -> bool:
    if name in _ONLY_RCPT:
        return stage == "acl_smtp_rcpt"
    return name not in _NOT_EARLY or stage not in _EARLY


def _part(name: str, request: Request) -> object:
    """What of a request a condition looks at."""
    if name == "hosts":
        return request.client, request.name
    if name in {"senders", "sender_domains"}:
        return request.sender
    if name in {"domains", "local_parts", "recipients"}:
        return request.local_part, request.domain, request.mx_here
    return request.authenticated if name == "authenticated" else None
