"""TLS towards next hops: one SSL context for each kind of trust, made once."""

from __future__ import annotations

import ssl
from functools import cached_property
from pathlib import Path

from postlatch.delivery.contract import TlsPolicy


class TlsContexts:
    """The SSL contexts of one pool. ``authorities``: a PEM file of certificate authorities instead of the system's."""

    def __init__(self, authorities: Path | None = None) -> None:
        self._authorities = authorities

    def of(self, policy: TlsPolicy) -> ssl.SSLContext:
        """The context that ``policy`` asks for: verified for ``verify``, else not."""
        return self._verifying if policy is TlsPolicy.VERIFY else self._unverified

    @cached_property
    def _verifying(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self._authorities)  # the chain and the host name are required
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        return context

    @cached_property
    def _unverified(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        # Without verification a small key is no weaker than a false one, and for opportunistic TLS the alternative to a weak
        # certificate is no encryption at all (RFC 7435 section 3).
        context.set_ciphers("DEFAULT:@SECLEVEL=1")
        return context


def is_protected(ssl_object: object, policy: TlsPolicy) -> bool:
    """True if this handshake gave what ``policy`` demands.

    The event loop's word is not enough: uvloop's ``start_tls`` returns as if all were well when the connection is aborted in
    the middle of the handshake.
    """
    if not isinstance(ssl_object, ssl.SSLObject) or ssl_object.version() is None:
        return False
    # getpeercert() gives an empty dictionary for a certificate that was not verified, and None if there is none.
    return policy is not TlsPolicy.VERIFY or bool(ssl_object.getpeercert())
