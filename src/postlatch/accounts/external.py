"""EXTERNAL (RFC 4422 appendix A): the client has shown a certificate in the TLS handshake, and it was verified there."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from cryptography import x509

from postlatch.accounts.names import login_key
from postlatch.accounts.sasl import Challenge, Failure, Step, Success, decoded, malformed

NAME = "EXTERNAL"
MAX_CHAIN = 8  # certificates, with the client's own and the authority's; more is nobody's habit
_MAX_NAMES = 16


@dataclass(frozen=True, slots=True)
class CertificateLogins:
    """Which login a client's certificate stands for.

    ``listed`` is by the SHA-256 of the certificate, in lower-case hexadecimal without colons; an empty login refuses that one
    certificate. One that is not listed stands for its ``rfc822Name`` entries, if ``by_address``.
    """

    listed: Mapping[str, str] = field(default_factory=dict)
    by_address: bool = False

    def of(self, certificate: bytes) -> frozenset[str]:
        """The logins that this certificate (DER, already verified) may use; none if it is nobody's."""
        login = self.listed.get(hashlib.sha256(certificate).hexdigest())
        if login is not None:
            return frozenset({login_key(login)}) if login else frozenset()
        return frozenset(map(login_key, _addresses(certificate))) if self.by_address else frozenset()


def _addresses(certificate: bytes) -> list[str]:
    try:
        names = x509.load_der_x509_certificate(certificate).extensions.get_extension_for_class(x509.SubjectAlternativeName)
        found = names.value.get_values_for_type(x509.RFC822Name)
    except (ValueError, x509.ExtensionNotFound, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        return []
    # Without an @ it would be one of our short logins, of which the authority knows nothing.
    return [name for name in found if "@" in name] if len(found) <= _MAX_NAMES else []


class External:
    """One message: the account that the client wants to be, or nothing, where its certificate leaves no choice."""

    def __init__(self, logins: frozenset[str]) -> None:
        self._logins = logins

    def start(self, initial: bytes | None) -> Step:
        """The message, or an empty challenge for it."""
        return Challenge(b"") if initial is None else self.respond(initial)

    def respond(self, data: bytes) -> Step:
        """The message."""
        text = decoded(data)
        if text is None or "\0" in text:
            return malformed("EXTERNAL is not valid text")
        if text:
            login = login_key(text)
            if login in self._logins:
                return Success(login)
            return Failure(login, malformed=False, reason="the certificate is not that account's")
        if len(self._logins) != 1:
            return Failure("", malformed=False, reason="the certificate stands for several accounts, and none was named")
        return Success(next(iter(self._logins)))
