"""OpenDMARC's milter, and Debian's policy service for SPF, for a Postfix of a test.

Need Debian's opendmarc and postfix-policyd-spf-python, and root.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Self

from postlatch.testing.peers.own_dns import with_resolver
from postlatch.testing.peers.ports import end, free_port, listens, wait_until

_PROGRAM = "/usr/sbin/opendmarc"
_SUFFIXES = "/usr/share/publicsuffix/public_suffix_list.dat"


class OpenDmarcMilter:
    """``with OpenDmarcMilter(folder, resolver="127.0.0.9", trusted="opendkim.test") as peer: peer.milter``.

    It believes the DKIM results that ``trusted`` has written, checks SPF itself, refuses nothing, and writes its own
    Authentication-Results as ``opendmarc.test``.
    """

    def __init__(self, folder: Path, *, resolver: str, trusted: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.milter = f"inet:127.0.0.1:{self.port}"
        self._prefix = with_resolver(folder, resolver)
        ignored = folder / "ignored"
        ignored.write_text("192.0.2.1\n")  # by default it lets pass what comes from loopback
        settings = {
            "Socket": f"inet:{self.port}@127.0.0.1",
            "PidFile": str(folder / "pid"),
            "Syslog": "false",
            "AuthservID": "opendmarc.test",
            "TrustedAuthservIDs": trusted,
            "IgnoreHosts": str(ignored),
            "RejectFailures": "false",
            "SPFIgnoreResults": "true",
            "SPFSelfValidate": "true",
            "PublicSuffixList": _SUFFIXES,
        }
        self._config = folder / "opendmarc.conf"
        self._config.write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        command = [*self._prefix, _PROGRAM, "-f", "-c", str(self._config)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(lambda: listens(self.port), 20, "OpenDMARC to listen")
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            end(self._process)


def policyd_spf(folder: Path) -> tuple[str, dict[str, str]]:
    """The line for master.cf, and the settings for main.cf, of the policy service for SPF: it checks loopback too."""
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "policyd-spf.conf"
    lines = (
        "debugLevel = 0",
        "TestOnly = 1",
        "HELO_reject = False",
        "Mail_From_reject = Fail",
        "skip_addresses = 192.0.2.1/32",
    )
    config.write_text("\n".join(lines) + "\n")
    config.chmod(0o644)
    line = f"policyd-spf unix - n n - 0 spawn user=nobody argv=/usr/bin/policyd-spf {config}\n"
    checks = "check_policy_service unix:private/policyd-spf, permit"
    return line, {"smtpd_recipient_restrictions": checks, "policyd-spf_time_limit": "3600"}
