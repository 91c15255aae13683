"""The certificates of the server at the other end of a handshake that verified nothing, for DANE to judge.

Python 3.11 gives out only the server's own certificate; DANE-TA needs the chain as it was sent. From 3.13 on there is
``SSLObject.get_unverified_chain``. Before, the object below it (``_sslobj``, since 3.10) has the same method under the same
name, undocumented. So it is used with care: where it is absent or says something unexpected, the server's own certificate
stands alone, which serves DANE-EE in full and lets DANE-TA fail, never pass.
"""

from __future__ import annotations

import ssl

from postlatch.delivery.dane import DaneFailure, verify
from postlatch.delivery.tls_demand import Demand


def refusal(peer: object, demand: Demand, now: float) -> DaneFailure | None:
    """Why the server is not who its TLSA records say; None if it is."""
    return verify(demand.tlsa, certificates(peer), demand.names, now)


def certificates(peer: object) -> list[bytes]:
    """What the server sent, in DER, its own certificate first; empty if there is none."""
    if not isinstance(peer, ssl.SSLObject):
        return []
    own = peer.getpeercert(binary_form=True)
    if not own:
        return []
    chain = _chain(peer)
    return chain if chain and chain[0] == own else [own]


def _chain(peer: ssl.SSLObject) -> list[bytes]:
    source = peer if hasattr(peer, "get_unverified_chain") else getattr(peer, "_sslobj", None)
    method = getattr(source, "get_unverified_chain", None)
    try:
        found = list(method() or ()) if method is not None else []
        return [item if isinstance(item, bytes) else _der(item) for item in found]
    except (AttributeError, TypeError, ValueError, ssl.SSLError):
        return []


def _der(certificate: object) -> bytes:
    """Of an ``_ssl.Certificate``; 2 is its ENCODING_DER."""
    encoded = certificate.public_bytes(2)  # type: ignore[attr-defined]
    if not isinstance(encoded, bytes):
        raise TypeError
    return encoded
