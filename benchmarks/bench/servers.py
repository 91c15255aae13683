"""The servers that are measured, each in a folder of its own, durable and logging, with their guard rails on."""

from __future__ import annotations

import resource
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from postlatch.app.certificate import write_self_signed
from postlatch.testing.peers.postfix import Postfix
from postlatch.testing.running import RunningRelay

DOMAIN = "elsewhere.example"
SENDER = "alice@example.com"
RECIPIENT = f"bob@{DOMAIN}"
STRANGER = "eve@client.example"

# The limits are there and counted, and so high that they are not met.
_CONFIG = """\
hostname = "bench.postlatch.test"
data_dir = "data"

[tls]
certificate = "cert.pem"
key = "key.pem"

[[listeners]]
name = "mx"
address = "127.0.0.1:0"
role = "mx"

[[listeners]]
name = "submission"
address = "127.0.0.1:0"
role = "submission"

[[listeners]]
name = "relay"
address = "127.0.0.1:0"
role = "relay"

[domains."example.com"]
deliver = "maildir:data/mail"
recipients = ["alice"]

[[rights]]
name = "bench"
networks = ["127.0.0.1/32"]
listeners = ["relay"]
owner = "ops@example.com"
expires = 2099-12-31
senders = ["@example.com"]
masked = "the benchmark's own client on loopback"
limits = {{ messages = ["100000000/day", "1000000/minute"], recipients = ["100000000/day"] }}

[limits.account]
messages = ["1000000/minute", "100000000/day"]
recipients = ["1000000/hour", "100000000/day"]
new_recipients = ["1000000/day"]

[limits.client]
connections = 10000
commands = ["100000000/minute"]
auth_failures = ["1000/minute"]

[session]
errors = 1000

[accounts]
cache_seconds = {cache}

[outbound.routes]
"elsewhere.example" = "smtp://127.0.0.1:{next_hop}"

[alerts]
to = ["alice@example.com"]

[http]
address = "127.0.0.1:0"
"""


class Postlatch(RunningRelay):
    """``with Postlatch(folder, next_hop=sink.port) as relay: relay.port("relay")``. ``prefix`` goes before its command."""

    def __init__(self, folder: Path, *, next_hop: int, cache: int = 300, prefix: tuple[str, ...] = ()) -> None:
        super().__init__(folder, _CONFIG.format(next_hop=next_hop, cache=cache))
        self._prefix = prefix

    def __enter__(self) -> Self:
        return self.start(prefix=self._prefix)

    def relay_pid(self) -> int:
        """The process that speaks SMTP."""
        return self.children()["relay"]


def postfix(folder: Path, next_hop: int, settings: Mapping[str, str] | None = None, *, processes: int = 100) -> Postfix:
    """A Postfix that relays for loopback to ``next_hop``; ``settings`` come on top."""
    return Postfix(folder, {"relayhost": f"[127.0.0.1]:{next_hop}", **(settings or {})}, processes)


def submission_settings(socket: Path, folder: Path) -> dict[str, str]:
    """What makes of Postfix a submission server for one account, as strict as ours: TLS, login, its own sender only."""
    certificate, key = make_certificate(folder)
    return {
        "mynetworks": "",
        "smtpd_tls_security_level": "may",
        "smtpd_tls_auth_only": "yes",
        "smtpd_tls_cert_file": str(certificate),
        "smtpd_tls_key_file": str(key),
        "smtpd_sasl_auth_enable": "yes",
        "smtpd_sasl_type": "dovecot",
        "smtpd_sasl_path": str(socket),
        "smtpd_relay_restrictions": "permit_sasl_authenticated, reject",
        "smtpd_sender_login_maps": f"inline:{{ {SENDER}={SENDER} }}",
        "smtpd_sender_restrictions": "reject_authenticated_sender_login_mismatch",
        "smtpd_client_connection_count_limit": "1000",
    }


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate of the same kind (P-256) as the one that Postlatch is started with."""
    folder.mkdir(parents=True, exist_ok=True)
    certificate, key = folder / "cert.pem", folder / "key.pem"
    write_self_signed("postfix.test", certificate, key, time.time())
    return certificate, key


def many_descriptors() -> int:
    """Let this process, and those that it starts, open as many files as the system allows; how many."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most
