"""Passwords come from standard input or a terminal, never from an argument: other users can read those."""

from __future__ import annotations

import sys

import click

_LONGEST = 1024  # octets


def read_password(*, from_stdin: bool) -> str:
    """The new password; click.UsageError (exit status 2) if there is none that could be one."""
    if from_stdin:
        return _check(_from_stdin())
    if not sys.stdin.isatty():
        raise click.UsageError("there is no terminal to ask for the password: give it with --password-stdin")
    answer: str = click.prompt("Password", hide_input=True, confirmation_prompt="The same again", err=True)
    return _check(answer)


def _from_stdin() -> str:
    raw = sys.stdin.buffer.read(_LONGEST + 2)
    try:
        return raw.decode("utf-8").removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise click.UsageError("the password is not UTF-8") from None


def _check(password: str) -> str:
    if not password:
        raise click.UsageError("the password is empty")
    if len(password.encode()) > _LONGEST:
        raise click.UsageError(f"the password is longer than {_LONGEST} octets")
    if any(ord(c) < 0x20 or ord(c) == 0x7F for c in password):
        raise click.UsageError("the password holds a control character, or more than one line was given")
    return password
