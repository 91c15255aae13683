"""Next hops for the table of outbound TLS: a Postfix with a certificate of each kind, name servers, policy servers."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import ssl
import threading
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

POLICY_SERVER = "11.22.33.80"
UNTRUSTED_SERVER = "11.22.33.81"
ADDRESSES = {
    name: f"11.22.33.{number}"
    for number, name in enumerate(
        ("good", "unknown", "expired", "misnamed", "none", "below", "below-expired", "below-misnamed"), 101
    )
}
NAMES = ("*.signed.example", "*.plain.example", "*.bogus.example")
_SERVICE = """\
{address}:25 inet n - n - - smtpd
  -o smtpd_tls_chain_files={file}
  -o smtpd_tls_security_level={level}
"""
POSTFIX = {
    "inet_interfaces": "all",
    "mynetworks": "0.0.0.0/0",
    "default_transport": "discard",
    "relay_transport": "discard",
    "smtpd_peername_lookup": "no",  # there is nobody to ask
}


class Certificates(NamedTuple):
    """PEM files with key and chain, by kind; ``trusted`` is the file of the authority that the relay knows."""

    files: Mapping[str, Path]
    trusted: Path
    known: trustme.CA
    below: trustme.CA

    def own(self, kind: str) -> x509.Certificate:
        """The server's own certificate."""
        text = self.files[kind].read_bytes()
        return x509.load_pem_x509_certificate(text[text.index(b"-----BEGIN CERTIFICATE") :])

    def tlsa(self, kind: str, usage: int = 3) -> str:
        """The record ``usage 1 1`` that fits a kind; of usage 2 for the authority that the relay does not know."""
        found = self.own(kind) if usage == 3 else x509.load_pem_x509_certificate(self.below.cert_pem.bytes())
        key = found.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return f"{usage} 1 1 {hashlib.sha256(key).hexdigest()}"


def certificates(folder: Path) -> Certificates:
    """Issue one of each kind."""
    folder.mkdir(parents=True, exist_ok=True)
    known, below = trustme.CA(), trustme.CA()
    past = datetime.now(UTC) - timedelta(days=2)
    issued = {
        "good": known.issue_cert(*NAMES),
        "unknown": trustme.CA().issue_cert("somebody.invalid.example"),
        "expired": known.issue_cert(*NAMES, not_before=past - timedelta(days=30), not_after=past),
        "misnamed": known.issue_cert("mx.elsewhere.example"),
        "below": below.issue_cert(*NAMES),
        "below-expired": below.issue_cert(*NAMES, not_before=past - timedelta(days=30), not_after=past),
        "below-misnamed": below.issue_cert("mx.elsewhere.example"),
    }
    files = {}
    for kind, certificate in issued.items():
        files[kind] = folder / f"{kind}.pem"
        chain = b"".join(blob.bytes() for blob in certificate.cert_chain_pems)
        authority = below.cert_pem.bytes() if kind.startswith("below") else b""
        files[kind].write_bytes(certificate.private_key_pem.bytes() + chain + authority)
    files["none"] = files["good"]
    trusted = folder / "authority.pem"
    known.cert_pem.write_to_path(str(trusted))
    return Certificates(files, trusted, known, below)


def services(found: Certificates) -> str:
    """Lines of master.cf: an address of its own for each kind."""
    return "".join(
        _SERVICE.format(address=address, file=found.files[kind], level="none" if kind == "none" else "may")
        for kind, address in ADDRESSES.items()
    )


class Answer(NamedTuple):
    """What the policy server of a domain says."""

    body: str
    status: int = 200
    kind: str = "text/plain"
    location: str = ""


@contextlib.contextmanager
def policy_server(address: str, context: ssl.SSLContext, answers: Mapping[str, Answer], asked: list[str]) -> Iterator[None]:
    """HTTPS on port 443: ``answers`` by domain. ``asked`` gets the domain of each question."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            domain = self.headers.get("Host", "").removeprefix("mta-sts.")
            asked.append(domain)
            answer = answers[domain] if self.path == "/.well-known/mta-sts.txt" else Answer("", 404)
            body = answer.body.encode()
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.kind)
            self.send_header("Content-Length", str(len(body)))
            if answer.location:
                self.send_header("Location", answer.location)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Not into the output of the tests."""

    class Server(http.server.ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: Any) -> None:
            """A client that does not like the certificate hangs up: that is what is tested."""

        def get_request(self) -> tuple[Any, Any]:
            sock, peer = super().get_request()
            return context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False), peer

    server = Server((address, 443), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def policy(mode: str, *hosts: str) -> Answer:
    """A whole policy."""
    lines = ["version: STSv1", f"mode: {mode}", *(f"mx: {host}" for host in hosts), "max_age: 86400"]
    return Answer("\r\n".join(lines) + "\r\n")
