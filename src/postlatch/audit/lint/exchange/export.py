"""What was exported: connectors with the rights of clients that did not log in, domains, and settings of the organisation."""

from __future__ import annotations

from pathlib import Path
from typing import Final, NamedTuple

from postlatch.audit.lint.problem import LintError
from postlatch.audit.lint.ranges import Range, range_of
from postlatch.audit.lint.reading import shown
from postlatch.audit.lint.rows import Row, rows_of

ANY_RECIPIENT: Final = "ms-exch-smtp-accept-any-recipient"
LOCAL_SENDER: Final = "ms-exch-smtp-accept-authoritative-domain-sender"
_MOST_RANGES: Final = 2000


class Connector(NamedTuple):
    """A receive connector. ``rights``: of clients that did not log in; None if they were not exported."""

    name: str
    bindings: tuple[str, ...]
    ranges: tuple[Range, ...]
    mechanisms: frozenset[str]
    groups: frozenset[str]
    rights: frozenset[str] | None
    row: Row

    def fit(self, client: object) -> int | None:
        """The size of the narrowest range that has the client."""
        return min((found.size for found in self.ranges if client in found), default=None)


class Export(NamedTuple):
    """All of it."""

    connectors: list[Connector]
    domains: list[Row]
    inbound: list[Row]
    organization: list[Row]
    file: str


def load(path: Path) -> Export:
    """LintError if the file or folder holds neither receive connectors nor inbound connectors."""
    rows = rows_of(path)
    permissions = [row for row in rows if "extendedrights" in row.values]
    connectors = [_connector(row, permissions) for row in rows if "remoteipranges" in row.values]
    inbound = [row for row in rows if "senderipaddresses" in row.values]
    organization = [row for row in rows if "rejectdirectsend" in row.values]
    if not connectors and not inbound and not organization:
        raise LintError(
            "holds no object with RemoteIPRanges (Get-ReceiveConnector) or SenderIPAddresses", shown(str(path), 300)
        )
    domains = [row for row in rows if "domainname" in row.values and "domaintype" in row.values]
    return Export([c for c in connectors if c is not None], domains, inbound, organization, shown(str(path), 300))


def _connector(row: Row, permissions: list[Row]) -> Connector | None:
    if row.flag("enabled") is False:
        return None
    identity = row.text("identity", "name")
    names = {_plain(identity), _plain(row.text("name") or identity)}
    found = [range_of(part) for part in row.text("remoteipranges").replace(";", ",").split(",")[:_MOST_RANGES]]
    mine = [p for p in permissions if _plain(p.text("identity", "connector")) in names]
    return Connector(
        shown(row.text("name") or identity, 80) or "(without a name)",
        tuple(part.strip() for part in row.text("bindings").replace(";", ",").split(",") if part.strip())[:50]
        or ("0.0.0.0:25",),
        tuple(range_ for range_ in found if range_ is not None),
        _words(row.text("authmechanism")),
        _words(row.text("permissiongroups")),
        _anonymous_rights(mine) if permissions else None,
        row,
    )


def _plain(identity: str) -> str:
    """SERVER\\Name and Name are one connector; Get-ADPermission gives the one, Get-ReceiveConnector the other."""
    return identity.rpartition("\\")[2].strip().lower()


def _words(text: str) -> frozenset[str]:
    return frozenset(word.strip().lower() for word in text.replace(";", ",").split(",") if word.strip())


def _anonymous_rights(rows: list[Row]) -> frozenset[str]:
    allowed: set[str] = set()
    denied: set[str] = set()
    for row in rows:
        user = row.text("user").lower()
        # The name is translated ("ANONYMOUS-ANMELDUNG"), the number is not.
        if "anonym" in user or user.endswith("s-1-5-7"):
            rights = {right.strip("{} ").lower() for right in row.text("extendedrights").replace(";", ",").split(",")}
            (denied if row.flag("deny") else allowed).update(rights)
    return frozenset(allowed - denied)
