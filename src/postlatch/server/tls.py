"""TLS towards clients: what a handshake is given, renewed without a restart when its files change.

Handshakes begin with a context that lives as long as the relay and holds no certificate. Its callback puts the context of the
certificate in force in its place, so that a connection always knows which certificate it was shown: channel binding rests on
it (RFC 5929 section 4), and so does a change from an RSA key to an ECDSA key, after which one context would serve both.
"""

from __future__ import annotations

import contextlib
import ssl
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes

_RESUMED_BY = 2  # session tickets after a handshake; the default of OpenSSL
_STEPS = 10  # of a handshake in memory; it needs three


class CertificateError(Exception):
    """The certificate, key or authorities cannot be used; the message names the file and says what is wrong."""


class ServedContext(ssl.SSLContext):
    """The context of one certificate. ``binding`` is its ``tls-server-end-point``; None if it has none that is defined."""

    binding: bytes | None = None


def _base() -> ServedContext:
    context = ServedContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    return context


def make_context(certificate: Path, key: Path, client_ca: Path | None = None) -> ServedContext:
    """A server context: TLS 1.2 at least, no compression, no renegotiation. ``client_ca``: who vouches for clients."""
    context = _base()
    for path in (certificate, key):
        _readable(path)
    try:
        context.load_cert_chain(certificate, key)
    except ssl.SSLError as error:
        reason = error.reason or str(error)
        raise CertificateError(
            f"{certificate} and {key}: not a usable certificate chain and its private key in PEM ({reason})"
        ) from error
    if client_ca is not None:
        _readable(client_ca)
        try:
            context.load_verify_locations(client_ca)
        except ssl.SSLError as error:
            reason = error.reason or str(error)
            raise CertificateError(f"{client_ca}: not certificates of authorities in PEM ({reason})") from error
        context.verify_mode = ssl.CERT_OPTIONAL
    served = _served(context)
    context.binding = end_point(served) if served is not None else None
    return context


def _readable(path: Path) -> None:
    try:
        path.read_bytes()
    except OSError as error:
        raise CertificateError(f"{path}: cannot be read ({error.strerror})") from error


def _served(context: ssl.SSLContext) -> bytes | None:
    """The certificate that a client is shown, in DER: asked in a handshake in memory, as the file may have changed since."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    asking = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    asking.check_hostname, asking.verify_mode = False, ssl.CERT_NONE
    client = asking.wrap_bio(to_client, to_server)
    server = context.wrap_bio(to_server, to_client, server_side=True)
    try:
        for _ in range(_STEPS):
            with contextlib.suppress(ssl.SSLWantReadError):
                client.do_handshake()
                return client.getpeercert(binary_form=True)
            with contextlib.suppress(ssl.SSLWantReadError):
                server.do_handshake()
    except ssl.SSLError:
        pass
    return None


def end_point(certificate: bytes) -> bytes | None:
    """``tls-server-end-point`` of a certificate in DER (RFC 5929 section 4.1); None where its signature has no single hash."""
    try:
        algorithm = x509.load_der_x509_certificate(certificate).signature_hash_algorithm
    except (ValueError, UnsupportedAlgorithm):
        return None
    if algorithm is None:
        return None
    if isinstance(algorithm, hashes.MD5 | hashes.SHA1):
        algorithm = hashes.SHA256()
    digest = hashes.Hash(algorithm)
    digest.update(certificate)
    return digest.finalize()


@dataclass(slots=True)
class WatchedCertificate:
    """The files behind the contexts. ``refresh`` is called now and then; new handshakes use what it took up.

    ``context`` asks no client for a certificate; ``asking`` does, once there are authorities that vouch for clients.
    """

    certificate: Path
    key: Path
    client_ca: Path | None = None
    context: ssl.SSLContext = field(default_factory=_base)
    asking: ssl.SSLContext = field(default_factory=_base)
    _served: ssl.SSLContext = field(default_factory=_base)
    _stamp: tuple[tuple[int, int, int], ...] = ()

    @classmethod
    def load(cls, certificate: Path, key: Path, client_ca: Path | None = None) -> WatchedCertificate:
        """Read the files; CertificateError if they do not fit."""
        watched = cls(certificate, key, client_ca)
        watched._take_up(make_context(certificate, key, client_ca))
        watched._stamp = watched._current_stamp()
        for context in (watched.context, watched.asking):
            context.sni_callback = watched._choose
        return watched

    def for_clients(self, *, logging_in: bool) -> ssl.SSLContext:
        """The context for a listener, for as long as the relay lives."""
        return self.asking if logging_in else self.context

    def refresh(self) -> bool:
        """True if renewed files were taken up; CertificateError (once a change) if they are unusable: the old ones stay."""
        stamp = self._current_stamp()
        if stamp == self._stamp:
            return False
        self._stamp = stamp
        self._take_up(make_context(self.certificate, self.key, self.client_ca))
        return True

    def replace(self, other: WatchedCertificate) -> None:
        """Take up the files of ``other``, which have been tried already."""
        self.certificate, self.key, self.client_ca = other.certificate, other.key, other.client_ca
        self._stamp = other._stamp
        self._take_up(other._served)

    def _take_up(self, served: ssl.SSLContext) -> None:
        self._served = served
        asks = self.client_ca is not None
        self.asking.verify_mode = ssl.CERT_OPTIONAL if asks else ssl.CERT_NONE
        # A resumed session would bring a certificate that was judged by what stood in the files then.
        self.asking.num_tickets = 0 if asks else _RESUMED_BY
        if asks:
            self.asking.options |= ssl.OP_NO_TICKET
        else:
            self.asking.options &= ~ssl.OP_NO_TICKET

    def _choose(self, connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        """Called for every ClientHello, with a server name or without."""
        connection.context = self._served

    def _current_stamp(self) -> tuple[tuple[int, int, int], ...]:
        stamps = []
        for path in filter(None, (self.certificate, self.key, self.client_ca)):
            try:
                status = path.stat()
                stamps.append((status.st_mtime_ns, status.st_size, status.st_ino))
            except OSError:
                stamps.append((0, 0, 0))
        return tuple(stamps)
