"""The fields of an ARC chain, read and put in order. RFC 8617 sections 4.1, 4.2 and 5.2 (steps 1 to 3)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from postlatch.senderauth.cfws import skip_cfws, without_comments
from postlatch.senderauth.dkim.fields import RawField
from postlatch.senderauth.dkim.tags import TagError, parse_tags
from postlatch.senderauth.dkim.text import a_labels, decode_base64, printable, selector_labels

MAX_INSTANCES: Final = 50
SEAL: Final = b"arc-seal"
MESSAGE: Final = b"arc-message-signature"
RESULTS: Final = b"arc-authentication-results"
_NAMES: Final = (RESULTS, MESSAGE, SEAL)
_FUTURE: Final = 300  # seconds that a signer's clock may be ahead
_MAX_NAME: Final = 253
_MAX_RESULTS: Final = 4096  # octets of an ARC-Authentication-Results that are looked at

_POSITION: Final = re.compile(r"[0-9]{1,2}")
_NUMBER: Final = re.compile(r"[0-9]{1,12}")
_FIELD_NAME: Final = re.compile(r"[\x21-\x39\x3c-\x7e]+")


class ArcError(ValueError):
    """A chain that cannot pass, whatever its keys are. The message is a sentence of ours."""


@dataclass(frozen=True, slots=True)
class Signed:
    """What a seal and a message signature share. ``algorithm`` is ``rsa`` or ``ed25519``, always with SHA-256."""

    field: RawField
    algorithm: str
    signature: bytes
    domain: str
    selector: str

    @property
    def key_name(self) -> str:
        """Where its key is in the DNS."""
        return f"{self.selector}._domainkey.{self.domain}"


@dataclass(frozen=True, slots=True)
class Seal(Signed):
    """An ARC-Seal. ``cv`` is ``none``, ``pass`` or ``fail``."""

    cv: str


@dataclass(frozen=True, slots=True)
class MessageSignature(Signed):
    """An ARC-Message-Signature. ``headers`` are the lower-case names of h=."""

    body_hash: bytes
    header_canon: str
    body_canon: str
    headers: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class ArcSet:
    """The three fields of one instance. ``message`` is the second of them read, or why it cannot pass."""

    results: RawField
    message_field: RawField
    message: MessageSignature | ArcError
    seal: Seal


def read_chain(fields: Sequence[RawField], now: float) -> list[ArcSet]:
    """The sets of a header, instance 1 first; none if the message has no chain. ArcError if the chain cannot pass."""
    found: dict[bytes, dict[int, RawField]] = {name: {} for name in _NAMES}
    count = 0
    for field in fields:
        if field.name in found:
            count += 1
            if count > MAX_INSTANCES * len(_NAMES):
                raise ArcError("there are more than 50 ARC sets (RFC 8617 section 5.2, step 1)")
            _add(found[field.name], field)
    if not count:
        return []
    newest = max(max(same, default=0) for same in found.values())
    seals = found[SEAL]
    if newest in seals and _cv(_tags(seals[newest])) == "fail":
        raise ArcError("the newest sealer says that the chain failed before (RFC 8617 section 5.2, step 2)")
    if any(sorted(same) != list(range(1, newest + 1)) for same in found.values()):
        raise ArcError("the sets are not complete from 1 on: a field is missing (RFC 8617 section 5.2, step 3)")
    results, messages = found[RESULTS], found[MESSAGE]
    return [_set(results[i], messages[i], seals[i], i, now) for i in range(1, newest + 1)]


def _add(same: dict[int, RawField], field: RawField) -> None:
    instance = _results_instance(field) if field.name == RESULTS else _position(_tags(field).get("i", ""))
    if instance in same:
        raise ArcError(f"instance {instance} is there twice (RFC 8617 section 5.2, step 3)")
    same[instance] = field


def _position(text: str) -> int:
    instance = int(text) if _POSITION.fullmatch(text) else 0
    if not 1 <= instance <= MAX_INSTANCES:
        raise ArcError("an instance (i=) is not a number from 1 to 50 (RFC 8617 section 4.2.1)")
    return instance


def _tags(field: RawField) -> dict[str, str]:
    try:
        return parse_tags(field.raw.partition(b":")[2].removesuffix(b"\r\n"))
    except TagError as error:
        raise ArcError(f"an ARC field is malformed: {error}") from None


def _results_value(field: RawField) -> str:
    return field.raw.partition(b":")[2][:_MAX_RESULTS].decode("utf-8", "backslashreplace")


def _results_instance(field: RawField) -> int:
    """``i=1;`` at the beginning (section 4.1.1)."""
    try:
        text = _results_value(field)
        info = text[skip_cfws(text, 0) :].partition(";")
        name, _, position = without_comments(info[0]).partition("=")
    except ValueError:
        raise ArcError("an ARC-Authentication-Results has a comment without an end (RFC 8617 section 4.1.1)") from None
    if name.strip() != "i" or not info[1]:
        raise ArcError("an ARC-Authentication-Results does not begin with i= (RFC 8617 section 4.1.1)")
    return _position(position.strip())


def results_text(field: RawField) -> str:
    """What it reports, behind ``i=1;``, without comments, printable and cut."""
    try:
        text = without_comments(_results_value(field))
    except ValueError:  # a comment that was cut
        return ""
    return printable(text.partition(";")[2].strip(), 500)


def _set(results: RawField, message: RawField, seal: RawField, instance: int, now: float) -> ArcSet:
    read = _seal(seal)
    if read.cv != ("none" if instance == 1 else "pass"):
        raise ArcError(f"the seal {instance} says cv={read.cv}, which cannot be (RFC 8617 section 5.2, step 3)")
    try:
        signature: MessageSignature | ArcError = _message(message, now)
    except ArcError as error:
        signature = error
    return ArcSet(results, message, signature, read)


def _seal(field: RawField) -> Seal:
    tags = _tags(field)
    if "h" in tags:
        raise ArcError("a seal has h=, which is forbidden (RFC 8617 section 4.1.3)")
    algorithm, signature, domain, selector = _shared(tags)
    return Seal(field, algorithm, signature, domain, selector, _cv(tags))


def _cv(tags: dict[str, str]) -> str:
    value = tags.get("cv", "").lower()
    if value not in {"none", "pass", "fail"}:
        raise ArcError("a seal's cv= is not none, pass or fail (RFC 8617 section 4.1.3)")
    return value


def _message(field: RawField, now: float) -> MessageSignature:
    tags = _tags(field)
    algorithm, signature, domain, selector = _shared(tags)
    made, ends = _time(tags, "t"), _time(tags, "x")
    if (ends is not None and now > ends) or (made is not None and made > now + _FUTURE):
        raise ArcError("the message signature has expired or is of the future (RFC 6376 section 3.5, t= and x=)")
    if "l" in tags:
        raise ArcError("the message signature covers a part of the body only (l=; RFC 6376 section 8.2)")
    header_canon, body_canon = _canonicalisations(tags.get("c", "simple/simple"))
    body_hash = decode_base64(tags.get("bh", "")) or b""
    if len(body_hash) != 32:
        raise ArcError("the message signature's bh= is not a SHA-256 hash (RFC 6376 section 3.5)")
    headers = _headers(tags.get("h", ""))
    return MessageSignature(field, algorithm, signature, domain, selector, body_hash, header_canon, body_canon, headers)


def _shared(tags: dict[str, str]) -> tuple[str, bytes, str, str]:
    algorithm = tags.get("a", "").lower()
    if algorithm not in {"rsa-sha256", "ed25519-sha256"}:
        raise ArcError("an ARC field's a= is neither rsa-sha256 nor ed25519-sha256 (RFC 8301 section 3.1)")
    signature = decode_base64(tags.get("b", ""))
    if not signature:
        raise ArcError("an ARC field's b= is not base64 (RFC 6376 section 3.5)")
    domain, selector = a_labels(tags.get("d", "")), selector_labels(tags.get("s", ""))
    if domain is None or selector is None or len(f"{selector}._domainkey.{domain}") > _MAX_NAME:
        raise ArcError("an ARC field's d= or s= is no name (RFC 6376 section 3.5)")
    _time(tags, "t")
    return algorithm.removesuffix("-sha256"), signature, domain, selector


def _time(tags: dict[str, str], name: str) -> int | None:
    text = tags.get(name)
    if text is None:
        return None
    if _NUMBER.fullmatch(text) is None:
        raise ArcError(f"an ARC field's {name}= is not a number (RFC 6376 section 3.5)")
    return int(text)


def _canonicalisations(text: str) -> tuple[str, str]:
    header, slash, body = text.lower().partition("/")
    both = (header, body if slash else "simple")
    if not {*both} <= {"simple", "relaxed"}:
        raise ArcError("the message signature's c= names an unknown canonicalisation (RFC 6376 section 3.5)")
    return both


def _headers(text: str) -> tuple[bytes, ...]:
    """Empty names stand for nothing. That other ARC fields are named is the sealer's fault and covers only more."""
    names = [name for word in text.split(":") if (name := word.strip(" \t").lower())]
    if not all(map(_FIELD_NAME.fullmatch, names)):
        raise ArcError("the message signature's h= is not a list of field names (RFC 6376 section 3.5)")
    if "from" not in names:
        raise ArcError("the message signature does not cover From (RFC 6376 section 5.4)")
    if "arc-seal" in names:
        raise ArcError("the message signature covers a seal, which is forbidden (RFC 8617 section 4.1.2)")
    return tuple(name.encode("ascii") for name in names)
