"""What is typed, and what the backend gets."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from postlatch import __version__
from postlatch.cli.backend import Answer, CommandFailed
from postlatch.cli.build import build_cli
from postlatch.cli.catalogue import CATALOGUE, GROUPS, SECTIONS, STATES, Kind, Way

Call = tuple[str, str, dict[str, Any], Path | None]


class _Recorder:
    """A backend that notes what it is asked, and finds everything good."""

    def __init__(self) -> None:
        self.calls: list[Call] = []

    def call(self, command: str, arguments: dict[str, Any], config: Path | None) -> Answer:
        self.calls.append(("call", command, arguments, config))
        return Answer(0, {"schema": f"postlatch.{command}/1"})

    def stream(self, command: str, arguments: dict[str, Any], config: Path | None) -> Iterator[dict[str, Any]]:
        self.calls.append(("stream", command, arguments, config))
        yield from ()

    def run(self, command: str, arguments: dict[str, Any], config: Path | None) -> int:
        self.calls.append(("run", command, arguments, config))
        return 0


def _typed(*argv: str, stdin: str | bytes | None = None) -> tuple[list[Call], Result]:
    backend = _Recorder()
    result = CliRunner().invoke(build_cli(backend), list(argv), input=stdin)
    return backend.calls, result


HERE = str(Path.cwd())
RIGHT = ("right", "add", "printers", "--network", "10.0.3.0/28", "--listener", "relay", "--owner", "ops@example.com")
DECIDE = ("decide", "--listener", "mx", "--client", "198.51.100.7", "--rcpt", "b@example.com")

DETAILS = ("--account", "al", "--helo", "h", "--header-from", "x", "--at", "1970-01-01")

GOOD: list[tuple[tuple[str, ...], str, str, dict[str, Any]]] = [
    (("init", "Example.COM"), "call", "init", {"domain": "example.com", "dir": HERE}),
    (("init", "bücher.example", "--dir", "/srv"), "call", "init", {"domain": "xn--bcher-kva.example", "dir": "/srv"}),
    (("check",), "call", "check", {}),
    (("serve",), "run", "serve", {}),
    (("demo",), "run", "demo", {}),
    (("rights",), "call", "rights", {}),
    (
        (*DECIDE, "--mail-from", "a@other.example"),
        "call",
        "decide",
        {"listener": "mx", "client": "198.51.100.7", "rcpt": "b@example.com", "mail_from": "a@other.example"},
    ),
    (
        (*DECIDE, "--mail-from", "", "--client", "2001:DB8::7", *DETAILS),
        "call",
        "decide",
        {
            "listener": "mx",
            "client": "2001:db8::7",
            "rcpt": "b@example.com",
            "mail_from": "",
            "account": "al",
            "helo": "h",
            "header_from": "x",
            "at": 0.0,
        },
    ),
    (("account", "list"), "call", "account.list", {}),
    (("account", "suspend", "al"), "call", "account.suspend", {"login": "al"}),
    (("account", "suspend", "al", "--why", "stolen"), "call", "account.suspend", {"login": "al", "why": "stolen"}),
    (("account", "restore", "al"), "call", "account.restore", {"login": "al"}),
    (("account", "delete", "al"), "call", "account.delete", {"login": "al"}),
    (
        (*RIGHT, "--network", "2001:db8::/64", "--sender", "@example.com", "--expires", "2027-06-30", "--masked", "why"),
        "call",
        "right.add",
        {
            "name": "printers",
            "networks": ["10.0.3.0/28", "2001:db8::/64"],
            "listeners": ["relay"],
            "senders": ["@example.com"],
            "owner": "ops@example.com",
            "expires": "2027-06-30",
            "masked": "why",
        },
    ),
    (("right", "list"), "call", "right.list", {}),
    (("right", "renew", "p", "--expires", "2028-01-31"), "call", "right.renew", {"name": "p", "expires": "2028-01-31"}),
    (("right", "revoke", "printers"), "call", "right.revoke", {"name": "printers"}),
    (("queue", "list"), "call", "queue.list", {"limit": 100}),
    (
        ("queue", "list", "--state", "held", "--domain", "B.example", "--limit", "5", "--after", "X.0"),
        "call",
        "queue.list",
        {"state": "held", "domain": "b.example", "limit": 5, "after": "X.0"},
    ),
    (("queue", "show", "A", "B"), "call", "queue.show", {"ids": ["A", "B"]}),
    (("queue", "hold", "A"), "call", "queue.hold", {"ids": ["A"]}),
    (("queue", "release", "--state", "held"), "call", "queue.release", {"state": "held"}),
    (("queue", "retry"), "call", "queue.retry", {}),
    (("queue", "retry", "--account", "al"), "call", "queue.retry", {"account": "al"}),
    (("queue", "bounce", "A.1"), "call", "queue.bounce", {"ids": ["A.1"]}),
    (
        ("queue", "delete", "--sender", "<>", "--recipient", "b@example.com"),
        "call",
        "queue.delete",
        {"sender": "<>", "recipient": "b@example.com"},
    ),
    (("journal", "search"), "call", "journal.search", {"limit": 100}),
    (
        ("journal", "search", "greylist", "--client", "198.51.100.0/24", "--event", "delivery", "--since", "1970-01-02",
         "--until", "1970-01-02T01:00:00+01:00", "--message", "M", "--account", "al", "--address", "b@example.com"),
        "call",
        "journal.search",
        {"text": "greylist", "client": "198.51.100.0/24", "event": "delivery", "since": 86400.0, "until": 86400.0,
         "message": "M", "account": "al", "address": "b@example.com", "limit": 100},
    ),
    (("journal", "verify"), "call", "journal.verify", {}),
    (("journal", "tail", "--follow"), "stream", "journal.tail", {"lines": 20, "follow": True}),
    (("journal", "export", "--since", "1970-01-02"), "stream", "journal.export", {"since": 86400.0}),
    (("ban", "add", "198.51.100.7"), "call", "ban.add", {"network": "198.51.100.7/32"}),
    (
        ("ban", "add", "198.51.100.0/24", "--for", "2 hours", "--why", "probes"),
        "call",
        "ban.add",
        {"network": "198.51.100.0/24", "seconds": 7200, "why": "probes"},
    ),
    (("ban", "list"), "call", "ban.list", {}),
    (("ban", "remove", "2001:DB8::/64"), "call", "ban.remove", {"network": "2001:db8::/64"}),
    (("backup", "b.tar"), "call", "backup", {"file": str(Path.cwd() / "b.tar")}),
    (("restore", "/b.tar"), "call", "restore", {"file": "/b.tar"}),
]  # fmt: skip


@pytest.mark.parametrize(("argv", "way", "command", "arguments"), GOOD)
def test_what_is_typed_reaches_the_backend(argv: tuple[str, ...], way: str, command: str, arguments: dict[str, Any]) -> None:
    calls, result = _typed(*argv)
    assert calls == [(way, command, arguments, None)], result.output
    assert result.exit_code == 0


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (("nonsense",), "No such command"),
        (("check", "--nonsense"), "No such option"),
        (("init",), "Missing argument"),
        (("init", "not a domain"), "is no domain"),
        (("init", "example.com."), "is no domain"),
        (("init", "*.example.com"), "is no domain"),
        (DECIDE, "Missing option '--mail-from'"),
        ((*DECIDE, "--mail-from", "a", "--client", "localhost"), "is no IP address"),
        ((*DECIDE, "--mail-from", "a", "--at", "noon"), "is no time"),
        (RIGHT, "Missing option '--expires'"),
        ((*RIGHT, "--expires", "2027-02-30"), "is no day that exists"),
        ((*RIGHT, "--expires", "soon"), "is no day that exists"),
        ((*RIGHT, "--expires", "2027-06-30", "--network", "10.0.3.5/28"), "the network is 10.0.3.0/28"),
        ((*RIGHT, "--expires", "2027-06-30", "--network", "ten"), "is no network"),
        (
            ("right", "add", "x", "--network", "10.0.0.1", "--listener", "l", "--expires", "2027-06-30"),
            "Missing option '--owner'",
        ),
        (("right", "add", "x", "--listener", "l", "--owner", "o", "--expires", "2027-06-30"), "Missing option '--network'"),
        (("right", "renew", "x"), "Missing option '--expires'"),
        (("queue", "list", "--state", "lost"), "is not one of"),
        (("queue", "list", "--limit", "0"), "not in the range"),
        (("queue", "list", "--limit", "many"), "is not a valid integer"),
        (("queue", "show"), "Missing argument"),
        (("queue", "hold"), "name IDs, or filter with"),
        (("queue", "release"), "name IDs, or filter with"),
        (("queue", "bounce"), "name IDs, or filter with"),
        (("queue", "delete"), "name IDs, or filter with"),
        (("queue", "delete", "--json"), "name IDs, or filter with"),
        (("queue", "hold", "A\0B"), "NUL"),
        (("ban", "add", "198.51.100.7", "--for", "ever"), "is no length of time"),
        (("ban", "add", "198.51.100.7", "--for", "0 days"), "is no length of time"),
        (("ban", "add", "somebody"), "is no network"),
        (("account", "add", "al", "--password", "secret"), "No such option"),
        (("account", "add"), "Missing argument"),
        (("serve", "--json"), "No such option"),
        (("queue",), "Usage:"),
        ((), "Usage:"),
    ],
)
def test_bad_input_is_status_2_and_never_reaches_the_backend(argv: tuple[str, ...], words: str) -> None:
    calls, result = _typed(*argv)
    assert calls == []
    assert result.exit_code == 2
    assert words in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize(
    "argv",
    [
        ("--config", "a.toml", "queue", "list"),
        ("queue", "--config", "a.toml", "list"),
        ("queue", "list", "--config", "a.toml"),
        ("--config", "b.toml", "queue", "list", "--config", "a.toml"),
        ("--config=a.toml", "queue", "list"),
    ],
)
def test_the_configuration_is_named_before_or_after_the_command(argv: tuple[str, ...]) -> None:
    (call,), _ = _typed(*argv)
    assert call[3] == Path("a.toml")


@pytest.mark.parametrize("command", CATALOGUE, ids=[command.name for command in CATALOGUE])
def test_every_command_of_the_catalogue_has_help_with_all_its_flags(command: Any) -> None:
    calls, result = _typed(*command.words, "--help")
    assert calls == []
    assert result.exit_code == 0
    shown = " ".join(result.stdout.split())
    assert " ".join(command.help.split()) in shown
    for argument in command.arguments:
        assert (argument.flag or argument.metavar.strip("[].")) in shown
        assert argument.help.split()[0] in shown
    own = any(argument.flag == "--json" for argument in command.arguments)
    assert ("--json" in shown) is (own or command.way is not Way.RUN)
    assert "--config" in shown


def _leaves(group: click.Group, before: str = "") -> Iterator[str]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from [before + name] if hasattr(command, "itself") else []  # a command that is a group too
            yield from _leaves(command, f"{before}{name}.")
        else:
            yield before + name


def test_the_catalogue_and_the_help_hold_the_same_commands() -> None:
    root = build_cli(_Recorder())
    assert set(_leaves(root)) == {command.name for command in CATALOGUE}
    assert {name for names in SECTIONS.values() for name in names} == set(root.commands)
    names = {command.name for command in CATALOGUE}
    assert set(GROUPS) == {".".join(command.words[:-1]) for command in CATALOGUE} - names - {""}


def test_the_examples_of_the_help_can_be_typed() -> None:
    for command in CATALOGUE:
        for example in command.examples:
            name, *argv = shlex.split(example.partition(" > ")[0])
            calls, result = _typed(*argv)
            assert name == "postlatch"
            assert [call[1] for call in calls] == [command.name], result.output


def test_choices_stand_where_a_choice_is() -> None:
    arguments = [argument for command in CATALOGUE for argument in command.arguments]
    assert all(bool(argument.choices) is (argument.kind is Kind.CHOICE) for argument in arguments)
    assert all(argument.help.endswith(".") for argument in arguments)
    assert STATES == ("queued", "deferred", "active", "held", "delivered", "bounced", "deleted")


@pytest.mark.parametrize("argv", [("--version",), ("--config", "x", "--version")])
def test_the_version_is_shown(argv: tuple[str, ...]) -> None:
    _, result = _typed(*argv)
    assert result.stdout == f"postlatch {__version__}\n"


def test_the_help_is_ordered_by_use() -> None:
    _, result = _typed("--help")
    assert result.stdout.index("Begin:") < result.stdout.index("Who may relay:") < result.stdout.index("Run:")
    assert "Exit status: 0 good; 1 bad news" in result.stdout


@pytest.mark.parametrize("status", [0, 1, 2, 3])
def test_the_status_of_a_run_is_that_of_the_program(status: int) -> None:
    class Ending(_Recorder):
        def run(self, _command: str, _arguments: dict[str, Any], _config: Path | None) -> int:
            return status

    assert CliRunner().invoke(build_cli(Ending()), ["serve"]).exit_code == status


def test_a_stream_that_cannot_go_on_ends_with_its_answer() -> None:
    class Failing(_Recorder):
        def stream(self, _command: str, _arguments: dict[str, Any], _config: Path | None) -> Iterator[dict[str, Any]]:
            yield {"at": 0, "event": "relay.started"}
            raise CommandFailed(Answer(2, {}, "the relay stopped"))

    result = CliRunner().invoke(build_cli(Failing()), ["journal", "tail", "--follow"])
    assert result.stdout == "1970-01-01T00:00:00Z relay.started\n"
    assert result.stderr == "Error: the relay stopped\n"
    assert result.exit_code == 2


PASSWORD = "correct horse"


@pytest.mark.parametrize("stdin", [PASSWORD, PASSWORD + "\n", PASSWORD + "\r\n"])
def test_a_password_comes_from_standard_input(stdin: str) -> None:
    calls, result = _typed(
        "account", "add", "al", "--send-as", "@example.com", "--send-as", "<>", "--password-stdin", stdin=stdin
    )
    assert calls == [("call", "account.add", {"login": "al", "send_as": ["@example.com", "<>"], "password": PASSWORD}, None)]
    assert PASSWORD not in result.output


def test_a_password_keeps_its_spaces_and_letters() -> None:
    (call,), _ = _typed("account", "passwd", "al", "--password-stdin", stdin=" pässwörd \n")
    assert call[2]["password"] == " pässwörd "


@pytest.mark.parametrize(
    ("stdin", "words"),
    [
        ("", "the password is empty"),
        ("\n", "the password is empty"),
        ("one\ntwo\n", "more than one line"),
        ("a\0b", "a control character"),
        ("x" * 1025, "longer than 1024"),
        ("x" * 5000, "longer than 1024"),
        (b"\xff\xfe", "is not UTF-8"),
    ],
)
def test_what_can_be_no_password_is_refused(stdin: str | bytes, words: str) -> None:
    calls, result = _typed("account", "add", "al", "--password-stdin", stdin=stdin)
    assert calls == []
    assert result.exit_code == 2
    assert words in result.stderr


def test_without_a_terminal_a_password_needs_its_flag() -> None:
    calls, result = _typed("account", "add", "al", stdin=PASSWORD)
    assert calls == []
    assert result.exit_code == 2
    assert "give it with --password-stdin" in result.stderr
