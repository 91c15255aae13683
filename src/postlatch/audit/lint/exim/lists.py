"""Does a domain, host, address or local part list match? Exim specification, chapter 10."""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address
from typing import Final, NamedTuple

from postlatch.audit.lint.exim.config import Config
from postlatch.audit.lint.exim.expand import Fork, Known, Text, expand
from postlatch.audit.lint.may import EITHER, NO, UNSURE, YES, May, branch, first_match, known
from postlatch.audit.lint.patterns import matches
from postlatch.audit.lint.problem import LintError
from postlatch.audit.lint.reading import Budget, lines_of
from postlatch.audit.lint.survey import Network, networks_of

_DEEPEST: Final = 20
_LOOKUP: Final = re.compile(r"(partial\d*(?:\([^)]*\))?-)?(net\d*-)?([a-z]\w*?)(\*@|\*)?(,[^;]*)?;\s*(.*)", re.DOTALL)
_TEXT_FILES: Final = frozenset(("lsearch", "wildlsearch", "nwildlsearch", "iplsearch"))
_KEY: Final = re.compile(r'"((?:[^"\\]|\\.)*)"|([^\s:]+(?::[^\s:]+)*)')
CLIENT_NAME: Final = "client.elsewhere.example"


class Asked(NamedTuple):
    """What is compared. ``value``: the domain, address or local part; ``mx_here``: the domain's MX names this server."""

    value: str = ""
    client: IPv4Address | IPv6Address | None = None
    name: str | None = CLIENT_NAME  # None: nobody knows the client's name
    mx_here: bool = False


