"""Mail programs that cannot be installed beside Postfix: each runs in an overlay of / in which the packages are unpacked.

The overlay, and a process space of its own, end with the program, and the program with this one. The network is this machine's.
Needs root, unshare and setpriv.
"""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from audit_lab.values import Absent
from postlatch.testing.peers.haraka import peers_folder
from postlatch.testing.peers.ports import end, listens, wait_until

# Debian's /lib is a link: tar unpacks through it. The users are those that the packages' own scripts would make.
_ENTER: Final = """\
set -e
mount -t tmpfs -o mode=755 tmpfs {room}
mkdir {room}/upper {room}/work {room}/all
mount -t overlay -o lowerdir=/,upperdir={room}/upper,workdir={room}/work overlay {room}/all
tar -C {packages} -c . | tar -C {room}/all -x --keep-directory-symlink
mount --bind /dev {room}/all/dev
mount -t proc proc {room}/all/proc
mkdir -p {room}/all{files}
mount --bind {files} {room}/all{files}
number=990
for user in Debian-exim opensmtpd opensmtpq smmta smmsp alice; do
  number=$((number + 1))
  grep -q "^$user:" {room}/all/etc/passwd ||
    echo "$user:x:$number:$number::/nonexistent:/usr/sbin/nologin" >>{room}/all/etc/passwd
  grep -q "^$user:" {room}/all/etc/group || echo "$user:x:$number:" >>{room}/all/etc/group
done
chroot {room}/all /bin/sh -e -c {script}
"""


def unpacked(package: str) -> Path:
    """Where ``install.sh`` has unpacked it."""
    folder = peers_folder() / package / "root"
    if not folder.exists():
        raise Absent(f"benchmarks/audit_lab/install.sh unpacks {package}")
    return folder


@contextmanager
def inside(package: str, folder: Path, script: str, port: int) -> Iterator[Path]:
    """Run a shell script that ends in ``exec`` of a server in the foreground, until it listens. ``folder`` is there too.

    Gives its log.
    """
    room, files = folder / "room", folder / "files"
    room.mkdir()
    files.mkdir(exist_ok=True)
    log = folder / "log"
    names = {"room": room, "files": files, "packages": unpacked(package), "script": script}
    enter = _ENTER.format(**{name: shlex.quote(str(value)) for name, value in names.items()})
    with log.open("wb") as output:
        process = subprocess.Popen([*_ALONE, "sh", "-c", enter], stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        wait_until(lambda: process.poll() is not None or listens(port), 60, f"{package} to listen")
        if process.poll() is not None:
            raise RuntimeError(f"{package} ended: {log.read_text('utf-8', 'replace')[-2000:]}")
        yield log
    finally:
        end(process)


_ALONE: Final[Sequence[str]] = (
    "setpriv",
    "--pdeathsig",
    "KILL",
    "unshare",
    "--mount",
    "--pid",
    "--fork",
    "--kill-child=SIGKILL",
)
