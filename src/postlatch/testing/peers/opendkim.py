"""OpenDKIM of our own: its test mode signs and checks messages without a mail server and a DNS, its milter serves Postfix.

Needs Debian's package opendkim.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from postlatch.testing.peers.ports import free_port, listens, wait_until

_PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
_SETTINGS = {
    "Background": "no",
    "Syslog": "no",
    "RequireSafeKeys": "no",
    "StrictTestMode": "yes",
    "AlwaysAddARHeader": "yes",
    "AuthservID": "opendkim.test",
    "MaximumSignaturesToVerify": "20",
}
_INSERTED = re.compile(rb"### INSHEADER: idx=\d+ hname='([^']*)' hvalue='(.*?)'\n", re.DOTALL)
_RESULT = re.compile(rb"\bdkim=([a-z]+)")
_AT_ONCE = 200  # files of one command line


class OpenDkim:
    """Signs and checks octets as ``opendkim -t`` does; what it writes is in ``folder``.

    Every line of a message must end in CRLF. Test mode reads every field as if one space stood behind its colon, which
    changes simple canonicalisation.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def verify(self, messages: Sequence[bytes], records: Mapping[str, str]) -> list[list[str]]:
        """For each message the results of its signatures from the top, such as ``pass``; TXT ``records`` by name."""
        keys = self._folder / "records"
        keys.write_text("".join(f"{name} {record}\n" for name, record in records.items()))
        fields = self._run({"Mode": "v", "TestPublicKeys": str(keys)}, messages)
        return [[word.decode("ascii") for word in _RESULT.findall(value)] for value in fields]

    def sign(
        self, messages: Sequence[bytes], domain: str, selector: str, pem: bytes, algorithm: str, canonicalisation: str
    ) -> list[bytes]:
        """The DKIM-Signature field of each message, with its CRLF. From must be of ``domain``."""
        key = self._folder / f"{selector}.pem"
        key.write_bytes(pem)
        key.chmod(0o600)
        values = {"Mode": "s", "Domain": domain, "Selector": selector, "KeyFile": str(key)}
        values |= {"SignatureAlgorithm": f"{algorithm}-sha256", "Canonicalization": canonicalisation}
        fields = self._run(values, messages)
        if not all(fields):
            raise RuntimeError(f"opendkim does not sign message {fields.index(b'')} of {len(messages)}")
        return [b"DKIM-Signature: " + value.replace(b"\n", b"\r\n") + b"\r\n" for value in fields]

    def _run(self, settings: Mapping[str, str], messages: Sequence[bytes]) -> list[bytes]:
        """The one field that it inserts into each message; ``b""`` where it gives up, as at one without From."""
        config = _write_config(self._folder / f"{settings['Mode']}.conf", settings)
        paths = [self._folder / f"message{number}" for number in range(len(messages))]
        for path, message in zip(paths, messages, strict=True):
            path.write_bytes(message)
        fields: list[bytes] = []
        while len(fields) < len(paths):
            batch = paths[len(fields) : len(fields) + _AT_ONCE]
            found = _test(config, batch)
            fields += found if len(found) == len(batch) else [*found, b""]  # it ends where it gives up
        return fields


def _test(config: Path, paths: Sequence[Path]) -> list[bytes]:
    command = [_program(), "-x", str(config), "-vv", "-t", ",".join(map(str, paths))]
    done = subprocess.run(command, capture_output=True, check=False, timeout=120)
    if b"mlfi_connect() returned" not in done.stderr:
        raise RuntimeError(f"opendkim -t: {done.stderr[-2000:]!r}")
    return [value for _, value in _INSERTED.findall(done.stdout)]


class OpenDkimMilter:
    """The milter on a port of the loopback: ``with OpenDkimMilter(folder, settings) as peer: peer.port``.

    ``settings`` are those of opendkim.conf(5), such as Mode, KeyTable or TestPublicKeys.
    """

    def __init__(self, folder: Path, settings: Mapping[str, str]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        values = {"Socket": f"inet:{self.port}@127.0.0.1", "PidFile": str(folder / "opendkim.pid"), **settings}
        self._config = _write_config(folder / "opendkim.conf", values)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def settings_for_postfix(self) -> dict[str, str]:
        """For main.cf: its SMTP server asks this milter, and mail is lost rather than passed on unsigned or unchecked."""
        milter = f"inet:127.0.0.1:{self.port}"
        return {"smtpd_milters": milter, "milter_default_action": "tempfail", "milter_protocol": "6"}

    def __enter__(self) -> Self:
        self._process = subprocess.Popen([_program(), "-f", "-x", str(self._config)], start_new_session=True)
        wait_until(lambda: listens(self.port), 20, "OpenDKIM to listen")
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(20)


def _program() -> str:
    return shutil.which("opendkim", path=_PATH) or "opendkim"


def _write_config(path: Path, settings: Mapping[str, str]) -> Path:
    path.write_text("".join(f"{name} {value}\n" for name, value in {**_SETTINGS, **settings}.items()))
    return path
