"""The changes that the findings ask for, as a unified diff of main.cf and master.cf for ``patch -p0``; never applied here."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import unified_diff
from pathlib import Path

from postlatch.audit.lint.postfix.configuration import Configuration
from postlatch.audit.lint.problem import LintError
from postlatch.audit.lint.reading import read
from postlatch.audit.values import Finding

_SIGN = " = "
_OWN_WORDS = ("AND ", "THE ", "ADDRESSES")  # of a fix that only the owner can fill in
_LISTS = frozenset({"postfix.access-permit", "postfix.relay-restrictions"})
_SAFE_LIST = "permit_mynetworks, permit_sasl_authenticated, reject_unauth_destination"
_SAFE_NETWORKS = "127.0.0.0/8 [::1]/128"


def patch(path: Path, findings: Iterable[Finding]) -> str:
    """The diff; empty if no finding asks for a change that can be written down. LintError as from the linter."""
    configuration = Configuration(path)
    directory = configuration.place.directory
    wanted: dict[str, str] = {}
    for finding in findings:
        if finding.id in _LISTS:
            # Whatever the recipient restrictions permit, these refuse: both lists must let a recipient pass.
            wanted["smtpd_relay_restrictions"] = _SAFE_LIST
        name, sign, value = finding.fix.partition(_SIGN)
        if sign and name.isidentifier() and (text := _value(name, value)) is not None:
            wanted.setdefault(name, text)
    return "".join(_diff(directory, file, wanted) for file in (configuration.main_file, configuration.master_file))


def _value(name: str, value: str) -> str | None:
    """What can be put in without knowing the owner's networks; None: nothing."""
    if name == "mynetworks" and value.startswith(_SAFE_NETWORKS):
        return _SAFE_NETWORKS
    if name in {"smtpd_authorized_xclient_hosts", "smtpd_authorized_xforward_hosts"}:
        return ""
    return None if any(word in value for word in _OWN_WORDS) or ", or " in value or ", and " in value else value


def _diff(directory: Path, file: str, wanted: dict[str, str]) -> str:
    path = directory / file
    try:
        before = read(path).splitlines(keepends=True)
    except LintError:
        return ""
    after = _main(before, wanted) if path.name != "master.cf" else _master(before, wanted)
    if after and not after[-1].endswith("\n"):
        after[-1] += "\n"
    return "".join(_ended(line) for line in unified_diff(before, after, file, file))


def _ended(line: str) -> str:
    """A last line without an end is said to have none, as diff does."""
    return line if line.endswith("\n") else line + "\n\\ No newline at end of file\n"


def _main(lines: list[str], wanted: dict[str, str]) -> list[str]:
    """Each setting of a wanted name is replaced where it stands, with its continuations; a missing one comes at the end."""
    made: list[str] = []
    left = dict(wanted)
    skipping = False
    for line in lines:
        if line.strip() and not line.lstrip().startswith("#"):
            continued = line[0] in " \t"
            if skipping and continued:
                continue
            name = line.partition("=")[0].strip()
            skipping = not continued and name in wanted
            if skipping:
                if name in left:
                    made.append(f"{name} = {left.pop(name)}".rstrip() + "\n")
                continue
        made.append(line)
    if made and not made[-1].endswith("\n"):
        made[-1] += "\n"
    return made + [f"{name} = {value}".rstrip() + "\n" for name, value in left.items()]


def _master(lines: list[str], wanted: dict[str, str]) -> list[str]:
    """An ``-o`` line of its own that sets a wanted name is taken out: main.cf says it then."""
    return [line for line in lines if not _overrides(line, wanted)]


def _overrides(line: str, wanted: dict[str, str]) -> bool:
    words = line.replace("{", " ").replace("}", " ").split(None, 1)
    if len(words) != 2 or words[0] != "-o" or line[:1] not in {" ", "\t"}:
        return False
    return " -o " not in words[1] and words[1].partition("=")[0].strip() in wanted
