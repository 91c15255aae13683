"""How TLS fared on a new connection, for the reports that the domains of others get (RFC 8460)."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Final, NamedTuple

from postlatch.delivery.tls_demand import NOTHING, Applied

# RFC 8460 section 4.3: of negotiation, of policy, and the one for all else. `dane-required` is for senders that want TLSA
# records of everybody, which no setting of ours does.
NOT_SUPPORTED: Final = "starttls-not-supported"
EXPIRED: Final = "certificate-expired"
HOST_MISMATCH: Final = "certificate-host-mismatch"
NOT_TRUSTED: Final = "certificate-not-trusted"
GENERAL: Final = "validation-failure"
TLSA_INVALID: Final = "tlsa-invalid"
DNSSEC_INVALID: Final = "dnssec-invalid"
STS_FETCH: Final = "sts-policy-fetch-error"
STS_INVALID: Final = "sts-policy-invalid"
STS_WEBPKI: Final = "sts-webpki-invalid"

# OpenSSL's x509_vfy.h; Python has no names for them.
_EXPIRED: Final = 10  # X509_V_ERR_CERT_HAS_EXPIRED
_MISMATCHES: Final = frozenset({62, 64})  # X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH


class TlsSession(NamedTuple):
    """One connection to a mail host of ``domain``, the domain of the mail for which it was opened.

    ``host`` is the MX host's name and ``address`` its address; ``local`` is ours on this connection, empty if it is not known.
    ``result`` is a result type of RFC 8460 section 4.3, empty for a success; ``reason`` says more in printable ASCII.
    ``applied`` is the policy that was applied to the host.
    """

    domain: str
    host: str
    address: str
    local: str
    result: str = ""
    reason: str = ""
    applied: Applied = NOTHING


TlsSeen = Callable[[TlsSession], None]
"""Told of each; called in the middle of a connection's set-up, so it must be quick and must not raise."""


def result_of(error: Exception) -> str:
    """The result type for a handshake that failed with ``error``."""
    if not isinstance(error, ssl.SSLCertVerificationError):
        return GENERAL
    if error.verify_code == _EXPIRED:
        return EXPIRED
    return HOST_MISMATCH if error.verify_code in _MISMATCHES else NOT_TRUSTED
