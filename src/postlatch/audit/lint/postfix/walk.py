"""One client's session against one service: what it says, what is known of it, and the lookups of access(5)."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from ipaddress import ip_address
from typing import NamedTuple

from postlatch.audit.lint.postfix.choices import HELO, SENDER, Option, Sayings, Script
from postlatch.audit.lint.postfix.lists import names_in, parents_of
from postlatch.audit.lint.postfix.service import SmtpService
from postlatch.audit.lint.postfix.tables import Entry, LookupFails, Table, Unreadable
from postlatch.audit.lint.reading import shown
from postlatch.audit.lint.survey import Address


class Status(Enum):
    """What a restriction says."""

    DUNNO = 0
    OK = 1
    REJECT = 2


class ServerError(Exception):
    """451 4.3.5: the configuration is wrong, and nothing passes here."""


class Client(NamedTuple):
    """Who connects. ``asked``: the question is about this client alone. ``logged_in``: it may claim to be (XCLIENT LOGIN)."""

    address: Address
    asked: bool = False
    logged_in: bool = False


class End(NamedTuple):
    """How a list came to its end: by which restriction (empty: its end was reached), where the answer stands, in words."""

    parameter: str
    restriction: str
    place: str = ""
    words: str = ""


class Walk:
    """The state of one run. All that is not fixed is chosen by the script when somebody looks at it first."""

    def __init__(self, service: SmtpService, sayings: Sayings, client: Client, script: Script) -> None:
        self.service = service
        self.client = client
        self._sayings = sayings
        self._script = script
        self._values: dict[str, str | None] = {}
        self._needs: set[str] = set()
        self.visible = {"helo", "sender", "recipient"}  # what the client has said so far
        self.assumed: list[str] = []
        self.ends: list[End] = []
        self.notes: list[str] = []
        self.besides: list[str] = []  # what else has to be said or done
        self.ended = ("", "", "")  # the restriction that said OK last: its name, where its answer stands, its words
        self.defer_if_permit = False
        self.defer_if_reject = False
        self.discard = False
        self.warn_level = 0
        self.level = 0

    def choose(self, options: list[Option]) -> str | None:
        """One of them; what it assumes is noted."""
        option = self._script.choose(options)
        if option.assumes:
            self.assumed.append(option.assumes)
        return option.value

    def assume(self, assumption: str) -> None:
        """Something that is not known from here must be so for this run."""
        self.assumed.append(assumption)

    def need(self, what: str) -> None:
        """A condition on what is not chosen yet: ``sender_fqdn``, ``helo_fqdn``, ``named``, ``unowned``."""
        self._needs.add(what)

    def known(self, what: str) -> bool:
        """Whether it is chosen already."""
        return what in self._values

    def said(self) -> list[str]:
        """What had to be said besides the usual, for people."""
        words = {"helo": "HELO", "sender": "MAIL FROM", "name": "a client named"}
        usual = (SENDER, HELO, "unknown")
        told = []
        for what, value in self._values.items():
            if what in words and value not in usual:
                told.append("no HELO" if value is None else f"{words[what]} {shown(value or '<>', 100)}")
        return told + self.besides

    def value(self, what: str) -> str | None:
        """``sender``, ``helo``, ``recipient`` or ``name``, chosen if need be."""
        if what not in self._values:
            self._values[what] = self.choose(self._options(what))
        return self._values[what]

    def chosen(self, what: str) -> str | None:
        """The value, if it is chosen."""
        return self._values.get(what)

    def _options(self, what: str) -> list[Option]:
        if what == "sender":
            return [option for option in self._sayings.senders if self._sender_fits(option.value or "")] or [Option("")]
        if what == "helo":
            return [option for option in self._sayings.helos if self._helo_fits(option.value)] or [Option(None)]
        if what == "recipient":
            return self._sayings.recipients or [Option("someone@elsewhere.example")]
        options = self._sayings.names(self._fixed_name())
        return [option for option in options if option.value != "unknown" or "named" not in self._needs] or options[-1:]

    def _fixed_name(self) -> str | None:
        """The name of the one client that is asked for, empty if the DNS would have to say; None: any stranger."""
        if not self.client.asked:
            return None
        if str(self.client.address) in {"127.0.0.1", "::1"}:
            return "localhost"
        return "unknown" if self.client.address.is_loopback else ""

    def _sender_fits(self, sender: str) -> bool:
        fqdn = not sender or "." in sender.rpartition("@")[2]
        return (fqdn or "sender_fqdn" not in self._needs) and ("unowned" not in self._needs or not self.owned(sender))

    def _helo_fits(self, helo: str | None) -> bool:
        if helo is None:
            return True
        valid = is_valid_helo(helo) or "helo_valid" not in self._needs
        return valid and (is_full_helo(helo) or "helo_fqdn" not in self._needs)

    def owned(self, sender: str) -> bool:
        """Whether ``smtpd_sender_login_maps`` has an owner for a sender."""
        names = self.service.parameters.get("smtpd_sender_login_maps").replace(",", " ").split()
        user, _, domain = sender.rpartition("@")
        keys = [sender, user, f"@{domain}"] if sender else []
        for table in map(self.service.table, names):
            try:
                if any(table.lookup(key) for key in keys):
                    return True
            except (Unreadable, LookupFails):
                continue
        return False

    def domain(self) -> str:
        """The recipient's domain."""
        return (self.value("recipient") or "").rpartition("@")[2]

    def listed(self, name: str) -> str | None:
        """The pattern of a match list that matches the client."""
        return self.service.match_list(name).host(self.client.address, lambda: self.value("name") or "unknown")

    def by_client(self, table: Table) -> Entry | None:
        """check_client_access: by name and its parents, then by address and its networks."""
        if names_in(table):
            found = self.by_domain(table, self.value("name") or "unknown")
            if found is not None:
                return found
        return _first(table, _networks(self.client.address))

    def by_domain(self, table: Table, name: str) -> Entry | None:
        """check_helo_access, and names of clients."""
        return _first(table, parents_of(name, dotless="smtpd_access_maps" in self.service.parents))

    def by_mail(self, table: Table, address: str) -> Entry | None:
        """check_sender_access and check_recipient_access: user@domain, the domain and its parents, user@."""
        return _first(table, self._mail_keys(address))

    def _mail_keys(self, address: str) -> Iterator[str]:
        user, _, domain = address.rpartition("@")
        yield address
        delimiters = self.service.parameters.get("recipient_delimiter")
        bare = next((user[:at] for at, sign in enumerate(user) if at and sign in delimiters), "")
        if bare:
            yield f"{bare}@{domain}"
        yield from parents_of(domain, dotless="smtpd_access_maps" in self.service.parents)
        yield f"{user}@"
        if bare:
            yield f"{bare}@"


def is_valid_helo(helo: str) -> bool:
    """Whether it is a host's name, or an address (reject_invalid_helo_hostname)."""
    try:
        return bool(ip_address(helo))
    except ValueError:
        return _is_host_name(helo)


def is_full_helo(helo: str) -> bool:
    """Whether it is a name with a domain; an address without brackets is none (reject_non_fqdn_helo_hostname)."""
    return "." in helo and _is_host_name(helo)


def _is_host_name(name: str) -> bool:
    """``valid_hostname``: no name has digits only."""
    if name.replace(".", "").isdigit():
        return False
    labels = name.removesuffix(".").split(".")
    return all(label and not label.startswith("-") and not label.endswith("-") and len(label) < 64 for label in labels)


def _networks(address: Address) -> Iterator[str]:
    """``10.1.2.3``, ``10.1.2``, ``10.1``, ``10``."""
    text, sign = str(address), "." if address.version == 4 else ":"
    while text:
        yield text
        text = text.rpartition(sign)[0]


def _first(table: Table, keys: Iterator[str]) -> Entry | None:
    """The first key that the table has; of a table of patterns only the first key is asked for."""
    for number, key in enumerate(keys):
        if (table.partial or number == 0) and (found := table.lookup(key)) is not None:
            return found
    return None
