"""The configuration: any text is settings or a SettingsError that a person can read, and so is any value in a sound file.

Input: one octet that says what the rest is: a whole file, or a line in one of the tables of a sound file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from harness import instrumented, run

with instrumented():
    from postlatch.cli import values as typed
    from postlatch.limits import limit
    from postlatch.settings import values
    from postlatch.settings.load import load_text
    from postlatch.settings.problem import SettingsError
    from postlatch.settings.routes import parse_route

PATH = Path("/etc/postlatch/postlatch.toml")
SOUND = """\
hostname = "mx.example.com"
{top}
[[listeners]]
name = "mx"
address = ["0.0.0.0:25", "[::]:25"]
role = "mx"
{listeners}
[domains."example.com"]
deliver = "maildir:data/mail"
recipients = ["alice", "bob"]
{domains}
[relay_domains."branch.example"]
route = "smtp://10.1.0.5:25"
recipients = "callout"
owner = "ops@example.com"
expires = 2099-06-30
{relay_domains}
[limits.account]
{limits}
[session]
{session}
[outbound]
{outbound}
"""
TABLES = ("top", "listeners", "domains", "relay_domains", "limits", "session", "outbound")
PARSERS: tuple[Callable[[str], object], ...] = (
    values.parse_duration,
    values.parse_size,
    values.parse_limit,
    values.parse_name,
    values.parse_owner,
    values.parse_network,
    values.parse_socket,
    values.parse_endpoint,
    values.parse_host,
    values.parse_domain_name,
    values.parse_local_part,
    values.parse_alias_target,
    values.parse_sender_pattern,
    values.parse_day,
    limit.parse_limit,
    parse_route,
    *typed._CHECKS.values(),
)


def one_input(data: bytes) -> None:
    """One input."""
    text = data[1:].decode("utf-8", "replace")
    kind = data[0] % (len(TABLES) + 2) if data else 0
    if kind == 0:
        for parse in PARSERS:
            alone(parse, text)
        return
    whole = text if kind == 1 else SOUND.format(**dict.fromkeys(TABLES, "") | {TABLES[kind - 2]: text.replace("[", "", 1)})
    try:
        found = load_text(whole, PATH)
    except SettingsError as error:
        check(error)
        return
    assert load_text(whole, PATH) == found


def alone(parse: Callable[[str], object], text: str) -> None:
    """A value alone: parsed, or refused in words of one line."""
    try:
        parse(text)
    except ValueError as error:
        message = str(error)
        assert message
        assert len(message) < 1000 + 4 * len(text)


def check(error: SettingsError) -> None:
    """It names the file, says something, and holds nothing that a terminal would obey."""
    assert error.problems
    for problem in error.problems:
        assert problem.file == str(PATH)
        shown = str(problem)
        assert problem.message
        assert all(c.isprintable() for c in shown), shown


def seeds() -> Iterator[bytes]:
    """The sound file, and lines and values that are nearly right."""
    yield b"\x01" + SOUND.format(**dict.fromkeys(TABLES, "")).encode()
    lines = (
        "idle = 300",
        'idle = "5 minutes"',
        "errors = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF",
        "errors = -1",
        "size = 1e400",
        "size = nan",
        'messages = ["30/minute", "500/day"]',
        'aliases = { info = ["alice"], "*" = ["bob"] }',
        'smarthost = "smtp://relay.example:587"',
        'tls = "verify"',
        "expires = 9999-12-31",
        "proxies = []",
        "x = " + "[" * 50,
        "a.b.c = 1",
        'x = """\n"""',
        "x = 1979-05-27T07:32:00Z",
    )
    for number in range(2, len(TABLES) + 2):
        for line in lines:
            yield bytes((number,)) + line.encode()
    texts = (
        "90 days",
        "50 MiB",
        "200/day",
        "10.0.3.0/28",
        "[::]:25",
        "2001:db8::/64",
        "*@example.com",
        "maildir:x",
        "2027-06-30",
    )
    for text in texts:
        yield b"\0" + text.encode()


if __name__ == "__main__":
    run(one_input, seeds)
