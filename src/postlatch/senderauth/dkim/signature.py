"""The DKIM-Signature field, read. RFC 6376 sections 3.5 and 6.1.1."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, NamedTuple

from postlatch.senderauth.dkim.fields import RawField
from postlatch.senderauth.dkim.tags import TagError, parse_tags
from postlatch.senderauth.dkim.text import a_labels, decode_base64, printable, selector_labels, without_white
from postlatch.senderauth.results import Result

FUTURE: Final = 300  # seconds that a signer's clock may be ahead
_REQUIRED: Final = ("v", "a", "b", "bh", "d", "h", "s")
_CANONICALISATIONS: Final = ("simple", "relaxed")
_NUMBER: Final = re.compile(r"[0-9]{1,12}")
_LENGTH: Final = re.compile(r"[0-9]{1,76}")
_FIELD_NAME: Final = re.compile(r"[\x21-\x39\x3c-\x7e]+")
_QUOTED: Final = re.compile(r"=([0-9A-F]{2})")
_LONGEST_NAME: Final = 253  # octets of a name in the DNS
_MAX_HEADERS: Final = 1000  # each costs, in each signature
_SHOWN: Final = 16  # characters of b=; RFC 6008 section 4 wants at least 8


class Summary(NamedTuple):
    """What a result tells of a signature, valid or not: printable and short."""

    domain: str
    selector: str
    algorithm: str
    identity: str
    signature: str
    body_hash: str


class SignatureError(ValueError):
    """A signature that cannot be checked, or not pass. The message is a sentence of ours that names the RFC's section."""

    def __init__(self, reason: str, result: Result = Result.PERMERROR) -> None:
        super().__init__(reason)
        self.result = result


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature that can be checked. ``algorithm`` is ``rsa`` or ``ed25519``, always with SHA-256.

    ``domain`` and ``selector`` are lower-case A-labels, as is ``identity_domain``, the domain of i=. ``headers`` are the
    lower-case names of h=. ``partial``: it has an l=.
    """

    field: RawField
    algorithm: str
    signature: bytes
    body_hash: bytes
    header_canon: str
    body_canon: str
    domain: str
    selector: str
    identity_domain: str
    headers: tuple[bytes, ...]
    partial: bool

    @property
    def key_name(self) -> str:
        """Where its key is in the DNS."""
        return f"{self.selector}._domainkey.{self.domain}"


def read_signature(field: RawField, now: float) -> tuple[Summary, Signature | SignatureError]:
    """Always a summary; with it the signature, or why it cannot pass whatever its key is."""
    tags: dict[str, str] = {}
    try:
        tags = parse_tags(field.raw.partition(b":")[2].removesuffix(b"\r\n"))
        found: Signature | SignatureError = _signature(field, tags, now)
    except TagError as error:
        found = SignatureError(f"the signature is malformed: {error}")
    except SignatureError as error:
        found = error
    return _summary(tags), found


def _summary(tags: dict[str, str]) -> Summary:
    domain, selector = tags.get("d", ""), tags.get("s", "")
    return Summary(
        domain=a_labels(domain) or printable(domain),
        selector=selector_labels(selector) or printable(selector),
        algorithm=printable(tags.get("a", ""), 40),
        identity=printable(tags.get("i", "")),
        signature=printable(without_white(tags.get("b", "")), _SHOWN),
        body_hash=printable(without_white(tags.get("bh", "")), 64),
    )


def _signature(field: RawField, tags: dict[str, str], now: float) -> Signature:
    for name in _REQUIRED:
        if name not in tags:
            raise SignatureError(f"the signature has no {name}= (RFC 6376 section 3.5)")
    if tags["v"] != "1":
        raise SignatureError("the signature's version is not 1 (RFC 6376 section 3.5)")
    header_canon, body_canon = _canonicalisations(tags.get("c", "simple/simple"))
    domain, selector = _names(tags)
    signature = Signature(
        field=field,
        algorithm=_algorithm(tags["a"]),
        signature=_octets(tags, "b"),
        body_hash=_octets(tags, "bh"),
        header_canon=header_canon,
        body_canon=body_canon,
        domain=domain,
        selector=selector,
        identity_domain=_identity_domain(tags.get("i"), domain),
        headers=_headers(tags["h"]),
        partial="l" in tags,
    )
    if len(signature.body_hash) != 32:
        raise SignatureError("the signature's bh= is not a SHA-256 hash (RFC 6376 section 3.5)")
    if "dns/txt" not in _words(tags.get("q", "dns/txt")):
        raise SignatureError("the signature's q= does not name dns/txt (RFC 6376 section 3.5)")
    _check_times(tags, now)
    _check_length(tags)
    return signature


def _words(value: str) -> list[str]:
    return [word.strip(" \t") for word in value.split(":")]


def _algorithm(text: str) -> str:
    """RFC 6376 section 3.2: values compare with case where their tag's description does not say otherwise."""
    if text == "rsa-sha1":
        raise SignatureError("the signature uses SHA-1, which proves nothing any more (RFC 8301 section 3.1)")
    if text not in {"rsa-sha256", "ed25519-sha256"}:
        raise SignatureError("the signature's a= is neither rsa-sha256 nor ed25519-sha256 (RFC 8463 section 3)")
    return text.removesuffix("-sha256")


