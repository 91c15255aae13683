"""An authoritative NSD of our own on a random port of loopback, from zone files as text. Needs Debian's package ``nsd``."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from postlatch.testing.peers.ports import end, free_port, listens, wait_until

_SERVER = """\
server:
  ip-address: 127.0.0.1@{port}
  port: {port}
  username: ""
  chroot: ""
  zonesdir: "{folder}"
  database: ""
  pidfile: "{folder}/nsd.pid"
  zonelistfile: "{folder}/zone.list"
  xfrdfile: "{folder}/xfrd.state"
  xfrdir: "{folder}"
  logfile: "{folder}/log"
  server-count: 1
  verbosity: 1
remote-control:
  control-enable: no
"""
_ZONE = """\
zone:
  name: "{name}"
  zonefile: "{name}.zone"
"""


class Nsd:
    """``with Nsd(folder, {"example.com": "example.com. 60 IN SOA …"}) as server``: it answers on ``server.port``."""

    def __init__(self, folder: Path, zones: Mapping[str, str]) -> None:
        self.port = free_port()
        self.zones = tuple(zones)
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in zones.items():
            (folder / f"{name}.zone").write_text(text)
        config = _SERVER.format(port=self.port, folder=folder) + "".join(_ZONE.format(name=name) for name in zones)
        self._config = folder / "nsd.conf"
        self._config.write_text(config)

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            ["/usr/sbin/nsd", "-d", "-c", self._config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            self._wait()
        except BaseException:
            end(self._process)
            raise
        return self

    def _wait(self) -> None:
        wait_until(lambda: self._process.poll() is not None or listens(self.port), 20, "NSD to listen")
        if self._process.poll() is not None:
            raise RuntimeError(f"nsd ended: {self.log()}")

    def __exit__(self, *_: object) -> None:
        end(self._process)

    def log(self) -> str:
        """What it has logged."""
        path = self._folder / "log"
        return path.read_text("utf-8", "replace") if path.exists() else ""


def check_zone(folder: Path, name: str, text: str) -> subprocess.CompletedProcess[str]:
    """What ``nsd-checkzone`` says of a zone file."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}.checked"
    file.write_text(text)
    return subprocess.run(["/usr/sbin/nsd-checkzone", name, str(file)], capture_output=True, text=True, check=False, timeout=30)
