"""The system's mail packages: are security updates waiting? Only read, and only as far as the lists on this machine know.

On Debian and Ubuntu ``apt-cache policy`` is asked: it needs neither a lock nor root, solves nothing (a simulated upgrade takes
seconds, and is silent about a package that is held back), has a stable form, and tells for each version the archives that
offer it. Other systems are named as unknown.
"""

from __future__ import annotations

import email.utils
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from postlatch.audit.printable import printable
from postlatch.audit.updates.programs import Run
from postlatch.audit.updates.values import Item, Kind, State
from postlatch.audit.updates.versions import debian

LISTS: Final = Path("/var/lib/apt/lists")
OLD: Final = 7  # days after which the lists say nothing any more
NAMES: Final = (
    *("postfix", "exim4-base", "exim4-daemon-light", "exim4-daemon-heavy", "sendmail-bin", "opensmtpd", "courier-mta"),
    *("dovecot-core", "cyrus-imapd", "opendkim", "opendmarc", "openarc", "libmilter1.0.1", "milter-greylist", "postgrey"),
    *("postfix-policyd-spf-python", "rspamd", "spamassassin", "spamd", "amavisd-new", "clamav-daemon", "libsasl2-2"),
    *("unbound", "libunbound8", "bind9", "knot-resolver", "pdns-recursor", "dnsmasq", "stunnel4", "haproxy", "nginx"),
    *("openssl", "libssl1.1", "libssl3", "libssl3t64", "libgnutls30", "libgnutls30t64", "ca-certificates"),
    *("python3", "python3.[0-9]", "python3.[0-9][0-9]", "libpq5", "sqlite3", "libsqlite3-0"),
)
_MOST_LINES: Final = 20_000
_MOST_LISTS: Final = 500
_MOST_HEADER: Final = 8_192
_DAY: Final = 86_400


class Policy(NamedTuple):
    """What apt-cache tells of one package. ``offers``: versions with the archives that have them."""

    installed: str
    candidate: str
    offers: tuple[tuple[str, tuple[str, ...]], ...]


class Lists(NamedTuple):
    """How far the lists can be trusted. ``days``: their age, None without lists. ``security``: an archive of fixes is there."""

    days: int | None
    expired: bool
    security: bool


def look(run: Run, now: float, lists: Path = LISTS) -> list[Item]:
    """One item a mail package that is installed; a single unknown one on a system that cannot be asked."""
    installed = _installed(run)
    if installed is None:
        return [_other_system(run)]
    if not installed:
        return []
    told = run(["apt-cache", "policy", *sorted(installed)])
    policies = parse(told) if told else {}
    fresh = read_lists(lists, now)
    return [_item(name, version, policies.get(name), fresh) for name, version in sorted(installed.items())]


def _installed(run: Run) -> dict[str, str] | None:
    told = run(["dpkg-query", "-W", "-f", "${db:Status-Status}\\t${Package}\\t${Version}\\n", *NAMES])
    if told is None:
        return None
    found: dict[str, str] = {}
    for line in told.splitlines()[:_MOST_LINES]:
        status, _, rest = line.partition("\t")
        name, _, version = rest.partition("\t")
        if status == "installed" and name and version:
            found[printable(name, 100)] = printable(version, 100)
    return found


def _other_system(run: Run) -> Item:
    for program, command in (
        ("dnf", "dnf updateinfo list --security"),
        ("zypper", "zypper list-patches --category security"),
        ("apk", "apk version -l '<'"),
        ("pkg", "pkg audit -F"),
    ):
        if run([program, "--version"]) is not None:
            return _unasked(f"This command does not read the lists of {program}.", command)
    return _unasked("No package manager was found that can be asked.", "Look with the system's own package manager.")


def _unasked(note: str, fix: str) -> Item:
    return Item(Kind.PACKAGE, "system packages", "", "", State.UNKNOWN, (), fix, note)