def _canonicalisations(text: str) -> tuple[str, str]:
    header, slash, body = text.partition("/")
    both = (header, body if slash else "simple")
    if both[0] not in _CANONICALISATIONS or both[1] not in _CANONICALISATIONS:
        raise SignatureError("the signature's c= names an unknown canonicalisation (RFC 6376 section 3.5)")
    return both


def _names(tags: dict[str, str]) -> tuple[str, str]:
    domain, selector = a_labels(tags["d"]), selector_labels(tags["s"])
    if domain is None:
        raise SignatureError("the signature's d= is no domain name (RFC 6376 section 3.5)")
    if selector is None or len(f"{selector}._domainkey.{domain}") > _LONGEST_NAME:
        raise SignatureError("the signature's s= is no selector (RFC 6376 section 3.1)")
    return domain, selector


def _identity_domain(text: str | None, domain: str) -> str:
    """RFC 6376 section 3.5: i= is in d= or in a domain below it. What is before the last @ is opaque."""
    if text is None:
        return domain
    plain = _QUOTED.sub(lambda match: chr(int(match[1], 16)), without_white(text))
    _, at, host = plain.rpartition("@")
    name = a_labels(host) if at else None
    if name is None:
        raise SignatureError("the signature's i= has no domain (RFC 6376 section 3.5)")
    if name != domain and not name.endswith(f".{domain}"):
        raise SignatureError("the signature's i= is not in the domain of its d= (RFC 6376 section 6.1.1)")
    return name


def _octets(tags: dict[str, str], name: str) -> bytes:
    octets = decode_base64(tags[name])
    if not octets:
        raise SignatureError(f"the signature's {name}= is not base64 (RFC 6376 section 3.5)")
    return octets


def _headers(text: str) -> tuple[bytes, ...]:
    names = _words(text.lower())
    if len(names) > _MAX_HEADERS:
        raise SignatureError(
            "work capped: the signature's h= has more names than any message has fields (RFC 6376 section 8.9)"
        )
    if not all(map(_FIELD_NAME.fullmatch, names)):
        raise SignatureError("the signature's h= is not a list of field names (RFC 6376 section 3.5)")
    if "from" not in names:
        raise SignatureError("the signature does not cover From (RFC 6376 section 6.1.1)")
    return tuple(name.encode("ascii") for name in names)


def _check_times(tags: dict[str, str], now: float) -> None:
    made, ends = _time(tags, "t"), _time(tags, "x")
    if made is not None and ends is not None and ends < made:
        raise SignatureError("the signature ends (x=) before it begins (t=) (RFC 6376 section 3.5)")
    if ends is not None and now > ends:
        raise SignatureError("the signature has expired, by its x= (RFC 6376 section 6.1.1)", Result.FAIL)
    if made is not None and made > now + FUTURE:
        raise SignatureError("the signature's t= is in the future (RFC 6376 section 3.5)", Result.FAIL)


def _time(tags: dict[str, str], name: str) -> int | None:
    text = tags.get(name)
    if text is None:
        return None
    if _NUMBER.fullmatch(text) is None:
        raise SignatureError(f"the signature's {name}= is not a number (RFC 6376 section 3.5)")
    return int(text)


def _check_length(tags: dict[str, str]) -> None:
    if "l" in tags and _LENGTH.fullmatch(tags["l"]) is None:
        raise SignatureError("the signature's l= is not a number (RFC 6376 section 3.5)")


def without_value(field: bytes) -> bytes:
    """A raw signature field as it was hashed: the value of b= is away, with the white space around it (section 3.7)."""
    name, _, value = field.removesuffix(b"\r\n").partition(b":")
    specs = value.split(b";")
    for index, spec in enumerate(specs):
        tag, equals, _ = spec.partition(b"=")
        if equals and tag.strip() == b"b":
            specs[index] = tag + equals
            break
    return name + b":" + b";".join(specs)
