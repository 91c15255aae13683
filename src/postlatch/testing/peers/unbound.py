"""A resolving, validating Unbound of our own on a random port of loopback. Needs Debian's package ``unbound``."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from postlatch.testing.peers.ports import end, free_port, listens, wait_until

# Whatever is not one of the stub zones is answered with NXDOMAIN here, so no question ever leaves this machine.
_SERVER = """\
server:
  interface: {address}
  port: {port}
  do-ip6: no
  do-daemonize: no
  username: ""
  chroot: ""
  directory: "{folder}"
  pidfile: ""
  use-syslog: no
  logfile: "{folder}/log"
  verbosity: 1
  val-log-level: 2
  num-threads: 1
  cache-min-ttl: {ttl}
  access-control: 127.0.0.0/8 allow
  do-not-query-localhost: no
  module-config: "validator iterator"
  local-zone: "." static
{zones}
remote-control:
  control-enable: no
{stubs}
"""


class Unbound:
    """``with Unbound(folder, {"example.com": port}, anchors=["example.com. DS …"]) as resolver``: asks stub zones at ports.

    A zone with an anchor (a DS record) is validated; the others are taken as they come. ``address`` and ``port`` are for
    programs that know no other port than 53; ``authority`` is where the stub zones are served; answers are kept for at least
    ``least_ttl`` seconds.
    """

    def __init__(
        self,
        folder: Path,
        zones: Mapping[str, int],
        anchors: Sequence[str] = (),
        *,
        address: str = "127.0.0.1",
        port: int = 0,
        authority: str = "127.0.0.1",
        least_ttl: int = 0,
    ) -> None:
        self.port = port or free_port()
        self._address = address
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        lines = [f'  local-zone: "{name}." transparent' for name in zones]
        lines += [f'  trust-anchor: "{anchor}"' for anchor in anchors]
        stubs = "".join(f'stub-zone:\n  name: "{name}"\n  stub-addr: {authority}@{port}\n' for name, port in zones.items())
        self._config = folder / "unbound.conf"
        self._config.write_text(
            _SERVER.format(port=self.port, address=address, ttl=least_ttl, folder=folder, zones="\n".join(lines), stubs=stubs)
        )

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            ["/usr/sbin/unbound", "-d", "-c", self._config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            self._wait()
        except BaseException:
            end(self._process)
            raise
        return self

    def _wait(self) -> None:
        wait_until(lambda: self._process.poll() is not None or listens(self.port, self._address), 20, "Unbound to listen")
        if self._process.poll() is not None:
            raise RuntimeError(f"unbound ended: {self.log()}")

    def __exit__(self, *_: object) -> None:
        end(self._process)

    def log(self) -> str:
        """What it has logged."""
        path = self._folder / "log"
        return path.read_text("utf-8", "replace") if path.exists() else ""
