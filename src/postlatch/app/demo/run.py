"""Runs the demo: writes its configuration, starts the real `serve`, and watches it through the control socket."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
import signal
import sys
import tempfile
import threading
from collections import Counter
from pathlib import Path
from typing import Any

from postlatch.app import control
from postlatch.app.certificate import write_self_signed
from postlatch.app.clock import SystemClock
from postlatch.app.demo import traffic
from postlatch.app.demo.config import render
from postlatch.app.demo.sink import Sink
from postlatch.app.demo.view import View

_LOGIN = "alice@example.com"
_REFRESH = 0.5  # seconds
_PAUSE = 0.4  # seconds between two attempts of the spammers


def run(arguments: dict[str, Any]) -> int:
    """Run until interrupted; the exit status."""
    folder = Path(tempfile.mkdtemp(prefix="postlatch-demo-"))
    try:
        return asyncio.run(_Demo(folder, quiet=bool(arguments.get("quiet"))).run())
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class _Demo:
    def __init__(self, folder: Path, *, quiet: bool) -> None:
        self._folder = folder
        self._data = folder / "data"
        self._quiet = quiet
        self._password = secrets.token_urlsafe(9)
        self._stop_traffic = threading.Event()
        self._sink = Sink()
        self._cursor = 0

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        stopping = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stopping.set)
        await self._sink.start()
        config = self._folder / "postlatch.toml"
        config.write_text(render(self._sink.port), "utf-8")
        write_self_signed("relay.postlatch.test", self._folder / "cert.pem", self._folder / "key.pem", SystemClock().now())
        process = await self._start(config)
        try:
            addresses = await self._ready(process)
            if addresses is None:
                return await process.wait() or 1
            await self._add_account()
            await self._watch(addresses, process, stopping)
        finally:
            self._stop_traffic.set()
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
                await process.wait()
        return 0

    async def _start(self, config: Path) -> asyncio.subprocess.Process:
        # Its own process group: Ctrl-C reaches us alone, and we end it in order.
        command = [sys.executable, "-m", "postlatch", "--config", str(config), "serve"]
        return await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, start_new_session=True)

    async def _ready(self, process: asyncio.subprocess.Process) -> dict[str, str] | None:
        assert process.stdout is not None
        while line := await process.stdout.readline():
            words = line.decode().split()
            if words and words[0] == "ready":
                return dict(word.split("=", 1) for word in words[1:])
        return None

    async def _add_account(self) -> None:
        arguments = {"login": _LOGIN, "send_as": [], "password": self._password}
        await asyncio.to_thread(control.call, self._data, "account.add", arguments)

    def _place(self, addresses: dict[str, str]) -> traffic.Place:
        def port(name: str) -> int:
            return int(addresses[name].rpartition(":")[2])

        return traffic.Place(
            hostname="relay.postlatch.test",
            domain="example.com",
            mx=port("mx"),
            submission=port("submission"),
            relay=port("relay"),
            login=_LOGIN,
            password=self._password,
        )

    def _header(self, addresses: dict[str, str]) -> list[str]:
        login = f"--auth-user {_LOGIN} --auth-password {self._password}"
        return [
            "  ".join(f"{name} {address}" for name, address in addresses.items()),
            f"login {_LOGIN}  password {self._password}",
            f"swaks --server {addresses['submission']} -tls {login} --from {_LOGIN} --to you@elsewhere.example",
            f"swaks --server {addresses['mx']} --from you@elsewhere.example --to friend@elsewhere.example   # refused",
            f"page http://{addresses['http']}/   mail {self._data / 'mail'}   configuration {self._folder / 'postlatch.toml'}",
        ]

    async def _watch(self, addresses: dict[str, str], process: asyncio.subprocess.Process, stopping: asyncio.Event) -> None:
        header = self._header(addresses)
        view = View(self._sink, header)
        if view.plain:
            sys.stdout.write("\n".join(header) + "\n")
            sys.stdout.flush()
        thread = threading.Thread(target=traffic.run, args=(self._place(addresses), self._stop_traffic, _PAUSE), daemon=True)
        if not self._quiet:
            thread.start()
        with _screen(view) as refresh:
            while not stopping.is_set() and process.returncode is None:
                await self._poll(view)
                view.tick()
                refresh()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stopping.wait(), _REFRESH)
        self._stop_traffic.set()
        if thread.is_alive():
            await asyncio.to_thread(thread.join, 5)

    async def _poll(self, view: View) -> None:
        try:
            answer = await asyncio.to_thread(control.call, self._data, "journal.read", {"after": self._cursor, "limit": 500})
            counts = await asyncio.to_thread(control.call, self._data, "queue.counts", {})
        except control.NotServing:
            return
        for event in answer.data.get("events", []):
            self._cursor = int(event["seq"])
            view.event(event)
        view.queue(Counter(counts.data.get("states", {})))


@contextlib.contextmanager
def _screen(view: View) -> Any:
    """A live screen where there is a terminal; yields what refreshes it."""
    if view.plain:
        yield lambda: None
        return
    from rich.live import Live  # noqa: PLC0415  (loaded late)

    with Live(view.render(), screen=os.environ.get("TERM") != "dumb", auto_refresh=False) as live:
        yield lambda: live.update(view.render(), refresh=True)
