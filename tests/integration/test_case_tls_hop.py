"""Between us and the next hop sits somebody who meddles: STARTTLS stripped, octets slipped in, a certificate of its own."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from case_support import recipients, relayed, settled
from tls_hop import TlsHop

from postlatch.testing.peers.fault_proxy import Fault, FaultProxy, Harm
from postlatch.testing.running import BASE, LOOPBACK_RIGHT, RunningRelay

USER, SECRET = "relay@example.com", "the smarthost's own secret"


@pytest.fixture(scope="module")
def hop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsHop]:
    """A next hop whose certificate nobody knows."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("hop.example", "127.0.0.1").configure_cert(context)
    with TlsHop(context) as running:
        yield running


# name -> what is done to what the next hop says
FAULTS = {
    "plain": None,
    "stripped": Fault(Harm.REPLACE, behind=b"250 STARTTLS\r\n", data=b"250 8BITMIME\r\n"),
    "refused": Fault(Harm.REPLACE, behind=b"220 2.0.0 go ahead", data=b"454 4.7.0 not now please"),
    "injected": Fault(Harm.INJECT, behind=b"220 2.0.0 go ahead\r\n", data=b"250-hop.example\r\n250 AUTH PLAIN\r\n"),
    "one-octet": Fault(Harm.INJECT, behind=b"220 2.0.0 go ahead\r\n", data=b"2"),
    "cut": Fault(Harm.CUT, behind=b"220 2.0.0 go ahead\r\n"),
    "garbled": Fault(Harm.INJECT, behind=b"220 2.0.0 go ahead\r\n", data=b"this is no TLS record at all\r\n"),
}


def wanted(fault: str, level: str) -> str:
    """What must become of mail on this way: certificates are nobody's business but of `verify`."""
    if level == "verify":
        return "deferred"
    if level == "opportunistic" and fault in {"plain", "stripped"}:
        return "delivered"
    if level == "required" and fault == "plain":
        return "delivered"
    return "deferred" if level == "required" else ""  # opportunistic, and the handshake fails: in plaintext, or later


def test_demanded_tls_is_never_done_without_and_what_is_slipped_in_is_never_read(tmp_path: Path, hop: TlsHop) -> None:
    """Mail waits, and the queue says that TLS failed; nothing of it is sent in plaintext.

    Every fault under every level of `tls`. Where nothing is demanded, mail may leave in plaintext, on another connection.
    """
    proxies = {name: FaultProxy(hop.port) for name in FAULTS}
    routes, addresses = [], {}
    for name, proxy in proxies.items():
        proxy.to_client = FAULTS[name]
        for level in ("opportunistic", "required", "verify"):
            domain = f"{name}.{level}.example"
            addresses[f"someone@{domain}"] = wanted(name, level)
            routes.append(f'"{domain}" = {{ to = "smtp://127.0.0.1:{proxy.port}", tls = "{level}" }}')
    config = BASE + LOOPBACK_RIGHT + "\n[outbound.routes]\n" + "\n".join(routes) + "\n"
    heard = len(hop.heard)
    for proxy in proxies.values():
        proxy.__enter__()
    try:
        with RunningRelay(tmp_path, config) as relay:
            for address in addresses:
                relayed(relay, address, address)
            for state in ("delivered", "deferred"):
                settled(relay, [address for address, wish in addresses.items() if wish == state], state, 90)
            found = recipients(relay)
    finally:
        for proxy in proxies.values():
            proxy.__exit__()
    assert all(proxies[name].struck for name in ("injected", "one-octet", "cut", "garbled"))
    told = {
        address: row.last_reply for address, row in found.items() if address.endswith((".required.example", ".verify.example"))
    }
    assert all(
        "TLS" in text or "STARTTLS" in text or "certificate" in text
        for address, text in told.items()
        if addresses[address] == "deferred"
    ), told
    plaintext = [line.line for line in hop.heard[heard:] if not line.tls]
    assert not any(level in line for line in plaintext for level in ("required.example", "verify.example"))


@pytest.mark.parametrize("fault", ["plain", "stripped", "injected"])
def test_a_password_is_not_sent_to_a_smarthost_that_cannot_prove_who_it_is(tmp_path: Path, hop: TlsHop, fault: str) -> None:
    """Mail for the smarthost waits, and the password stays here: a self-signed certificate, no STARTTLS, octets slipped in."""
    secret = tmp_path / "secret"
    secret.write_text(SECRET + "\n")
    secret.chmod(0o600)
    heard = len(hop.heard)
    with FaultProxy(hop.port) as proxy:
        proxy.to_client = FAULTS[fault]
        outbound = (
            f'\n[outbound]\nsmarthost = "smtp://127.0.0.1:{proxy.port}"\nusername = "{USER}"\n'
            f'password_file = "{secret}"\ntls = "verify"\n'
        )
        with RunningRelay(tmp_path / "relay", BASE + LOOPBACK_RIGHT + outbound) as relay:
            relayed(relay, "secret", "someone@elsewhere.example")
            settled(relay, ["someone@elsewhere.example"], "deferred")
            assert SECRET not in relay.read_log()
        assert proxy.connections > 0
    said = [line.line for line in hop.heard[heard:]]
    assert said
    assert not [line for line in said if line.upper().startswith(("AUTH", "MAIL", "RCPT", "DATA"))]


def test_a_password_is_sent_where_the_certificate_is_that_of_the_smarthost(tmp_path: Path) -> None:
    """The control of the test above: the same smarthost with a certificate that this machine trusts gets login and mail."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    trusted = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(trusted))
    secret = tmp_path / "secret"
    secret.write_text(SECRET + "\n")
    secret.chmod(0o600)
    with TlsHop(context) as hop:
        outbound = (
            f'\n[outbound]\nsmarthost = "smtp://127.0.0.1:{hop.port}"\nusername = "{USER}"\n'
            f'password_file = "{secret}"\ntls = "verify"\n'
        )
        relay = RunningRelay(tmp_path / "relay", BASE + LOOPBACK_RIGHT + outbound)
        relay.start(prefix=("env", f"SSL_CERT_FILE={trusted}"))
        try:
            relayed(relay, "welcome", "someone@elsewhere.example")
            settled(relay, ["someone@elsewhere.example"], "delivered")
        finally:
            relay.stop()
        assert len(hop.messages) == 1
        assert [heard.tls for heard in hop.lines("AUTH")] == [True]
        assert all(heard.tls for heard in hop.heard if not heard.line.startswith(("EHLO", "STARTTLS")))
