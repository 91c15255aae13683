"""What a client can prove itself by, beside a password: its certificate, a token, the binding of SCRAM to its TLS session."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from postlatch.accounts.external import MAX_CHAIN, CertificateLogins
from postlatch.accounts.mechanisms import NO_CHANNEL, Channel
from postlatch.accounts.oauth import Discovery
from postlatch.accounts.oauth_tokens import TokenChecker
from postlatch.server.tls import ServedContext


@dataclass(frozen=True, slots=True)
class Proofs:
    """As configured; replaced as a whole by a reload. None: not taken. ``binding``: SCRAM may be bound to the TLS session."""

    binding: bool = False
    certificates: CertificateLogins | None = None
    tokens: TokenChecker | None = None
    discovery: Discovery | None = None


def channel_of(transport: asyncio.BaseTransport, proofs: Proofs) -> Channel:
    """What this connection brings; asked once its TLS is up.

    A resumed session brings nothing of its own: neither our certificate nor the client's was shown in it, and either may have
    been another one then.
    """
    connection = transport.get_extra_info("ssl_object")
    discovery = proofs.discovery if proofs.tokens is not None else None
    if not isinstance(connection, ssl.SSLObject | ssl.SSLSocket) or connection.session_reused:
        return Channel(tokens=discovery) if discovery is not None else NO_CHANNEL
    context = connection.context
    binding = context.binding if proofs.binding and isinstance(context, ServedContext) else None
    return Channel(binding, _logins(connection, proofs.certificates), discovery)


def _logins(connection: ssl.SSLObject | ssl.SSLSocket, certificates: CertificateLogins | None) -> frozenset[str]:
    # CERT_OPTIONAL, or it was not verified; the handshake fails where a certificate is shown that does not verify.
    if certificates is None or connection.context.verify_mode is not ssl.CERT_OPTIONAL:
        return frozenset()
    certificate = connection.getpeercert(binary_form=True)
    if certificate is None or not 0 < _chain_length(connection) <= MAX_CHAIN:
        return frozenset()
    return certificates.of(certificate)


def _chain_length(connection: Any) -> int:
    """Certificates from the client's to the authority's; 0 if that cannot be told. Python 3.13 gives it a public name."""
    inner = getattr(connection, "_sslobj", None)
    chain: Callable[[], list[object]] | None = getattr(inner, "get_verified_chain", None)
    return len(chain() or ()) if chain is not None else 0
