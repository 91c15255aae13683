"""Who gives a command: the user behind the control socket, or of this process. The journal names them."""

from __future__ import annotations

import os
import pwd
import socket
import struct
from contextvars import ContextVar

_PEER = struct.Struct("3i")  # struct ucred: pid, uid, gid
_current: ContextVar[str] = ContextVar("operator")


def user_name(uid: int) -> str:
    """The name of a user of this machine, or ``uid N``."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def peer_name(sock: socket.socket) -> str:
    """Who is at the other end of a Unix socket, by the kernel's word (unix(7), SO_PEERCRED)."""
    _, uid, _ = _PEER.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
    return user_name(uid)


def act_as(name: str) -> None:
    """From now on, in this task, ``operator`` is ``name``."""
    _current.set(name)


def operator() -> str:
    """Who gave the command that runs now."""
    return _current.get(None) or user_name(os.getuid())
