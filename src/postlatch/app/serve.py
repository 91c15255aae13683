"""``serve``: judge the configuration, bind, give up root, and hand over to the supervisor."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from pathlib import Path

from postlatch.app.answer import BAD_NEWS, GOOD, UNUSABLE
from postlatch.app.check import check, judge_settings, unusable
from postlatch.app.local import bind_local
from postlatch.app.privileges import UserError, drop, find_user, own_directory
from postlatch.app.supervisor import Supervisor
from postlatch.server.listeners import BindError, bind, bound_address
from postlatch.settings.load import load
from postlatch.settings.place import choose_path
from postlatch.settings.problem import SettingsError
from postlatch.settings.tree import Settings
from postlatch.store.database import StoreError
from postlatch.store.lock import Held, Lock, acquire


def serve(config: Path | None) -> int:
    """Serve until SIGTERM; the exit status."""
    try:
        path = choose_path(config, os.environ)
        settings = load(path)
    except SettingsError as error:
        _say(str(error))
        return error.exit_status
    if broken := unusable(settings):
        _say("\n".join(map(str, broken)))
        return BAD_NEWS if all(problem.danger for problem in broken) else UNUSABLE
    try:
        return _serve(settings, path.absolute())
    except (BindError, UserError, StoreError, OSError) as error:
        _say(str(error))
        return UNUSABLE


def _serve(settings: Settings, path: Path) -> int:
    owner = find_user(settings.user) if settings.user is not None else None
    own_directory(settings.data_dir, owner)
    try:
        lock = acquire(settings.data_dir)
    except Held as error:
        _say(f"{error}: one relay to a data directory")
        return UNUSABLE
    with lock:
        if owner is not None and os.geteuid() == 0:
            os.fchown(lock.descriptor, *owner)
        listeners = {x.name: [bind(x.name, address) for address in x.address] for x in settings.listeners}
        http = bind("http", settings.http.address)
        local = bind_local(settings.sendmail.socket, owner) if settings.sendmail.socket is not None else None
        _become(settings, owner)
        refusal = _refusal(path)
        if refusal is not None:
            return refusal
        return _supervise(path, listeners, http, lock, local)


def _become(settings: Settings, owner: tuple[int, int] | None) -> None:
    if os.geteuid() != 0:
        return
    if owner is None or settings.user is None:
        _say('warning: running as root; set user = "postlatch" in the configuration to give that up once the ports are bound')
    else:
        drop(settings.user, owner)


def _refusal(path: Path) -> int | None:
    """The exit status if this must not start, with every reason told. What has only lapsed is told, and stops nothing."""
    answer = check(path, {})
    data = answer.data
    for sentence in data["counterexamples"]:
        _say(f"not closed: {sentence}")
    for error in data["errors"]:
        place = f"{error['file']}:{error['line']}" if error["line"] else error["file"]
        _say(": ".join(filter(None, (place, error["key"], error["message"]))))
    if answer.status == GOOD:
        return None
    if answer.status == BAD_NEWS and judge_settings(load(path)).may_start:
        return None
    return answer.status


def _supervise(
    path: Path, listeners: dict[str, list[socket.socket]], http: socket.socket, lock: Lock, local: socket.socket | None
) -> int:
    addresses = [f"{name}={bound_address(sock)}" for name, group in listeners.items() for sock in group]
    addresses.append(f"http={bound_address(http)}")

    def ready() -> None:
        sys.stdout.write(f"ready {' '.join(addresses)}\n")
        sys.stdout.flush()

    async def run() -> int:
        return await Supervisor(str(path), listeners, http, lock.descriptor, ready, _say, local).run()

    return asyncio.run(run())


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
