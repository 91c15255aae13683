"""The command line of ``sendmail``, as programs of forty years use it. No imports that take time: cron and PHP wait for it."""

from __future__ import annotations

import os

# <sysexits.h>, which every caller of sendmail understands.
OK = 0
USAGE = 64
DATAERR = 65
NOUSER = 67
UNAVAILABLE = 69
SOFTWARE = 70
TEMPFAIL = 75
NOPERM = 77

_WITH_VALUE = frozenset("ABCDFLNOPRVXbdefhopr")  # in the same word or the next one
_ATTACHED = frozenset("deoq")  # in the same word, or none
_PLAIN = frozenset("GUcimnstvx")
_MODES = frozenset("amsp")
_NO_VALUE_IN_NEXT = frozenset("dq")

USAGE_TEXT = """usage: sendmail [-t] [-i] [-f SENDER] [-F NAME] [-N DSN] [-R full|hdrs] [-V ENVID] [-bs] [RECIPIENT...]
       A message is read from standard input, up to its end (-i) or a line with a single dot.
"""


class UsageError(Exception):
    """An option that this command does not take."""


class Options:
    """What the words of the command line say."""

    def __init__(self) -> None:
        self.mode = "m"
        self.extract = False  # -t
        self.ignore_dots = False  # -i, -oi
        self.sender: str | None = None  # -f, -r
        self.name = ""  # -F
        self.notify = ""  # -N
        self.ret = ""  # -R
        self.envid = ""  # -V
        self.verbose = False
        self.quiet = False  # -oeq, -oep: what fails is told by the exit status alone
        self.config = ""  # -C, --config
        self.socket = ""  # --socket
        self.recipients: list[str] = []


def parse(words: list[str], program: str = "sendmail") -> Options:
    """Read the words; UsageError says which one is wrong. ``program`` may be ``mailq`` or ``newaliases``."""
    options = Options()
    if program in {"mailq", "newaliases"}:
        options.mode = "p" if program == "mailq" else "i"
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word == "--":
            break
        if word.startswith("--"):
            _long(options, word, rest)
        elif word.startswith("-") and len(word) > 1:
            _short(options, word[1:], rest)
        else:
            rest.insert(0, word)
            break
    options.recipients = rest
    return options


def _long(options: Options, word: str, rest: list[str]) -> None:
    name, equals, value = word[2:].partition("=")
    if name not in {"config", "socket"}:
        raise UsageError(f"there is no option {word!a}")
    if not equals:
        if not rest:
            raise UsageError(f"--{name} needs a value")
        value = rest.pop(0)
    setattr(options, name, value)


def _short(options: Options, letters: str, rest: list[str]) -> None:
    while letters:
        letter, letters = letters[0], letters[1:]
        if letter == "q":
            options.mode = "q"
            return
        if letter in _PLAIN:
            _flag(options, letter)
        elif letter in _WITH_VALUE:
            value = letters
            if not value and letter not in _NO_VALUE_IN_NEXT:
                if not rest:
                    raise UsageError(f"-{letter} needs a value")
                value = rest.pop(0)
            _value(options, letter, value)
            return
        else:
            raise UsageError(f"there is no option -{letter if letter.isprintable() else '?'}")


def _flag(options: Options, letter: str) -> None:
    if letter == "t":
        options.extract = True
    elif letter == "i":
        options.ignore_dots = True
    elif letter == "v":
        options.verbose = True


def _value(options: Options, letter: str, value: str) -> None:
    if letter == "b":
        options.mode = value[:1]
    elif letter in {"f", "r"}:
        options.sender = _address(value)
    elif letter == "F":
        options.name = value
    elif letter == "N":
        options.notify = _notify(value)
    elif letter == "R":
        options.ret = {"full": "FULL", "hdrs": "HDRS"}.get(value.lower(), "")
        if not options.ret:
            raise UsageError("-R takes full or hdrs")
    elif letter == "V":
        options.envid = value
    elif letter == "C":
        options.config = value
    elif letter == "o":
        _old(options, value)
    elif letter == "e":
        options.quiet = value in {"q", "p"}


def _old(options: Options, value: str) -> None:
    """-oi, -oem and the many others: those that still mean something."""
    if value[:1] == "i":
        options.ignore_dots = True
    elif value[:1] == "e":
        options.quiet = value[1:2] in {"q", "p"}


def _notify(value: str) -> str:
    words = value.upper().split(",")
    if words != ["NEVER"] and not {"SUCCESS", "FAILURE", "DELAY"}.issuperset(words):
        raise UsageError("-N takes never, or a list of success, failure and delay")
    return ",".join(words)


def _address(value: str) -> str:
    value = value.strip()
    return value[1:-1] if value.startswith("<") and value.endswith(">") else value


def user_name() -> str:
    """Who runs this: the socket's other end knows it too, and maps it to an account."""
    import pwd  # noqa: PLC0415

    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return f"uid{os.geteuid()}"