def parse(told: str) -> dict[str, Policy]:
    """The answer of ``apt-cache policy``. A line of another form is passed over."""
    found: dict[str, Policy] = {}
    name, fields, offers = "", {"Installed": "", "Candidate": ""}, list[tuple[str, list[str]]]()

    def keep() -> None:
        if name:
            found[name] = Policy(fields["Installed"], fields["Candidate"], tuple((one, tuple(at)) for one, at in offers))

    for line in told.splitlines()[:_MOST_LINES]:
        text = line.strip()
        if text and line[0] != " ":
            keep()
            name, fields, offers = text.removesuffix(":"), {"Installed": "", "Candidate": ""}, []
        elif line.startswith("        ") and offers:
            offers[-1][1].append(printable(text.partition(" ")[2], 300))
        elif line.startswith((" *** ", "     ")):
            offers.append((printable(text.removeprefix("*** ").partition(" ")[0], 100), []))
        else:
            word, _, value = text.partition(": ")
            if word in fields:
                fields[word] = "" if value == "(none)" else printable(value, 100)
    keep()
    return found


def security_of(policy: Policy) -> str:
    """The newest version above the installed one that an archive of security fixes offers; empty if none does."""
    best = ""
    for version, archives in policy.offers:
        if debian(version, policy.installed) > 0 and any(_is_security(archive) for archive in archives):
            best = version if not best or debian(version, best) > 0 else best
    return best


def _is_security(archive: str) -> bool:
    """An archive line is "URL SUITE/COMPONENT ARCHITECTURE Packages"."""
    words = archive.split(" ")
    return len(words) > 1 and words[1].partition("/")[0].endswith("-security")


def _item(name: str, version: str, policy: Policy | None, lists: Lists) -> Item:
    if policy is None or not policy.installed:
        return Item(Kind.PACKAGE, name, version, "", State.UNKNOWN, (), "apt-get update", "apt does not know this package.")
    wanted = security_of(policy)
    upgrade = f"apt-get update && apt-get install --only-upgrade {name}"
    if wanted:
        note = f"A security update waits: {wanted}. {_age(lists)}"
        newest = policy.candidate if debian(policy.candidate, wanted) > 0 else wanted
        return Item(Kind.PACKAGE, name, version, newest, State.OUTDATED, (), upgrade, note, security=True)
    if doubt := _doubt(lists):
        return Item(Kind.PACKAGE, name, version, policy.candidate, State.UNKNOWN, (), "apt-get update", doubt)
    if debian(policy.candidate, policy.installed) > 0:
        note = f"A newer version is there, not from an archive of security fixes. {_age(lists)}"
        return Item(Kind.PACKAGE, name, version, policy.candidate, State.OUTDATED, (), upgrade, note)
    return Item(Kind.PACKAGE, name, version, policy.candidate, State.CURRENT, (), "", _age(lists))


def _age(lists: Lists) -> str:
    if lists.days is None:
        return "There are no package lists."
    return f"The package lists are {lists.days} days old." if lists.days != 1 else "The package lists are 1 day old."


def _doubt(lists: Lists) -> str:
    """Why silence of the lists is no good news; empty if it is."""
    if lists.days is None:
        return "There are no package lists on this machine: they say nothing."
    if lists.expired:
        return f"The package lists are past the date to which they are valid: they say nothing. {_age(lists)}"
    if lists.days > OLD:
        return f"The package lists are {lists.days} days old, more than {OLD}: what came since is not in them."
    if not lists.security:
        return "No archive of security fixes is among the sources of apt."
    return ""


def read_lists(lists: Path, now: float) -> Lists:
    """How old the lists are: by the newest signed index of the security archives, which are made anew many times a week."""
    try:
        names = sorted(lists.glob("*Release"))[:_MOST_LISTS]
        times = {path: path.stat().st_mtime for path in names}
    except OSError:
        return Lists(None, expired=False, security=False)
    if not times:
        return Lists(None, expired=False, security=False)
    security = [path for path in names if "-security" in path.name]
    chosen = security or names
    newest = max(chosen, key=lambda path: times[path])
    days = max(0, int((now - times[newest]) // _DAY))
    return Lists(days, _expired(chosen, now), bool(security))


def _expired(paths: Sequence[Path], now: float) -> bool:
    """Whether one of these is past its Valid-Until, which its archive signed."""
    for path in paths:
        try:
            with path.open("rb") as file:
                header = file.read(_MOST_HEADER).decode("ascii", "replace")
        except OSError:
            continue
        for line in header.splitlines():
            if line.startswith("Valid-Until: "):
                until = email.utils.parsedate_tz(line.removeprefix("Valid-Until: "))
                if until is not None and email.utils.mktime_tz(until) < now:
                    return True
    return False
