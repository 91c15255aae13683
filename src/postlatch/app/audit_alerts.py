"""Telling somebody that an audit came out worse: a program of theirs, or a mail through the local sendmail."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shlex
import signal
from collections.abc import Sequence
from email.message import EmailMessage
from email.policy import default
from typing import Any, Final

from postlatch.model.address import AddressError, parse_address

SENDMAIL: Final = "/usr/sbin/sendmail"
_LIMIT: Final = 60.0  # seconds for a program to take its news
_MAX_SUBJECT: Final = 120
_POLICY: Final = default.clone(max_line_length=200)  # a subject in one line: folded, its first line may be empty


class Alerts:
    """Where alerts go. ValueError if the command cannot be split, or the address is none."""

    def __init__(self, command: str = "", mail: str = "", *, sendmail: str = SENDMAIL, limit: float = _LIMIT) -> None:
        self._command = shlex.split(command)
        if command and not self._command:
            raise ValueError("--alert-command is empty")
        try:
            self._mail = parse_address(mail).text if mail else ""
        except AddressError as error:
            raise ValueError(f"--alert-mail: {mail!a} is no address: {error}") from None
        self._sendmail = sendmail
        self._limit = limit

    async def tell(self, news: dict[str, Any], sentences: Sequence[str]) -> list[str]:
        """What could not be told, and why; empty if all went well."""
        troubles = []
        if self._command:
            troubles.append(await self._run(self._command, json.dumps(news).encode("ascii") + b"\n"))
        if self._mail:
            # RFC 5322 fields tell it whom to send to; no address is ever an argument.
            troubles.append(await self._run([self._sendmail, "-i", "-t"], mail(self._mail, sentences)))
        return [trouble for trouble in troubles if trouble]

    async def _run(self, command: Sequence[str], given: bytes) -> str:
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.DEVNULL,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            return f"the alert was not handed over: {command[0]} could not be started: {error}"
        try:
            async with asyncio.timeout(self._limit):
                await process.communicate(given)
        except TimeoutError:
            return f"the alert was not handed over: {command[0]} did not end within {self._limit:g} s"
        finally:
            await _end(process)
        return "" if process.returncode == 0 else f"the alert may be lost: {command[0]} ended with status {process.returncode}"


async def _end(process: asyncio.subprocess.Process) -> None:
    """With all that it started: a session of its own is a process group of its own."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


def mail(address: str, sentences: Sequence[str]) -> bytes:
    """A message whose recipient stands in it. RFC 3834 section 5: nobody's autoresponder shall answer it."""
    message = EmailMessage(_POLICY)
    message["To"] = address
    message["Subject"] = f"Mail server audit: {sentences[0] if sentences else 'worse'}"[:_MAX_SUBJECT]
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(
        "The latest audit found what those before it did not:\n\n"
        + "".join(f"- {sentence}\n" for sentence in sentences)
        + "\nThis is told once, not again with every audit that finds the same.\n"
    )
    return message.as_bytes()
