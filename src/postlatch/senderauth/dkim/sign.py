"""Signs a message of ours while its body streams by, with every key at once. RFC 6376 section 5, RFC 8463, RFC 8301."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from postlatch.senderauth.dkim.canon import BodyHash, header
from postlatch.senderauth.dkim.fields import RawField, by_name, covered, split_fields
from postlatch.senderauth.dkim.key import PKCS1, PREHASHED
from postlatch.senderauth.dkim.private import PrivateKey, generate, load_private_key, public_value
from postlatch.senderauth.dkim.text import a_labels

# Each is covered once more than it occurs: who adds another breaks the signature (section 8.15).
OVERSIGNED: Final = (b"From", b"To", b"Cc", b"Subject", b"Date", b"Message-ID", b"Content-Type")
# Covered where they are. Never what relays add or take away: Received, Return-Path, Authentication-Results, Bcc.
SIGNED: Final = (
    *(b"Reply-To", b"Sender", b"MIME-Version", b"Content-Transfer-Encoding", b"Content-ID", b"Content-Description"),
    *(b"Content-Disposition", b"Content-Language", b"In-Reply-To", b"References", b"Auto-Submitted"),
    *(b"Resent-Date", b"Resent-From", b"Resent-Sender", b"Resent-To", b"Resent-Cc", b"Resent-Message-ID"),
    *(b"List-ID", b"List-Unsubscribe", b"List-Unsubscribe-Post", b"List-Subscribe", b"List-Post", b"List-Owner"),
    *(b"List-Help", b"List-Archive"),
)
_CHOICE: Final = (*((name.lower(), name, 1) for name in OVERSIGNED), *((name.lower(), name, 0) for name in SIGNED))
MAX_COVERED: Final = 256  # fields: a message with more of them has been made to be a burden
_WIDTH: Final = 77  # columns of a line
_FOLD: Final = b"\r\n "


class SignError(ValueError):
    """A message that cannot be signed. The message is a sentence of ours."""


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key of a domain. ``domain`` and ``selector`` are lower-case A-labels, ``algorithm`` is ``rsa`` or ``ed25519``."""

    domain: str
    selector: str
    algorithm: str
    private: PrivateKey


def public_record(key: SigningKey) -> str:
    """The TXT record to publish at ``selector._domainkey.domain``."""
    return f"v=DKIM1; k={key.algorithm}; p={public_value(key.private)}"


class Signer:
    """``Signer(keys, block)``, ``feed`` the body, ``finish``: the fields to put in front of the message.

    Relaxed header and body, SHA-256. ``valid``: seconds until the signatures end, from ``now``. ``identity`` is the i=.
    """

    def __init__(
        self,
        keys: Sequence[SigningKey],
        block: bytes,
        *,
        now: float,
        valid: float | None,
        identity: str | None = None,
    ) -> None:
        if block.startswith((b" ", b"\t")):
            raise SignError("the message begins with a folded line, which would become a part of the signature in front of it")
        names, fields = choose_fields(split_fields(block))
        self._keys = keys
        self._names = names
        self._times = [b"t=%d;" % now] if valid is None else [b"t=%d;" % now, b"x=%d;" % (now + valid)]
        self._identity = [] if identity is None else [b"i=%b;" % _identity(identity, keys)]
        self._fields = sha256(b"".join([header(field.raw, "relaxed") for field in fields]))
        self._body = BodyHash("relaxed")

    def feed(self, chunk: bytes) -> None:
        """The next octets of the body, with CRLF line ends."""
        self._body.feed(chunk)

    def finish(self) -> bytes:
        """One DKIM-Signature field for each key, in their order, each with its CRLF."""
        body_hash = b64encode(self._body.digest())
        return b"".join([self._sign(key, body_hash) for key in self._keys])

    def _sign(self, key: SigningKey, body_hash: bytes) -> bytes:
        words = [
            *(b"DKIM-Signature:", b"v=1;", b"a=%b-sha256;" % key.algorithm.encode("ascii"), b"c=relaxed/relaxed;"),
            *(b"d=%b;" % key.domain.encode("ascii"), b"s=%b;" % key.selector.encode("ascii")),
            *(*self._identity, *self._times),
        ]
        unsigned = fold(words) + _FOLD + fold_names(self._names) + b";" + _FOLD + b"bh=" + body_hash + b";" + _FOLD + b"b="
        hashed = self._fields.copy()
        hashed.update(header(unsigned, "relaxed").removesuffix(b"\r\n"))
        return complete(unsigned, hashed.digest(), key.private)


def choose_fields(fields: Sequence[RawField]) -> tuple[tuple[bytes, ...], list[RawField]]:
    """The names for h=, and the fields that these cover, in the order in which they are hashed."""
    there = by_name(fields)
    if b"from" not in there:
        raise SignError("the message has no From, so nobody could tell whom the signature speaks for (RFC 6376 section 5.4)")
    names: list[bytes] = []
    lowered: list[bytes] = []
    for lower, name, more in _CHOICE:
        times = len(there[lower]) + more if lower in there else more
        names += [name] * times
        lowered += [lower] * times
    if len(names) > MAX_COVERED:
        raise SignError(f"the message has {len(names)} fields to sign: more than {MAX_COVERED} is no mail of a person")
    return tuple(names), covered(there, lowered)


def fold(words: Iterable[bytes]) -> bytes:
    """The words with a space between, in lines of at most 77 columns where the words permit it."""
    return _lines(words, b" ")


@lru_cache(maxsize=64)
def fold_names(names: tuple[bytes, ...]) -> bytes:
    """The tag h= without its semicolon, folded behind colons. Remembered: most mail has the same fields."""
    return _lines([b"h=" + names[0], *names[1:]], b":")


def _lines(words: Iterable[bytes], joint: bytes) -> bytes:
    """RFC 6376 section 3.5 permits folding at either joint; a colon stays at the end of its line."""
    lines: list[bytes] = []
    for word in words:
        if lines and len(lines[-1]) + len(joint) + len(word) < _WIDTH - 1:  # the space in front, and what follows
            lines[-1] += joint + word
        else:
            lines.append(word)
    return (joint.strip() + _FOLD).join(lines)


def complete(unsigned: bytes, digest: bytes, private: PrivateKey) -> bytes:
    """The field that ends in ``b=``, with the signature over ``digest`` behind it, folded, and with its CRLF."""
    if isinstance(private, Ed25519PrivateKey):  # RFC 8463 section 3: the digest is the message
        text = b64encode(private.sign(digest))
    else:
        text = b64encode(private.sign(digest, PKCS1, PREHASHED))
    return unsigned + _FOLD.join([text[place : place + 72] for place in range(0, len(text), 72)]) + b"\r\n"


def _identity(identity: str, keys: Sequence[SigningKey]) -> bytes:
    """As the value of i=, in dkim-quoted-printable (section 2.11)."""
    local, at, host = identity.rpartition("@")
    domain = a_labels(host) if at else None
    if domain is None or not all(domain == key.domain or domain.endswith(f".{key.domain}") for key in keys):
        raise SignError("the identity (i=) is not in the domain of each key (RFC 6376 section 3.5)")
    octets = local.encode("utf-8", "surrogateescape")
    safe = (b"%c" % octet if 0x21 <= octet <= 0x7E and octet not in b";=" else b"=%02X" % octet for octet in octets)
    return b"".join(safe) + b"@" + domain.encode("ascii")


__all__ = ["SignError", "Signer", "SigningKey", "generate", "load_private_key", "public_record"]
