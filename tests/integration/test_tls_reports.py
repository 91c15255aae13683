"""A relay that goes straight to mail hosts by port 25 counts how TLS fared there, for its reports (RFC 8460)."""

from __future__ import annotations

from pathlib import Path

from case_support import HERE, THERE, networks, relayed, settled
from running_support import reading

from postlatch.testing.peers.name_server import NameServer
from postlatch.testing.running import BASE, LOOPBACK_RIGHT, RunningRelay

ZONE = {"good.example": {"MX": ["10 mx.good.example."]}, "mx.good.example": {"A": [THERE]}}
ONLY_FOUR = BASE.replace('["127.0.0.1:0", "[::1]:0"]', '"127.0.0.1:0"')


def test_connections_to_mail_hosts_are_counted_and_those_of_a_route_are_not(tmp_path: Path) -> None:
    with networks() as made, made.here.inside(), NameServer(ZONE) as names:
        route = f'[outbound.routes."partner.example"]\nto = "smtp://{THERE}:25"\n'
        config = (
            f'{ONLY_FOUR}{LOOPBACK_RIGHT}\n[reports]\nsend = true\n[outbound]\nresolver = ["127.0.0.1:{names.port}"]\n{route}'
        )
        with RunningRelay(tmp_path, config) as relay:
            for number, recipient in enumerate(("bob@good.example", "bob@good.example", "eve@partner.example")):
                relayed(relay, f"token{number}", recipient)
                settled(relay, [recipient], "delivered")
        with reading(relay.data / "postlatch.db") as connection:
            rows = connection.execute("SELECT domain, result, host, address, local, reason, sessions FROM tls_seen").fetchall()
    assert rows == [("good.example", "starttls-not-supported", "mx.good.example", THERE, HERE, "", 1)]
    assert len(made.sink.subjects) == 3
