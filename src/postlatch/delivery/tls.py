"""TLS towards next hops: one SSL context for each kind of trust, made once."""

from __future__ import annotations

import ssl
from functools import cached_property
from pathlib import Path

from postlatch.delivery.contract import TlsPolicy
from postlatch.delivery.tls_demand import Demand


class TlsContexts:
    """The SSL contexts of one pool. ``authorities``: a PEM file of certificate authorities instead of the system's."""

    def __init__(self, authorities: Path | None = None) -> None:
        self._authorities = authorities

    def of(self, policy: TlsPolicy, demand: Demand | None = None) -> ssl.SSLContext:
        """The context that ``policy`` asks for: verified for ``verify``, else not. Under DANE `tls_peer` verifies instead."""
        if policy is not TlsPolicy.VERIFY:
            return self._unverified
        if demand is not None and demand.tlsa:
            return self._by_dane
        return self._by_san if demand is not None and demand.by_san else self._verifying

    @cached_property
    def _verifying(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self._authorities)  # the chain and the host name are required
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        return context

    @cached_property
    def _by_san(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self._authorities)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.hostname_checks_common_name = False  # RFC 8461 section 4.1
        return context

    @cached_property
    def _by_dane(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
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


def is_protected(ssl_object: object, policy: TlsPolicy, demand: Demand | None = None) -> bool:
    """True if this handshake gave what ``policy`` demands; under DANE it is not verified yet.

    The event loop's word is not enough: uvloop's ``start_tls`` returns as if all were well when the connection is aborted in
    the middle of the handshake.
    """
    if not isinstance(ssl_object, ssl.SSLObject) or ssl_object.version() is None:
        return False
    # getpeercert() gives an empty dictionary for a certificate that was not verified, and None if there is none.
    if policy is not TlsPolicy.VERIFY or (demand is not None and demand.tlsa):
        return True
    return bool(ssl_object.getpeercert())