class Lists:
    """Judges lists of one configuration; ``networks`` are those that host lists named."""

    def __init__(self, config: Config, budget: Budget) -> None:
        self._config = config
        self._budget = budget
        self._files: dict[str, list[str] | None] = {}
        self._items: dict[str, list[str]] = {}
        self._networks: dict[str, Network | None] = {}
        self.networks: dict[Network, None] = {}
        primary = config.option("primary_hostname")
        self.known = {
            "primary_hostname": primary or "this.server.example",
            "qualify_domain": config.option("qualify_domain") or primary or "this.server.example",
            "config_dir": str(config.source.folder),
            "sender_host_authenticated": "",
            "authenticated_id": "",
            "authenticated_sender": "",
        }

    def expanded(self, text: str) -> Text:
        """A string with its variables."""
        return expand(text, self.known, lambda name: self._config.source.find(name) is not None)

    def host(self, text: str, asked: Asked) -> May:
        """A list of clients."""
        return self._list("hostlist", self._host, text, asked, 0)

    def domain(self, text: str, asked: Asked) -> May:
        """A list of domains."""
        return self._list("domainlist", self._domain, text, asked, 0)

    def address(self, text: str, asked: Asked) -> May:
        """A list of addresses."""
        return self._list("addresslist", self._address, text, asked, 0)

    def local_part(self, text: str, asked: Asked) -> May:
        """A list of local parts."""
        return self._list("localpartlist", self._local_part, text, asked, 0)

    def _list(self, kind: str, item: Judge, text: str, asked: Asked, depth: int) -> May:
        return self._text(kind, item, self.expanded(text), asked, depth)

    def _text(self, kind: str, item: Judge, made: Text, asked: Asked, depth: int) -> May:
        if isinstance(made, Known):
            return self._walk(kind, item, self.split(made.text), asked, depth)
        if isinstance(made, Fork):
            yes = self._text(kind, item, made.yes, asked, depth)
            no = self._text(kind, item, made.no, asked, depth)
            return branch(EITHER if made.chosen else UNSURE, yes, no)
        return UNSURE

    def _walk(self, kind: str, judge: Judge, items: list[str], asked: Asked, depth: int) -> May:
        if depth > _DEEPEST:
            return UNSURE
        judged: list[tuple[bool, May]] = []
        nameless = NO  # what an item that needs the client's name comes to if it has none
        for item in items:
            self._budget.spend()
            if item in {"+include_unknown", "+ignore_unknown", "+include_defer", "+ignore_defer", "+caseful"}:
                nameless = YES if item == "+include_unknown" else nameless
                continue
            negated = item.startswith("!")
            body = item[1:].lstrip() if negated else item
            may = self._common(kind, judge, body, asked, depth)
            if kind == "hostlist" and nameless is YES and self._needs_name(body):
                may = May(2, may.false)
            judged.append((negated, may))
        return first_match(judged, YES if judged and judged[-1][0] else NO)

    def _common(self, kind: str, judge: Judge, body: str, asked: Asked, depth: int) -> May:
        """What all kinds of list have: everything, other lists, files."""
        if body == "*":
            return known(kind != "addresslist" or asked.value != "")  # a null sender is only matched by an empty item
        if body.startswith("+"):
            named = self._config.lists.get((kind, body[1:]))
            return UNSURE if named is None else self._list(kind, judge, named.text, asked, depth + 1)
        if body.startswith("/"):
            lines = self._file(body)
            items = None if lines is None else [line.split("#")[0].strip() for line in lines]
            return UNSURE if items is None else self._walk(kind, judge, [item for item in items if item], asked, depth + 1)
        return judge(body, asked)

    def split(self, text: str) -> list[str]:
        """The items of a list. The separator is a colon unless the list says another; doubled, it stands for itself."""
        if (items := self._items.get(text)) is None:
            items = self._items[text] = _split(text)
        return items

    def _host(self, body: str, asked: Asked) -> May:
        if not body or body == "@":
            return NO  # only local submission has no client
        if body in {"@[]", "localhost"}:
            return known(asked.client is not None and asked.client.is_loopback)
        network = self._network(body)
        if network is not None:
            self.networks[network] = None
            return known(asked.client is not None and asked.client in network)
        if lookup := _LOOKUP.fullmatch(body):
            return self._host_lookup(lookup, asked)
        if asked.name is None:
            return UNSURE
        if body.startswith("^"):
            return known(matches(_regex(body), asked.name))
        return known(asked.name.endswith(body[1:].lower()) if body.startswith("*") else asked.name == body.lower())

    def _host_lookup(self, lookup: re.Match[str], asked: Asked) -> May:
        by_address = lookup[2] is not None or lookup[3] == "iplsearch"
        keys = self._keys(lookup)
        if keys is None:
            return UNSURE
        if not by_address:
            return UNSURE if asked.name is None else self._in_keys(lookup, keys, asked.name)
        networks = [network for key in keys if (network := self._network(key)) is not None]
        if lookup[2] and (bits := lookup[2][3:-1]):
            networks = [network for network in networks if network.prefixlen in {int(bits[:4]), network.max_prefixlen}]
        for network in networks:
            self.networks[network] = None
        self._budget.spend(1 + len(networks) // 8)
        found = asked.client is not None and any(asked.client in network for network in networks)
        return known(found or ("*" in keys and (lookup[4] is not None or lookup[3] == "iplsearch")))

    @staticmethod
    def _needs_name(body: str) -> bool:
        return bool(body) and not body.startswith(("@", "+", "/")) and networks_of(body) is None and ";" not in body

    def _domain(self, body: str, asked: Asked) -> May:
        value = asked.value.lower()
        if body.startswith("@mx_"):
            return known(asked.mx_here)
        if body.startswith("@["):
            return known(value in {"[127.0.0.1]", "[::1]"})
        if body == "@":
            return known(value == self.known["primary_hostname"].lower())
        if body.startswith("^"):
            return known(matches(_regex(body), value))
        if lookup := _LOOKUP.fullmatch(body):
            keys = self._keys(lookup)
            return UNSURE if keys is None else self._in_keys(lookup, keys, value)
        return known(value.endswith(body[1:].lower()) if body.startswith("*") else bool(body) and value == body.lower())

    def _address(self, body: str, asked: Asked) -> May:
        value = asked.value.lower()
        if not body or not value:
            return known(body == value)
        if body.startswith("^"):
            return known(matches(_regex(body), value))
        if lookup := _LOOKUP.fullmatch(body):
            keys = self._keys(lookup)
            return UNSURE if keys is None or body.startswith("@@") else self._in_keys(lookup, keys, value)
        local, domain = value.rpartition("@")[::2]
        local_pattern, at, domain_pattern = body.rpartition("@")
        if at and not local_pattern.startswith("*") and local_pattern.lower() != local:
            return NO
        if at and local_pattern.startswith("*") and not local.endswith(local_pattern[1:].lower()):
            return NO
        return self._common("domainlist", self._domain, domain_pattern, asked._replace(value=domain), 1)

    def _local_part(self, body: str, asked: Asked) -> May:
        value = asked.value.lower()
        if body.startswith("^"):
            return known(matches(_regex(body), value))
        if lookup := _LOOKUP.fullmatch(body):
            keys = self._keys(lookup)
            return UNSURE if keys is None else self._in_keys(lookup, keys, value)
        return known(value.endswith(body[1:].lower()) if body.startswith("*") else value == body.lower())

    def _in_keys(self, lookup: re.Match[str], keys: list[str], value: str) -> May:
        self._budget.spend(1 + len(keys) // 8)
        lower = [key.lower() for key in keys]
        if "*" in lower and (lookup[4] or lookup[3].endswith("wildlsearch")):
            return YES
        if lookup[4] == "*@" and "*@" + value.rpartition("@")[2] in lower:
            return YES
        if lookup[3].endswith("wildlsearch"):
            return first_match([(False, self._domain(key, Asked(value))) for key in lower], NO)
        if lookup[1] and any(key.startswith("*.") and (value.endswith(key[1:]) or value == key[2:]) for key in lower):
            return YES
        return known(value in lower)

    def _keys(self, lookup: re.Match[str]) -> list[str] | None:
        if lookup[3] not in _TEXT_FILES:
            return None
        lines = self._file(lookup[6].strip())
        if lines is None:
            return None
        found = (_KEY.match(line) for line in lines if line and not line[0].isspace() and not line.startswith("#"))
        return [(key[1] or key[2]).rstrip(":") for key in found if key and (key[1] or key[2])]

    def _file(self, name: str) -> list[str] | None:
        """The lines of a file, or None if it cannot be read here."""
        if name not in self._files:
            path = self._config.source.find(name)
            try:
                self._files[name] = None if path is None else [line.text for line in lines_of(path)]
            except LintError:
                self._files[name] = None
        return self._files[name]

    def _network(self, body: str) -> Network | None:
        if body not in self._networks:
            self._networks[body] = networks_of(body)
        return self._networks[body]


Judge = Callable[[str, Asked], May]


def _regex(body: str) -> str:
    return body.replace("\\N", "")


def _split(text: str) -> list[str]:
    text = text.strip()
    separator = ":"
    if text.startswith("<") and len(text) > 1 and not text[1].isalnum():
        separator, text = text[1], text[2:]
    if not text.strip():
        return []
    items = [item.strip().replace("\0", separator) for item in text.replace(separator * 2, "\0").split(separator)]
    # One separator at the end ends the last item; the list ":" is one empty item.
    return items[:-1] if len(items) > 1 and not items[-1] else items
