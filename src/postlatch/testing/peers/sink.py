"""Postfix's own load tools: ``smtp-sink`` counts what arrives, ``smtp-source`` sends. Both in C: they cost little."""

from __future__ import annotations

import io
import re
import subprocess
import threading
import time
from pathlib import Path
from typing import Self

from postlatch.testing.peers.ports import end, free_port, listens, wait_until


class CountingSink:
    """An smtp-sink on loopback; ``messages`` is how many final dots it has answered."""

    def __init__(self) -> None:
        self.port = free_port()
        self.messages = 0
        self.last_at = 0.0
        self._process = subprocess.Popen(
            ["/usr/sbin/smtp-sink", "-u", "nobody", "-c", f"127.0.0.1:{self.port}", "1024"], stdout=subprocess.PIPE
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        wait_until(lambda: listens(self.port), 10, "smtp-sink to listen")

    def _read(self) -> None:
        output = self._process.stdout
        assert isinstance(output, io.BufferedReader)
        pending = b""
        while chunk := output.read1(65536):
            now = time.monotonic()
            pending = (pending + chunk)[-400:]
            found = re.findall(rb"mesg=(\d+)", pending)
            if found and int(found[-1]) != self.messages:
                self.messages, self.last_at = int(found[-1]), now

    def wait_for(self, count: int, seconds: float) -> float:
        """Wait until ``count`` messages have arrived in all; the monotonic time when the last one was seen."""
        wait_until(lambda: self.messages >= count, seconds, f"{count} messages at the sink (have {self.messages})")
        return self.last_at

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        end(self._process)


def send_load(
    port: int,
    *,
    messages: int,
    sessions: int,
    size: int,
    sender: str,
    recipient: str,
    keep: bool = True,
    file: Path | None = None,
) -> subprocess.CompletedProcess[bytes]:
    """Send ``messages`` of ``size`` octets over ``sessions`` parallel connections, kept open if ``keep``.

    ``file`` holds a message of its own, with bare line feeds, in the place of the generated one.
    """
    command = [
        "/usr/sbin/smtp-source",
        "-s",
        str(sessions),
        "-m",
        str(messages),
        "-f",
        sender,
        "-t",
        recipient,
    ]
    command += ["-l", str(size)] if file is None else ["-F", str(file)]
    done = subprocess.run([*command, *(["-d"] if keep else []), f"127.0.0.1:{port}"], capture_output=True, check=False)
    if done.returncode:
        raise RuntimeError(f"smtp-source ended with {done.returncode}: {done.stderr.decode(errors='replace')[-500:]}")
    return done
