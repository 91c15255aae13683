"""One service that takes mail, with all that decides whom it takes it from."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from postlatch.audit.lint.postfix.cf import Service, Setting, split_list
from postlatch.audit.lint.postfix.expand import Parameters
from postlatch.audit.lint.postfix.files import Place
from postlatch.audit.lint.postfix.lists import MatchList
from postlatch.audit.lint.postfix.tables import LookupFails, Table, Tables, Unreadable
from postlatch.audit.lint.reading import shown
from postlatch.audit.lint.survey import Address

STAGES: Final = ("client", "helo", "sender")
_LOOPBACK: Final = ("127.0.0.1/32 [::1]/128", "127.0.0.0/8 [::1]/128 [fe80::]/64")
_WORDS: Final = frozenset({"all", "loopback-only", "localhost"})
# Without one of these smtpd does not start (smtpd_check.c, fail_required).
_REQUIRED: Final = frozenset(
    {"reject_unauth_destination", "defer_unauth_destination", "reject", "defer", "defer_if_permit", "check_relay_domains"}
)


class SmtpService:
    """An smtpd of master.cf. Lists and tables are opened when they are asked for."""

    def __init__(self, service: Service, parameters: Parameters, place: Place, tables: Tables) -> None:
        self.service = service
        self.parameters = parameters
        self.place = place
        self.tables = tables

    def restrictions(self, stage: str) -> list[str]:
        """The words of ``smtpd_STAGE_restrictions``."""
        return split_list(self.parameters.get(f"smtpd_{stage}_restrictions"))

    @cached_property
    def classes(self) -> dict[str, list[str]]:
        """The restriction classes."""
        names = split_list(self.parameters.get("smtpd_restriction_classes"))[:200]
        found = {name.lower(): split_list(self.parameters.get(name)) for name in names}
        mismatch = ["reject_authenticated_sender_login_mismatch", "reject_unauthenticated_sender_login_mismatch"]
        return {**found, "reject_sender_login_mismatch": mismatch}

    @cached_property
    def parents(self) -> frozenset[str]:
        """The lists that match subdomains by their parents' names."""
        return frozenset(split_list(self.parameters.get("parent_domain_matches_subdomains")))

    def match_list(self, name: str) -> MatchList:
        """A match list, opened once."""
        if name not in self._lists:
            text = self.mynetworks if name == "mynetworks" else self.parameters.get(name)
            self._lists[name] = MatchList(text, self.place, self.tables, parents=name in self.parents)
        return self._lists[name]

    @cached_property
    def _lists(self) -> dict[str, MatchList]:
        return {}

    @cached_property
    def mynetworks(self) -> str:
        """``mynetworks``, or what is known of its default."""
        if self.parameters.setting("mynetworks") is not None:
            return self.parameters.get("mynetworks")
        return _LOOPBACK[0] if self.style == "host" else _LOOPBACK[1]

    @property
    def style(self) -> str:
        """``mynetworks_style`` where it counts, else empty."""
        return "" if self.parameters.setting("mynetworks") else self.parameters.get("mynetworks_style").strip()

    def class_of(self, domain: str) -> str:
        """``local``, ``virtual``, ``relay``, or empty for a domain of somebody else (ADDRESS_CLASS_README)."""
        for kind, name in (
            ("local", "mydestination"),
            ("virtual", "virtual_alias_domains"),
            ("virtual", "virtual_mailbox_domains"),
        ):
            if self._holds(name, domain):
                return kind
        return "relay" if self._relays(domain) else ""

    def _holds(self, name: str, domain: str) -> bool:
        try:
            return self.match_list(name).string(domain) is not None
        except (Unreadable, LookupFails):  # a list of domains of one's own, somewhere else: a stranger's is not in it
            return False

    def _relays(self, domain: str) -> bool:
        try:
            return self.match_list("relay_domains").domain(domain) is not None
        except (Unreadable, LookupFails):
            return False

    def listed_recipient(self, address: str) -> bool:
        """Whether ``relay_recipient_maps`` has an address, if there are any."""
        names = split_list(self.parameters.get("relay_recipient_maps"))
        keys = (address, "@" + address.rpartition("@")[2])
        return not names or any(self._in_table(name, key) for name in names for key in keys)

    def _in_table(self, name: str, key: str) -> bool:
        return self.tables.open(name).lookup(key) is not None

    def table(self, name: str) -> Table:
        """The table of ``type:name``; of ``{type:name, search_order=...}`` only the name counts."""
        inner = name[1:-1] if name.startswith("{") and name.endswith("}") else name
        return self.tables.open(split_list(inner)[0] if inner.strip() else inner)

    def starts(self) -> bool:
        """Whether smtpd starts with these lists."""
        return any(self._has_required(self.restrictions(stage), 0) for stage in ("recipient", "relay"))

    def _has_required(self, words: list[str], depth: int) -> bool:
        skip = False
        for word in (word.lower() for word in words):
            if skip or word == "warn_if_reject":
                skip = not skip
                continue
            if word == "permit":
                return False
            if word in _REQUIRED or (depth < 20 and word in self.classes and self._has_required(self.classes[word], depth + 1)):
                return True
        return False

    def own(self, address: Address) -> bool:
        """Whether an address is one of the machine's, as far as the configuration says (``permit_inet_interfaces``)."""
        if address in (IPv4Address("127.0.0.1"), IPv6Address("::1")):
            words = split_list(self.parameters.get("inet_interfaces"))
            return any(word.lower() in _WORDS for word in words) or str(address) in words
        return str(address) in split_list(self.parameters.get("inet_interfaces"))

    def setting(self, name: str) -> Setting | None:
        """Where a parameter is set."""
        return self.parameters.setting(name)

    def where(self, name: str) -> str:
        """``smtpd_relay_restrictions (main.cf:9)``."""
        setting = self.setting(name)
        if setting is None:
            return f"{name} (default)"
        return f"{name} ({setting.file.rpartition('/')[2]}:{setting.line})"

    def used(self) -> Iterator[tuple[str, str]]:
        """(restriction, argument) of all lists and classes, however they are reached."""
        for words, default in self._all_lists():
            previous = ""
            for word in words:
                if ":" in word:
                    yield (previous if previous.startswith("check_") else default), word
                    previous = ""
                else:
                    previous = word.lower()
                    yield previous, ""

    def _all_lists(self) -> Iterator[tuple[list[str], str]]:
        defaults = {"relay": "check_recipient_access", "data": "", "end_of_data": ""}
        for stage in (*STAGES, "relay", "recipient", "data", "end_of_data"):
            yield self.restrictions(stage), defaults.get(stage, f"check_{stage}_access")
        for words in self.classes.values():
            yield words, "check_recipient_access"


def reaches(service: Service, address: Address, parameters: Parameters, *, screened: bool) -> bool:
    """Whether a client of that address can connect. ``screened``: a postscreen passes clients on to ``pass`` services."""
    if service.kind == "pass":
        return screened
    if service.kind != "inet":
        return False
    protocols = parameters.get("inet_protocols").lower()
    if "all" not in protocols and ("ipv4" if address.version == 4 else "ipv6") not in protocols:
        return False
    host = service.name.rpartition(":")[0].strip("[]")
    bound = [host] if host else split_list(parameters.get("inet_interfaces"))
    return any(_listens(word.strip("[]").lower(), address) for word in bound)


def _listens(word: str, address: Address) -> bool:
    if word in {"loopback-only", "localhost"}:
        return address.is_loopback
    try:
        own = ip_address(word)
    except ValueError:
        return True  # all, a name, $myhostname
    if own.is_unspecified:
        return own.version in {address.version, 6}
    return own.version == address.version and (address.is_loopback or not own.is_loopback)


def told(text: str) -> str:
    """Words of the configuration for people, on one line."""
    return shown(" ".join(text.split()), 120)
