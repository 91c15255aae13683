"""The mail servers that are installed on this machine, with the versions that they tell of themselves and their packages."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from postlatch.audit.printable import printable
from postlatch.audit.updates.programs import Run
from postlatch.audit.updates.server import Package, Server

OS_RELEASE: Final = Path("/etc/os-release")
_PACKAGES: Final = {
    "postfix": "postfix",
    "exim4-base": "exim",
    "sendmail-bin": "sendmail",
    "opensmtpd": "opensmtpd",
    "courier-mta": "courier",
    "dovecot-core": "dovecot",
}
_MOST: Final = 65_536


def servers(run: Run, os_release: Path = OS_RELEASE) -> list[Server]:
    """One for each product: by its package where there is one, else by what the program says."""
    distribution, release = _system(os_release)
    found: dict[str, Server] = {}
    for name, version in _packages(run).items():
        product = _PACKAGES[name]
        package = Package(distribution, release, name, version)
        found[product] = Server(product, _upstream(version), "here", "package", package)
    for product, version in _told(run).items():
        known = found.get(product)
        if known is None:
            found[product] = Server(product, version, "here", "own program")
        else:
            found[product] = known._replace(version=version)
    return [found[product] for product in sorted(found)]


def _system(path: Path) -> tuple[str, str]:
    """ID and VERSION_ID of os-release(5)."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            lines = file.read(_MOST).splitlines()
    except OSError:
        return "", ""
    fields: Mapping[str, str] = dict(line.split("=", 1) for line in lines if "=" in line)
    return fields.get("ID", "").strip("\"' "), fields.get("VERSION_ID", "").strip("\"' ")


def _packages(run: Run) -> dict[str, str]:
    told = run(["dpkg-query", "-W", "-f", "${db:Status-Status}\\t${Package}\\t${Version}\\n", *_PACKAGES]) or ""
    rows = [line.split("\t") for line in told.splitlines()[:100]]
    return {row[1]: printable(row[2], 100) for row in rows if len(row) == 3 and row[0] == "installed" and row[1] in _PACKAGES}


def _upstream(version: str) -> str:
    """ "3.7.11" of "3.7.11-0+deb12u1": without the epoch, the revision and what a packager took away or added."""
    _, mark, rest = version.partition(":")
    text = (rest if mark else version).rpartition("-")[0] or version
    return text.partition("+")[0].partition("~")[0]


def _told(run: Run) -> dict[str, str]:
    """What the programs say. Both only print; neither looks at the mail."""
    found: dict[str, str] = {}
    postfix = (run(["postconf", "-h", "mail_version"]) or "").strip()
    if postfix[:1].isdigit():
        found["postfix"] = printable(postfix.split()[0], 40)
    for program in ("exim", "exim4"):
        words = (run([program, "-bV"]) or "").split(maxsplit=3)
        if words[:2] == ["Exim", "version"] and len(words) > 2:
            found["exim"] = printable(words[2], 40)
    return found
