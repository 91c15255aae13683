"""The command line as a process: start-up time, terminals, pipes, interrupts; and text that must not command a terminal."""

from __future__ import annotations

import json
import os
import pty
import resource
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postlatch.cli.output import to_json
from postlatch.cli.text import Line, Table, clean, present

PROGRAM = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job of a script is started with it ignored
from postlatch.cli.backend import Answer
from postlatch.cli.build import build_cli

class Backend:
    def call(self, command, arguments, config):
        if command == "account.add":
            return Answer(0, {"schema": "x", "login": arguments["password"]})
        if command == "check":
            return Answer(1, {"schema": "x", "closed": False, "counterexamples": ["b\\u00fccher"], "errors": []})
        rows = [{"id": "01K3F9Q2ZB7NM.0", "state": "held", "recipient": "a" * 30 + "@elsewhere.example", "sender": ""}]
        return Answer(0, {"schema": "x", "recipients": rows})
    def stream(self, command, arguments, config):
        number = 0
        while True:
            number += 1
            yield {"seq": number, "at": 0, "event": "relay.started"}
            if arguments.get("follow"):
                time.sleep(0.02)
    run = None

build_cli(Backend())(prog_name="postlatch")
"""

HEAVY = {
    "pydantic",
    "rich",
    "structlog",
    "cryptography",
    "sqlite3",
    "asyncio",
    "idna",
    "postlatch.settings",
    "postlatch.model.address",
}


def _run(*argv: str, **environment: str) -> subprocess.CompletedProcess[str]:
    variables = {**os.environ, "PYTHONUTF8": "0", **environment}
    return subprocess.run([sys.executable, "-c", PROGRAM, *argv], capture_output=True, text=True, env=variables, check=False)


@pytest.mark.parametrize("argv", [("--help",), ("--version",), ("queue", "list", "--help"), ("nonsense",)])
def test_help_imports_nothing_heavy(argv: tuple[str, ...]) -> None:
    program = PROGRAM.replace(
        'build_cli(Backend())(prog_name="postlatch")',
        "try:\n    build_cli(Backend())()\nfinally:\n    print(*sys.modules, sep='\\n', file=sys.stderr)",
    )
    run = subprocess.run([sys.executable, "-c", program, *argv], capture_output=True, text=True, check=False)
    assert HEAVY & set(run.stderr.split()) == set()


def test_help_answers_in_a_fifth_of_a_second() -> None:
    def took() -> float:
        """Processor time, so that what else the machine does decides nothing."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        _run("--help")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime

    assert min(took() for _ in range(5)) < 0.2


