"""A Haraka of our own that relays for loopback to one next hop. It is installed by ``benchmarks/install_peers.sh``."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Self

from postlatch.testing.peers.ports import end, free_port, listens, wait_until


def peers_folder() -> Path:
    """Where ``benchmarks/install_peers.sh`` puts programs that are no Debian packages."""
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(os.environ.get("POSTLATCH_PEERS") or Path(cache) / "postlatch-peers")


def _program() -> Path:
    return peers_folder() / "haraka" / "node_modules" / "Haraka" / "bin" / "haraka"


class Haraka:
    """``with Haraka(folder, "elsewhere.example", sink.port) as peer: peer.port``. ``deliver=False`` keeps its mail."""

    @staticmethod
    def version() -> str:
        """The version that is installed, or nothing."""
        file = peers_folder() / "haraka" / "version"
        return file.read_text().strip() if file.exists() else ""

    def __init__(self, folder: Path, domain: str, next_hop: int, *, deliver: bool = True) -> None:
        self.port = free_port()
        self._folder = folder
        (folder / "queue").mkdir(parents=True)
        route = json.dumps({"action": "continue", "nexthop": f"127.0.0.1:{next_hop}"})
        files = {
            "me": "haraka.test",
            "plugins": "relay",
            "smtp.ini": f"listen=127.0.0.1:{self.port}\nnodes=0\n",
            "relay.ini": "[relay]\nacl=true\nforce_routing=true\n",
            "relay_acl_allow": "127.0.0.0/8",
            "relay_dest_domains.ini": f"[domains]\n{domain}={route}\n",
            "outbound.ini": f"local_mx_ok=true\nenable_tls=false\ndisabled={'false' if deliver else 'true'}\n",
            "log.ini": "level=notice\n",
        }
        shutil.copytree(_program().parents[1] / "config", folder / "config")
        for name, text in files.items():
            (folder / "config" / name).write_text(text + "\n")

    def __enter__(self) -> Self:
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(["node", _program(), "-c", self._folder], stdout=log, stderr=log, cwd=self._folder)
        wait_until(lambda: listens(self.port), 30, "Haraka to listen")
        return self

    def __exit__(self, *_: object) -> None:
        end(self._process)
