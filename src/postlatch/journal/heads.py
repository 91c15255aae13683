"""Signed heads: where the chain ended at a time, signed with a key that nobody finds in the database.

The chain alone cannot stop somebody who may write to the database from computing all of it anew. A head that was signed before
cannot be made to fit: the batch that it names must still be there, with that hash. A line each, which anybody can check::

    {"schema": "postlatch.journal-head/1", "number": 7, …, "key": "4be7…", "signature": "…"}

``signature`` is Ed25519 (RFC 8032), in hexadecimal, over ``"postlatch.journal-head/1\\0"`` and the line's other fields as JSON
with sorted names, no spaces, in ASCII. ``key`` is the first half of the SHA-256 of the public key, in hexadecimal.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from postlatch.journal.chain import Head

SCHEMA = "postlatch.journal-head/1"
REASONS = frozenset({"start", "hourly", "segment", "stop"})


class SignedHead(NamedTuple):
    """One line. ``number`` counts heads from 1 without a gap, ``events`` those of the chain; times in seconds since 1970."""

    number: int
    writer: str
    segment: int
    batch: int
    seq: int
    events: int
    hash: str
    at: float  # of the latest event
    signed_at: float
    reason: str  # of REASONS
    key: str
    signature: str

    @property
    def head(self) -> Head:
        """What it says of the chain."""
        return Head(self.seq, self.hash, self.batch, self.segment, self.writer, self.at)

    def as_record(self) -> dict[str, int | float | str]:
        """The line as an object."""
        return {"schema": SCHEMA, **self._asdict()}

    def line(self) -> bytes:
        """The line, with its end."""
        return json.dumps(self.as_record(), separators=(",", ":")).encode("ascii") + b"\n"


_TYPES: Mapping[str, tuple[type, ...]] = {
    **dict.fromkeys(("number", "segment", "batch", "seq", "events"), (int,)),
    **dict.fromkeys(("writer", "hash", "reason", "key", "signature"), (str,)),
    **dict.fromkeys(("at", "signed_at"), (int, float)),
}


def sign(key: Ed25519PrivateKey, head: Head, number: int, signed_at: float, reason: str) -> SignedHead:
    """Sign ``head`` as the ``number``-th one."""
    unsigned = SignedHead(
        number=number,
        writer=head.writer,
        segment=head.segment,
        batch=head.batch,
        seq=head.seq,
        events=head.seq,
        hash=head.hash,
        at=head.at,
        signed_at=signed_at,
        reason=reason,
        key=key_name(key.public_key()),
        signature="",
    )
    return unsigned._replace(signature=key.sign(_signed_octets(unsigned)).hex())


def is_signed_by(head: SignedHead, key: Ed25519PublicKey) -> bool:
    """Whether the signature is this key's, over exactly these fields."""
    try:
        key.verify(bytes.fromhex(head.signature), _signed_octets(head))
    except (InvalidSignature, ValueError):
        return False
    return True


def parse(line: bytes) -> SignedHead:
    """One line; ValueError if it is none of ours."""
    try:
        found = json.loads(line)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if type(found) is not dict or found.pop("schema", None) != SCHEMA or found.keys() != _TYPES.keys():
        raise ValueError("it is not a signed head")
    if any(type(found[name]) not in kinds for name, kinds in _TYPES.items()):
        raise ValueError("a field of it has another type")
    return SignedHead(**found)


def key_name(key: Ed25519PublicKey) -> str:
    """The short name of a public key."""
    return hashlib.sha256(key.public_bytes(Encoding.Raw, PublicFormat.Raw)).hexdigest()[:32]


def _signed_octets(head: SignedHead) -> bytes:
    fields = head.as_record()
    del fields["signature"], fields["schema"]
    return f"{SCHEMA}\0{json.dumps(fields, sort_keys=True, separators=(',', ':'))}".encode("ascii")
