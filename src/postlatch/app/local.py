"""The Unix socket of the ``sendmail`` command: made by the supervisor, known to the policy, mapped to accounts."""

from __future__ import annotations

import os
import pwd
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from postlatch.app.handover import Handover
from postlatch.model.envelope import Role
from postlatch.policy.sending import Submission
from postlatch.policy.snapshot import Listener
from postlatch.server.connection import ListenerPort
from postlatch.server.local_rules import NAME, LocalRules, LocalUser
from postlatch.settings.problem import Problem

if TYPE_CHECKING:
    from postlatch.settings.tree import Settings

_BACKLOG = 256


def local_listener(settings: Settings) -> dict[str, Listener]:
    """The listener, if there is a socket."""
    if settings.sendmail.socket is None:
        return {}
    return {NAME: Listener(NAME, Role.SUBMISSION, tls=False, local=True)}


def submission_rules(settings: Settings) -> Submission:
    """The ``[submission]`` table, as the policy and the server's header fixes read it."""
    chosen = settings.submission
    rewrite = {login.lower(): address.lower() for login, address in chosen.rewrite_from.items()}
    return Submission(chosen.aliases, frozenset(chosen.fix), rewrite)


def local_rules(settings: Settings) -> LocalRules:
    """Who is who on the socket. A user whom this machine does not know is nobody until a reload."""
    users: dict[int, LocalUser] = {}
    for name, login in settings.sendmail.users.items():
        uid = user_number(name)
        if uid is not None:
            users[uid] = LocalUser(uid, user_name(uid), login.lower())
    first = next(iter(settings.domains), settings.hostname)
    return LocalRules(users, settings.sendmail.domain or first)


def local_port(handover: Handover) -> dict[str, ListenerPort]:
    """The port of the socket that the supervisor has handed over, if there is one."""
    if handover.local < 0:
        return {}
    return {NAME: ListenerPort(NAME, Role.SUBMISSION, None, implicit_tls=False, mechanisms=(), local=True)}


def local_socket(handover: Handover) -> dict[str, list[socket.socket]]:
    """That socket, by the name of its listener."""
    return {NAME: [socket.socket(fileno=handover.local)]} if handover.local >= 0 else {}


def user_number(name: str) -> int | None:
    """The uid of a user by name or number; None if this machine does not know the name."""
    if name.isdigit():
        return int(name)
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        return None


def user_name(uid: int) -> str:
    """The name of a uid, or its number."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def local_problems(settings: Settings) -> list[Problem]:
    """What speaks against the socket's table on this machine."""
    chosen, problems = settings.sendmail, []
    if chosen.users and chosen.socket is None:
        problems.append(settings.problem("sendmail.users", 'is given without a socket: add socket = "run/sendmail.sock"'))
    seen: dict[int, str] = {}
    for name in chosen.users:
        uid = user_number(name)
        if uid is None:
            text = f"this machine has no user {name!a}: make it, write its number, or leave it out"
            problems.append(settings.problem("sendmail.users", text))
        elif seen.setdefault(uid, name) != name:
            text = f"{name!a} and {seen[uid]!a} are the same user: keep one"
            problems.append(settings.problem("sendmail.users", text))
    return problems


def bind_local(path: Path, owner: tuple[int, int] | None) -> socket.socket:
    """A listening socket that every user of this machine may open; OSError if it cannot be made.

    It is addressed by way of its directory's descriptor, because a path may have at most 108 bytes.
    """
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    if owner is not None and os.geteuid() == 0:
        os.chown(path.parent, *owner)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        short = f"/proc/self/fd/{directory}/{path.name}"
        _remove_stale(path)
        sock.bind(short)
        path.chmod(0o666)  # the kernel says who connects, and the table who may send
        if owner is not None and os.geteuid() == 0:
            os.chown(path, *owner)
        sock.listen(_BACKLOG)
    except OSError:
        sock.close()
        raise
    finally:
        os.close(directory)
    sock.setblocking(False)
    return sock


def _remove_stale(path: Path) -> None:
    """A socket of an earlier run; never something else."""
    if path.is_socket():
        path.unlink()
