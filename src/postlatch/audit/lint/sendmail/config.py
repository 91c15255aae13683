"""What a configuration of Sendmail turns on, and the lists beside it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final, NamedTuple

from postlatch.audit.lint.problem import LintError
from postlatch.audit.lint.reading import Budget, Line, is_readable_file, lines_of, read, shown
from postlatch.audit.lint.sendmail.m4 import calls

_MOST_ENTRIES: Final = 100_000
# Each FEATURE leaves the name of its file behind, in a comment.
_TRACE: Final = re.compile(r"#####\s+\$Id: (\w+)\.m4\b")
_OPTION: Final = re.compile(r"O\s+(\w+)(?:\s*=\s*|\s+)(.*)|O\s*(\w+)=(.*)")
_MAP: Final = re.compile(r"Kaccess\s+\w+\s+(?:-\S+\s+)*(\S+)")
_FILE_CLASS: Final = re.compile(r"F(\{\w+\}|\w)(?:-o\s+|\s*)(/\S+|-o\s+\S+|\S+)")


class Feature(NamedTuple):
    """A feature with its arguments, and where it is turned on."""

    arguments: list[str]
    line: Line


class Entry(NamedTuple):
    """A line of the access map: the tag in small letters ("" if there is none), the key, the value."""

    tag: str
    key: str
    value: str
    line: Line


class Config:
    """All that a judgement needs."""

    def __init__(self) -> None:
        self.features: dict[str, Feature] = {}
        self.options: dict[str, Feature] = {}
        self.daemons: list[Feature] = []
        self.relay_domains: list[Line] = []
        self.local_domains: list[Line] = []
        self.trusted_mechanisms: Feature | None = None
        self.access: list[Entry] = []
        self.access_readable = True
        self.linuxconf: Line | None = None
        self.file = ""


def load(path: Path) -> Config:
    """Reads sendmail.mc or sendmail.cf, or a folder such as /etc/mail. LintError if there is none."""
    file = path
    if path.is_dir():
        found = next((path / name for name in ("sendmail.mc", "sendmail.cf") if is_readable_file(path / name)), None)
        if found is None:
            raise LintError("holds neither sendmail.mc nor sendmail.cf", shown(str(path), 300))
        file = found
    config = Config()
    config.file = shown(str(file), 300)
    text = read(file)
    if file.suffix == ".cf" or (re.search(r"^[VDCOK][\w/{]", text, re.MULTILINE) and "MAILER(" not in text):
        _read_cf(config, text)
    else:
        _read_mc(config, text, file.parent)
    _read_lists(config, file.parent)
    return config


def _read_mc(config: Config, text: str, folder: Path) -> None:
    budget = Budget(2_000_000)
    for call in calls(text, config.file, budget):
        first = call.arguments[0]
        if call.name == "FEATURE":
            config.features[first] = Feature(call.arguments[1:], call.line)
        elif call.name == "define":
            config.options[first] = Feature(call.arguments[1:], call.line)
        elif call.name == "undefine":
            config.options.pop(first, None)
        elif call.name == "DAEMON_OPTIONS":
            config.daemons.append(Feature([",".join(call.arguments)], call.line))
        elif call.name == "TRUST_AUTH_MECH":
            config.trusted_mechanisms = Feature(" ".join(call.arguments).split(), call.line)
        elif call.name == "RELAY_DOMAIN":
            config.relay_domains += [Line(word, call.line.file, call.line.number) for word in first.split()]
        elif call.name == "LOCAL_DOMAIN":
            config.local_domains += [Line(word, call.line.file, call.line.number) for word in first.split()]
        elif call.name == "RELAY_DOMAIN_FILE":
            config.relay_domains += _words(folder, first)
    if not config.features and not config.options and "MAILER(" not in text:
        raise LintError("is no sendmail.mc: it has neither FEATURE nor define", config.file)


def _read_cf(config: Config, text: str) -> None:
    """A made configuration: classes, options, and traces of the features."""
    for number, line in enumerate(text.split("\n"), 1):
        place = Line(line, config.file, number)
        if trace := _TRACE.match(line):
            config.features.setdefault(trace[1], Feature([], place))
        elif line.startswith("#") and "linuxconf" in line.lower():
            config.linuxconf = config.linuxconf or place
        elif line.startswith("Kaccess"):
            config.features["access_db"] = Feature([line], place)
        elif line.startswith("CR"):
            config.relay_domains += [Line(word, config.file, number) for word in line[2:].split()]
        elif line.startswith("Cw"):
            config.local_domains += [Line(word, config.file, number) for word in line[2:].split()]
        elif line.startswith("O") and (option := _OPTION.fullmatch(line.rstrip())):
            name, value = option[1] or option[3], option[2] or option[4] or ""
            if name == "DaemonPortOptions":
                config.daemons.append(Feature([value], place))
            config.options[f"conf{name}"] = Feature([value], place)
    if not re.search(r"^[SRMV]", text, re.MULTILINE):
        raise LintError("is no sendmail.cf: it has no rules", config.file)


def _read_lists(config: Config, folder: Path) -> None:
    config.relay_domains += _words(folder, "relay-domains")
    config.local_domains += _words(folder, "local-host-names")
    if "access_db" not in config.features:
        return
    path = folder / "access"
    config.access_readable = is_readable_file(path)
    if not config.access_readable:
        return
    for line in lines_of(path):
        words = line.text.split("#")[0].split(None, 1)
        if len(words) < 2:
            continue
        if len(config.access) >= _MOST_ENTRIES:
            raise LintError(f"has more than {_MOST_ENTRIES} entries", line.file, line.number)
        tag, colon, key = words[0].partition(":")
        known = tag.lower() if colon and tag.lower() in _TAGS else ""
        config.access.append(Entry(known, (key if known else words[0]).lower(), words[1].strip(), line))


_TAGS: Final = frozenset(
    ("connect", "to", "from", "spam", "greetpause", "clientrate", "clientconn", "tls_srv", "tls_clt", "try_tls")
)


def _words(folder: Path, name: str) -> list[Line]:
    path = folder / Path(name).name
    if not name or "\0" in name or not is_readable_file(path):
        return []
    found = (line._replace(text=line.text.split("#")[0].strip().lower()) for line in lines_of(path))
    return [line for line in found if line.text]
