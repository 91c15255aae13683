"""A small Internet: signed zones, a resolver that validates, a Postfix with a good and a bad address, and one web server.

All of it is in a network namespace, so that the addresses are public ones, and the ports those of mail.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import http.server
import json
import os
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import dns.dnssec
import dns.zone
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from postlatch.app.posture import posture
from postlatch.testing.peers.network import Network
from postlatch.testing.peers.nsd import Nsd
from postlatch.testing.peers.postfix import Postfix
from postlatch.testing.peers.unbound import Unbound

GOOD, WEAK, DEAD = "example.com", "weak.example", "dead.example"
POLICY = f"version: STSv1\r\nmode: enforce\r\nmx: mx.{GOOD}\r\nmax_age: 1209600\r\n"
_PROGRAM = """\
import json, sys
from postlatch.app.posture import posture
answer = posture(None, json.loads(sys.argv[1]))
print(json.dumps([answer.status, answer.data, answer.message]))
"""
_NEW = "!SSLv2,!SSLv3,!TLSv1,!TLSv1.1"  # on port 465 TLS is mandatory, which has a setting of its own
_MODERN = f"-o smtpd_tls_protocols={_NEW} -o smtpd_tls_mandatory_protocols={_NEW} -o smtpd_tls_exclude_ciphers=aNULL,kRSA,3DES"
_ANCIENT = (
    "-o smtpd_tls_protocols=!SSLv2 -o smtpd_tls_ciphers=low -o tls_preempt_cipherlist=no"
    " -o { tls_low_cipherlist = ALL:COMPLEMENTOFALL:@SECLEVEL=0 }"
)


class Lab(NamedTuple):
    """It asks the command for a domain, and gives its status and its data."""

    network: Network
    folder: Path
    resolver: str

    def ask(self, domain: str, **arguments: Any) -> tuple[int, dict[str, Any], float]:
        """With the seconds that it took. Only the authorities of this machine are trusted, not that of the lab."""
        began = time.monotonic()
        with self.network.inside():
            answer = posture(None, self._given(domain, arguments))
        assert not answer.message
        return answer.status, answer.data, time.monotonic() - began

    def ask_trusting(self, domain: str) -> tuple[int, dict[str, Any]]:
        """In a process of its own, to which the lab's authority is the system's. A warning is an error."""
        environment = {k: v for k, v in os.environ.items() if k != "POSTLATCH_CONFIG"}
        environment["SSL_CERT_FILE"] = str(self.folder / "ca.pem")
        program = [sys.executable, "-W", "error", "-c", _PROGRAM, json.dumps(self._given(domain, {}))]
        with self.network.inside():
            done = subprocess.run(
                program, capture_output=True, text=True, check=False, cwd=self.folder, env=environment, timeout=60
            )
        assert done.returncode == 0, done.stderr
        status, data, message = json.loads(done.stdout)
        assert not message
        return status, data

    def _given(self, domain: str, arguments: dict[str, Any]) -> dict[str, Any]:
        return {"domain": domain, "resolver": self.resolver, "time_limit": 20, "dnsbl": ["bl.example"], **arguments}


class Paper(NamedTuple):
    """A certificate and its key as files, and its TLSA records."""

    file: Path
    key: Path
    digest: str
    anchor: str


def _certificate(
    folder: Path, name: str, hosts: list[str], ca: tuple[x509.Certificate, Any] | None, key: Any, days: int
) -> Any:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    issuer, signer = (ca[0].subject, ca[1]) if ca else (subject, key)
    start = datetime.now(UTC) - timedelta(days=100)
    built = x509.CertificateBuilder(
        issuer, subject, key.public_key(), x509.random_serial_number(), start, datetime.now(UTC) + timedelta(days=days)
    ).add_extension(x509.BasicConstraints(ca=not hosts, path_length=None), critical=True)
    if hosts:
        names = x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts])
        built = built.add_extension(names, critical=False)
    signed = built.sign(signer, hashes.SHA256())
    (folder / f"{name}.pem").write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    (folder / f"{name}.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return signed


def _papers(folder: Path) -> tuple[Paper, Paper]:
    ca_key = ec.generate_private_key(ec.SECP256R1())
    ca = _certificate(folder, "ca", [], None, ca_key, 100)
    found = []
    for name, hosts, issuer, key, days in (
        ("good", [f"mx.{GOOD}", f"mta-sts.{GOOD}"], (ca, ca_key), ec.generate_private_key(ec.SECP256R1()), 90),
        ("weak", ["other.example"], None, rsa.generate_private_key(65_537, 1024), -3),
    ):
        signed = _certificate(folder, name, hosts, issuer, key, days)
        if issuer is not None:
            with (folder / f"{name}.pem").open("ab") as file:
                file.write((folder / "ca.pem").read_bytes())
        public = serialization.PublicFormat.SubjectPublicKeyInfo
        digest = hashlib.sha256(signed.public_key().public_bytes(serialization.Encoding.DER, public)).hexdigest()
        anchor = hashlib.sha256(ca.public_bytes(serialization.Encoding.DER)).hexdigest()
        found.append(Paper(folder / f"{name}.pem", folder / f"{name}.key", digest, anchor))
    return found[0], found[1]


def _zones(good: Paper) -> tuple[dict[str, str], list[str]]:
    key = rsa.generate_private_key(65_537, 2048).public_key()
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    dkim = base64.b64encode(der).decode()
    records = f"""\
{GOOD}. 60 IN MX 10 mx.{GOOD}.
{GOOD}. 60 IN TXT "v=spf1 mx -all"
{GOOD}. 60 IN CAA 0 issue "ca.example"
mx.{GOOD}. 60 IN A 11.22.33.44
mx.{GOOD}. 60 IN AAAA 2a99::25
_25._tcp.mx.{GOOD}. 60 IN TLSA 3 1 1 {good.digest}
_25._tcp.mx.{GOOD}. 60 IN TLSA 2 0 1 {good.anchor}
_dmarc.{GOOD}. 60 IN TXT "v=DMARC1; p=reject; rua=mailto:d@{GOOD}"
mail._domainkey.{GOOD}. 60 IN TXT "v=DKIM1; k=rsa; p={dkim[:200]}" "{dkim[200:]}"
_mta-sts.{GOOD}. 60 IN TXT "v=STSv1; id=1;"
mta-sts.{GOOD}. 60 IN A 11.22.33.44
_smtp._tls.{GOOD}. 60 IN TXT "v=TLSRPTv1; rua=mailto:t@{GOOD}"
"""
    weak = f"""\
{WEAK}. 60 IN MX 10 mx.{WEAK}.
{WEAK}. 60 IN TXT "v=spf1 ip4:11.0.0.0/8 ?all"
mx.{WEAK}. 60 IN A 11.22.33.55
_25._tcp.mx.{WEAK}. 60 IN TLSA 3 1 1 {"00" * 32}
_dmarc.{WEAK}. 60 IN TXT "v=DMARC1; p=none; pct=10"
"""
    first, second = _signed(GOOD, records), _signed(WEAK, weak)
    zones = {
        GOOD: first[0],
        WEAK: second[0],
        "33.22.11.in-addr.arpa": _text("33.22.11.in-addr.arpa", f"44.33.22.11.in-addr.arpa. 60 IN PTR mx.{GOOD}.\n"),
        "9.9.a.2.ip6.arpa": _text("9.9.a.2.ip6.arpa", f"5.2.{'0.' * 26}9.9.a.2.ip6.arpa. 60 IN PTR mx.{GOOD}.\n"),
        "bl.example": _text(
            "bl.example", "2.0.0.127.bl.example. 60 IN A 127.0.0.2\n55.33.22.11.bl.example. 60 IN A 127.0.0.3\n"
        ),
    }
    return zones, [first[1], second[1]]


def _text(name: str, records: str) -> str:
    return (
        f"{name}. 60 IN SOA ns.{name}. hostmaster.{name}. 1 3600 600 86400 60\n"
        f"{name}. 60 IN NS ns.{name}.\nns.{name}. 60 IN A 127.0.0.1\n{records}"
    )


def _signed(name: str, records: str) -> tuple[str, str]:
    """The zone as text, and the DS record of its key."""
    zone = dns.zone.from_text(_text(name, records), origin=f"{name}.", relativize=False)
    private = ec.generate_private_key(ec.SECP256R1())
    key = dns.dnssec.make_dnskey(private.public_key(), 13, flags=257)
    start = int(time.time()) - 3600
    dns.dnssec.sign_zone(zone, keys=[(private, key)], inception=start, expiration=start + 86_400, dnskey_ttl=60)
    anchor = dns.dnssec.make_ds(f"{name}.", key, "SHA256")
    return zone.to_text(relativize=False, want_origin=False), f"{name}. DS {anchor.to_text()}"


def _services(good: Paper, weak: Paper) -> str:
    modern = f"{_MODERN} -o smtpd_tls_chain_files={good.key},{good.file} -o myhostname=mx.{GOOD}"
    ancient = f"{_ANCIENT} -o smtpd_tls_chain_files={weak.key},{weak.file} -o myhostname=nonsense.test"
    return (
        f"11.22.33.44:25 inet n - n - 20 smtpd {modern}\n"
        f"[2a99::25]:25 inet n - n - 20 smtpd {modern}\n"
        f"11.22.33.44:587 inet n - n - 20 smtpd {modern}\n"
        f"11.22.33.44:465 inet n - n - 20 smtpd {modern} -o smtpd_tls_wrappermode=yes\n"
        f"11.22.33.55:25 inet n - n - 20 smtpd {ancient}\n"
    )


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        """The policy, at whatever path."""
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(POLICY)))
        self.end_headers()
        self.wfile.write(POLICY.encode())

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextmanager
def _web(good: Paper) -> Iterator[None]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(good.file, good.key)
    server = http.server.ThreadingHTTPServer(("11.22.33.44", 443), _Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=functools.partial(server.serve_forever, poll_interval=0.02))
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def lab(folder: Path) -> Iterator[Lab]:
    """All of it."""
    folder.chmod(0o755)
    good, weak = _papers(folder)
    zones, anchors = _zones(good)
    with ExitStack() as stack:
        network = stack.enter_context(Network())
        stack.enter_context(network.inside())
        for address in ("11.22.33.44/32", "11.22.33.55/32", "2a99::25/128"):
            nodad = ["nodad"] if ":" in address else []
            subprocess.run(["ip", "address", "add", address, "dev", "lo", *nodad], check=True)
        nsd = stack.enter_context(Nsd(folder / "nsd", zones))
        # Nobody answers for the dead one: its name server has gone.
        served = dict.fromkeys(zones, nsd.port) | {DEAD: 9}
        unbound = stack.enter_context(Unbound(folder / "unbound", served, anchors))
        main = {"inet_interfaces": "all", "inet_protocols": "all", "smtpd_tls_security_level": "may"}
        stack.enter_context(Postfix(folder / "postfix", main, 20, services=_services(good, weak)))
        stack.enter_context(_web(good))
        yield Lab(network, folder, f"127.0.0.1:{unbound.port}")
