"""TLS towards clients: one context a relay, renewed in place when its files change."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path


class CertificateError(Exception):
    """The certificate or key cannot be used; the message names the file and says what is wrong."""


def _load(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    for path in (certificate, key):
        try:
            path.read_bytes()
        except OSError as error:
            raise CertificateError(f"{path}: cannot be read ({error.strerror})") from error
    try:
        context.load_cert_chain(certificate, key)
    except ssl.SSLError as error:
        reason = error.reason or str(error)
        raise CertificateError(
            f"{certificate} and {key}: not a usable certificate chain and its private key in PEM ({reason})"
        ) from error


def make_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """A server context: TLS 1.2 at least, no client certificates, no compression, no renegotiation."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    _load(context, certificate, key)
    return context


@dataclass(slots=True)
class WatchedCertificate:
    """The files behind a context. ``refresh`` is called now and then; new handshakes use what it took up."""

    certificate: Path
    key: Path
    context: ssl.SSLContext
    _stamp: tuple[tuple[int, int, int], ...] = ()

    @classmethod
    def load(cls, certificate: Path, key: Path) -> WatchedCertificate:
        """Read both files; CertificateError if they do not fit."""
        watched = cls(certificate, key, make_context(certificate, key))
        watched._stamp = watched._current_stamp()
        return watched

    def refresh(self) -> bool:
        """True if renewed files were taken up; CertificateError (once a change) if they are unusable: the old ones stay."""
        stamp = self._current_stamp()
        if stamp == self._stamp:
            return False
        self._stamp = stamp
        # On a scratch context first: a failure in the middle of load_cert_chain would leave the live one half changed.
        make_context(self.certificate, self.key)
        _load(self.context, self.certificate, self.key)
        return True

    def replace(self, other: WatchedCertificate) -> None:
        """Take up the files of ``other``, which have been tried already."""
        self.certificate, self.key = other.certificate, other.key
        self._stamp = other._stamp
        _load(self.context, self.certificate, self.key)

    def _current_stamp(self) -> tuple[tuple[int, int, int], ...]:
        stamps = []
        for path in (self.certificate, self.key):
            try:
                status = path.stat()
                stamps.append((status.st_mtime_ns, status.st_size, status.st_ino))
            except OSError:
                stamps.append((0, 0, 0))
        return tuple(stamps)
