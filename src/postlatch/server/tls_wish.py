"""``TLS-Required: No`` in the header: its sender would rather have the message delivered than protected (RFC 8689)."""

from __future__ import annotations

from postlatch.model.envelope import NOT_REQUIRED, REQUIRED, SenderParams
from postlatch.model.headers import split_headers
from postlatch.server.headers import HeaderFacts

_FIELD = b"tls-required"


def wished(params: SenderParams, header: HeaderFacts, block: bytes) -> SenderParams:
    """The parameters with what the field asks for. REQUIRETLS goes before it, and a field given twice is none."""
    if _FIELD not in header.names or params.require_tls == REQUIRED:
        return params
    values = [field.value.strip().lower() for field in split_headers(block) if field.name == _FIELD]
    if values != [b"no"]:
        return params
    return SenderParams(params.size, params.body, params.smtputf8, params.ret, params.envid, NOT_REQUIRED)