def _terminal(*argv: str, typed: bytes = b"", columns: int = 200, **environment: str) -> tuple[str, int]:
    """Run in a pseudo-terminal; (everything shown, exit status)."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update({"COLUMNS": str(columns), "TERM": "xterm", **environment})
        os.execv(sys.executable, [sys.executable, "-c", PROGRAM, *argv])
    shown = b""
    while True:
        assert select.select([terminal], [], [], 20)[0], shown
        try:
            piece = os.read(terminal, 65536)
        except OSError:  # Linux reports the end of a pseudo-terminal as EIO
            break
        if not piece:
            break
        shown += piece
        # getpass forgets what was typed before it hid the input; its last word is the space.
        if typed and shown.endswith(b": "):
            line, typed = typed.split(b"\n", 1)
            os.write(terminal, line + b"\n")
    os.close(terminal)
    _, status = os.waitpid(pid, 0)
    return shown.decode(), os.waitstatus_to_exitcode(status)


def test_on_a_terminal_the_password_is_asked_twice_and_not_shown() -> None:
    shown, status = _terminal("account", "add", "al", typed=b"hidden\nhidden\n")
    assert status == 0
    assert "Password:" in shown
    assert "The same again:" in shown
    assert shown.count("hidden") == 1  # the answer of the test's backend, not the terminal's echo


def test_on_a_terminal_two_different_passwords_are_asked_again() -> None:
    shown, status = _terminal("account", "passwd", "al", typed=b"one\ntwo\nthree\nthree\n")
    assert status == 0
    assert "do not match" in shown


def test_a_terminal_gets_colour_and_a_pipe_gets_none() -> None:
    assert "\x1b[31m" in _terminal("check")[0]
    assert "\x1b" not in _terminal("check", NO_COLOR="1")[0]
    assert "\x1b" not in _run("check").stdout


def test_a_narrow_terminal_gets_a_paragraph_a_row() -> None:
    assert "recipient   " + "a" * 30 in _terminal("queue", "list", columns=60)[0]
    assert "ID               STATE" in _terminal("queue", "list", columns=200)[0]


def test_json_is_indented_on_a_terminal_and_one_line_on_a_pipe() -> None:
    assert '\r\n  "schema"' in _terminal("queue", "list", "--json")[0]
    assert _run("queue", "list", "--json").stdout.count("\n") == 1


def test_a_poor_character_set_gets_escapes_and_no_error() -> None:
    run = _run("check", LC_ALL="C", LANG="C", PYTHONIOENCODING="ascii")
    assert run.returncode == 1
    assert "b\\xfccher" in run.stdout
    assert run.stderr == ""


def test_a_reader_that_has_enough_ends_a_stream_quietly() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "journal", "export"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert json.loads(process.stdout.readline()) == {"seq": 1, "at": 0, "event": "relay.started"}
        process.stdout.close()
        assert process.wait(timeout=20) == 0
        assert process.stderr.read() == b""


def test_an_interrupt_ends_a_followed_tail_quietly() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "journal", "tail", "--follow"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"1970-01-01T00:00:00Z relay.started\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 130
        assert process.stderr.read() == b""


@given(st.text())
def test_whatever_is_cleaned_is_one_printable_line(text: str) -> None:
    assert clean(text).isprintable()


@given(st.text(st.characters(exclude_categories=["C", "Z"])))
def test_printable_text_stays_as_it_is(text: str) -> None:
    assert clean(text) == text


@given(st.text())
def test_json_is_printable_ascii_and_loses_nothing(text: str) -> None:
    line = to_json({"text": text})
    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line) == {"text": text}


_CELLS = st.text(st.sampled_from("ab 中é\u0301\x1b\n"), max_size=30)
_ROWS = st.integers(1, 5).flatmap(lambda count: st.lists(st.tuples(*[_CELLS] * count), min_size=1, max_size=4))


@given(_ROWS, st.integers(20, 120))
def test_a_table_loses_no_word_at_any_width(rows: list[tuple[str, ...]], width: int) -> None:
    table = Table(tuple(f"H{number}" for number in range(len(rows[0]))), rows)
    for limit in (width, None):
        lines = [text for text, _ in present([table], limit)]
        shown = " ".join(lines).split()
        for row in rows:
            for cell in row:
                for word in clean(cell).split():
                    assert word in shown


def test_wide_characters_keep_the_columns_straight() -> None:
    lines = [text for text, _ in present([Table(("A", "B"), [("中文", "x"), ("ab", "y")])], None)]
    assert lines == ["A     B", "中文  x", "ab    y"]


def test_columns_share_a_narrow_terminal() -> None:
    table = Table(("ID", "WHY"), [("01K3F9Q2ZB7NM", "one two three four five six seven")])
    assert [text for text, _ in present([table], 30)] == [
        "ID             WHY",
        "01K3F9Q2ZB7NM  one two three",
        "               four five six",
        "               seven",
    ]


def test_lines_are_cleaned_too() -> None:
    assert list(present([Line("a\x1b[31m\nb")], None)) == [("a\\x1b[31m\\nb", None)]


def test_the_command_line_holds_no_settings_at_its_top() -> None:
    folder = Path(sys.modules[to_json.__module__].__file__ or "").parent
    for file in folder.rglob("*.py"):
        lines = file.read_text().splitlines()
        assert not [line for line in lines if line.startswith(("import postlatch.s", "from postlatch.s", "import sqlite3"))], (
            file
        )
