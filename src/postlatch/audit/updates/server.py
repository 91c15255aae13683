"""The faults that are known of a mail server by its version, and what a distribution's package says against that.

The number in a banner is upstream's. A distribution mends a fault without a new number, so by the number alone it is never more
than *possible*; only the version of an installed package, held against the version in which its distribution mended the
fault, decides it.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from postlatch.audit.fingerprint import NAMES
from postlatch.audit.updates.data import Data, Entry, Range
from postlatch.audit.updates.values import Advisory, Item, Kind, State
from postlatch.audit.updates.versions import debian, older, upstream

# The Debian source package of a product, for the commands in advice.
SOURCES: Final = {
    "courier": "courier",
    "dovecot": "dovecot",
    "exim": "exim4",
    "opensmtpd": "opensmtpd",
    "postfix": "postfix",
    "sendmail": "sendmail",
}
_MOST_GREP: Final = 30
_MOST_STEPS: Final = 20


class Package(NamedTuple):
    """The installed package that a server comes from: ID and VERSION_ID of os-release(5), its name and version."""

    distribution: str
    release: str
    name: str
    version: str


class Server(NamedTuple):
    """A server to judge. ``where``: "here", an address and port, or "banner". ``how`` its version became known."""

    product: str
    version: str
    where: str
    how: str
    package: Package | None = None


def judge(server: Server, data: Data) -> Item:
    """What is known of this version, worst first."""
    title = f"{NAMES.get(server.product, server.product) or 'mail server'} ({server.where})"
    if not server.product:
        return _unknown(server, title, "It does not say which server it is.", "Ask its owner for the server and its version.")
    known = [entry for entry in data.entries if entry.product == server.product]
    if not server.version:
        note = f"It does not tell its version; {len(known)} faults of some versions are known."
        return _unknown(server, title, note, _ask(server))
    found: list[tuple[Entry, Range]] = []
    certain = False
    for entry in known:
        matched = next((one for one in entry.ranges if covers(one, server.version)), None)
        mended = _mended(entry, server.package)
        if matched is None or mended is True:
            continue
        certain = certain or mended is False
        found.append((entry, matched))
    if not found:
        return Item(Kind.SERVER, title, _installed(server), "", State.CURRENT, (), "", _none_known(server, data, known))
    found.sort(key=lambda pair: _RANK[pair[0].severity])
    advisories = tuple(_advisory(entry, matched, server.package) for entry, matched in found)
    state = State.VULNERABLE if certain else State.POSSIBLE
    wanted = _without_faults(known, max((one.before for _, one in found if one.before), key=upstream, default=""))
    fix = _fix(server, wanted, advisories)
    return Item(Kind.SERVER, title, _installed(server), "", state, advisories, fix, _note(server, state), security=True)


def _without_faults(known: list[Entry], version: str) -> str:
    """This version, or the next that has none of the known faults: what mends one may be of a branch with another."""
    for _ in range(_MOST_STEPS):
        steps = [one.before for entry in known for one in entry.ranges if one.before and version and covers(one, version)]
        if not steps:
            return version
        version = max(steps, key=upstream)
    return version


_RANK: Final = {"critical": 0, "high": 1, "medium": 2, "low": 3, "unknown": 4}


def covers(one: Range, version: str) -> bool:
    """Whether a version is of this range."""
    if one.since and older(version, one.since):
        return False
    return older(version, one.before) if one.before else upstream(version) <= upstream(one.through)


def _mended(entry: Entry, package: Package | None) -> bool | None:
    """Whether the installed package has the fix; None where the data does not say for its distribution."""
    if package is None:
        return None
    for one in entry.mended:
        if (one.distribution, one.release) == (package.distribution, package.release):
            return debian(package.version, one.fixed) >= 0
    return None


def _advisory(entry: Entry, matched: Range, package: Package | None) -> Advisory:
    brought_back = next(
        (
            one.fixed
            for one in entry.mended
            if package is not None and (one.distribution, one.release) == (package.distribution, package.release)
        ),
        "",
    )
    summary = f"{entry.summary} {entry.note}" if entry.note else entry.summary
    return Advisory(entry.id, entry.severity, summary, entry.source, brought_back or matched.before, entry.confirmed)


def _installed(server: Server) -> str:
    return server.package.version if server.package is not None else server.version


def _unknown(server: Server, title: str, note: str, fix: str) -> Item:
    return Item(Kind.SERVER, title, _installed(server), "", State.UNKNOWN, (), fix, note)


def _ask(server: Server) -> str:
    commands = {"postfix": "postconf -h mail_version", "exim": "exim -bV", "sendmail": "sendmail -d0.1 -bv root"}
    command = commands.get(server.product)
    return f"On the server itself: {command}" if command else "Ask its owner for its version."


def _none_known(server: Server, data: Data, known: list[Entry]) -> str:
    if not known:
        return f"Nothing is known of this product in the data of {data.date}: this says nothing of its safety."
    what = "package" if server.package is not None else "version"
    return f"No fault in the data of {data.date} is of this {what}; of others of this product it has {len(known)}."


def _note(server: Server, state: State) -> str:
    if state is State.VULNERABLE:
        return "The installed package is older than the one in which its distribution mended this."
    if server.package is not None:
        return "Possible: the upstream version has this fault; whether the package has the fix brought back is not in the data."
    return f"Possible: by the version that its {server.how} tells; a distribution may have mended it under the same number."


def _fix(server: Server, best: str, advisories: tuple[Advisory, ...]) -> str:
    name = NAMES.get(server.product, server.product)
    if server.package is not None:
        package = server.package.name
        ids = "|".join(advisory.id for advisory in advisories[:_MOST_GREP])
        return (
            f"apt-get update && apt-get install --only-upgrade {package}; then: apt-get changelog {package} | grep -E '{ids}'"
        )
    advice = f"Update {name} to {best} or later" if best else f"Ask the makers of {name} for a version with the fix"
    source = SOURCES.get(server.product)
    if not source:
        return f"{advice}."
    ids = "|".join(advisory.id for advisory in advisories[:_MOST_GREP])
    return f"{advice}; or, on Debian and Ubuntu, see what the package has mended: apt-get changelog {source} | grep -E '{ids}'"
