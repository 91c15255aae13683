"""Random messages to compare DKIM with: headers, folding, white space, eight bits, bodies of all sorts; signed, and changed.

A case is signed by us, by the other side, or by hand with tags that no signer writes.
"""

from __future__ import annotations

import random
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from postlatch.senderauth.dkim.canon import BodyHash
from postlatch.senderauth.dkim.digest import header_digest
from postlatch.senderauth.dkim.fields import covered, split_fields
from postlatch.senderauth.dkim.sign import Signer, SigningKey, complete, public_record

DOMAIN: Final = "example.com"
_FIELDS: Final = (b"To", b"Cc", b"Subject", b"Date", b"Message-ID", b"MIME-Version", b"Content-Type", b"References", b"X-Any")
_OTHERS: Final = (b"Received", b"List-ID", b"List-Unsubscribe", b"Reply-To", b"Sender", b"x-lower", b"SUBJECT", b"Resent-From")
_WORDS: Final = (
    b"lunch",
    b"<a@example.org>",
    b"\xc3\xa9t\xc3\xa9",
    b"\xff\xfe",
    b"=?utf-8?q?x?=",
    b"a:b;c=d",
    b"12:00",
    b"\\",
    b'"q"',
)
_GAPS: Final = (b" ", b" ", b" ", b"  ", b"\t", b" \t ", b"\r\n ", b"\r\n\t", b"\r\n \t ", b" \r\n  ")
_TEXTS: Final = (
    b"text",
    b"a b",
    b"a  b",
    b"\ta\t\tb",
    b" lead",
    b"trail ",
    b"trail\t ",
    b"",
    b"",
    b" ",
    b"\t",
    b".",
    b"..",
    b"\xff\x80",
)
_RARE: Final = (b"\r", b"\n", b"\0", b"\x0b", b"\x0c", b"\r\r\n", b"From x", b"x" * 998)
CANONICALISATIONS: Final = ("simple/simple", "simple/relaxed", "relaxed/simple", "relaxed/relaxed")


@dataclass(frozen=True)
class Case:
    """A message with a signature in front, how it came about, and who should believe it if nobody changed it."""

    seed: int
    made: str
    message: bytes
    marks: frozenset[str] = field(default_factory=frozenset)

    def __contains__(self, mark: str) -> bool:
        return mark in self.marks

    @property
    def header(self) -> bytes:
        """All before the empty line."""
        return self.message.partition(b"\r\n\r\n")[0] + b"\r\n"

    @property
    def body(self) -> bytes:
        """All behind it."""
        return self.message.partition(b"\r\n\r\n")[2]


@dataclass(frozen=True)
class Keys:
    """The keys that sign in all cases of a run, by algorithm."""

    ed25519: SigningKey
    rsa: SigningKey

    @property
    def records(self) -> dict[str, str]:
        """As they are published."""
        return {f"{key.selector}._domainkey.{key.domain}": public_record(key) for key in (self.ed25519, self.rsa)}


@cache
def keys() -> Keys:
    """Made once; of 1024 bit, because the other side's arithmetic is slow."""
    small = generate_private_key(65537, 1024)  # noqa: S505 - it protects nothing
    return Keys(SigningKey(DOMAIN, "ed", "ed25519", Ed25519PrivateKey.generate()), SigningKey(DOMAIN, "rsa", "rsa", small))


def pem(key: SigningKey) -> bytes:
    """The private key of it."""
    return key.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def plain(chance: random.Random, *, strict: bool = False) -> bytes:
    """A message that nobody signed yet; ``strict`` is what SMTP and a milter carry unchanged."""
    names = [chance.choice(_FIELDS if chance.random() < 0.7 else _OTHERS) for _ in range(chance.randrange(9))]
    fields = [name + _colon(chance, strict=strict) + _value(chance) + b"\r\n" for name in names]
    author = b"From:" + chance.choice((b" ", b"  ", b"\t", b"")) + b"Alice <alice@example.com>" + b"\r\n"
    fields.insert(chance.randrange(len(fields) + 1), author if not strict else b"From: Alice <alice@example.com>\r\n")
    return b"".join(fields) + b"\r\n" + _body(chance, strict=strict)


def _colon(chance: random.Random, *, strict: bool) -> bytes:
    if strict:
        return b": "
    return chance.choice((b": ", b": ", b": ", b":", b":  ", b":\t")) if chance.random() < 0.98 else b" :"


def _value(chance: random.Random) -> bytes:
    words = [chance.choice(_WORDS) for _ in range(chance.randint(1, 6))]
    text = words[0] + b"".join(chance.choice(_GAPS) + word for word in words[1:])
    return text + chance.choice((b"", b"", b"", b" ", b"\t"))


def _body(chance: random.Random, *, strict: bool) -> bytes:
    lines = [chance.choice(_TEXTS) for _ in range(chance.choice((0, 1, 2, 5, 12)))]
    if not strict and chance.random() < 0.05 and lines:
        lines[chance.randrange(len(lines))] += chance.choice(_RARE)
    body = b"".join(line + b"\r\n" for line in lines)
    return body[: -chance.choice((1, 2))] if not strict and chance.random() < 0.05 and body else body


def signed_by_us(seed: int, now: float, *, strict: bool = False) -> Case:
    """With one key or both; every second one is then changed."""
    chance = random.Random(f"ours{seed}")  # noqa: S311 - no secret
    message, both = plain(chance, strict=strict), keys()
    chosen = chance.choice(((both.ed25519,), (both.rsa,), (both.ed25519, both.rsa)))
    head, _, body = message.partition(b"\r\n\r\n")
    signer = Signer(chosen, head + b"\r\n", now=now, valid=chance.choice((None, 86_400)))
    signer.feed(body)
    return changed(Case(seed, "signed here", signer.finish() + message), chance, strict=strict)


def changed(case: Case, chance: random.Random, *, strict: bool = False) -> Case:
    """Every second case with one change on its way, which canonicalisation forgives or not."""
    if chance.random() < 0.5:
        return case
    change = chance.choice(_CHANGES)
    message = change(case.message, chance)
    if strict and b":" in message and not message.endswith(b"\r\n"):
        message += b"\r\n"
    return Case(case.seed, f"{case.made}, {change.__name__.strip('_').replace('_', ' ')}", message, case.marks | {"changed"})


def _more_lines(message: bytes, chance: random.Random) -> bytes:
    return message + chance.choice((b"\r\n", b" \r\n", b"\t\r\n\r\n", b"x\r\n"))


def _wider_space(message: bytes, chance: random.Random) -> bytes:
    places = [place for place, octet in enumerate(message) if octet == 0x20]
    place = chance.choice(places or [0])
    return message[:place] + b" " + message[place:]


def _folded(message: bytes, chance: random.Random) -> bytes:
    head, empty, body = message.partition(b"\r\n\r\n")
    places = [place for place, octet in enumerate(head) if octet == 0x20 and head[place - 1] not in b"\r\n"]
    if not places:
        return message
    place = chance.choice(places)
    return head[:place] + b"\r\n" + head[place:] + empty + body


def _other_case(message: bytes, chance: random.Random) -> bytes:
    lines = message.split(b"\r\n")
    place = chance.randrange(max(1, lines.index(b"") if b"" in lines else 1))
    name, colon, value = lines[place].partition(b":")
    lines[place] = name.swapcase() + colon + value
    return b"\r\n".join(lines)


def _another_field(message: bytes, chance: random.Random) -> bytes:
    name = chance.choice((*_FIELDS, *_OTHERS, b"From", b"DKIM-Signature"))
    text = name + b": added\r\n"
    if chance.random() < 0.5:
        return text + message
    head, empty, body = message.partition(b"\r\n\r\n")
    return head + b"\r\n" + text[:-2] + empty + body


def _one_octet(message: bytes, chance: random.Random) -> bytes:
    place = chance.randrange(len(message))
    return message if message[place] in b"\r\n" else message[:place] + b"~" + message[place + 1 :]


def _without_a_line(message: bytes, chance: random.Random) -> bytes:
    lines = message.split(b"\r\n")
    del lines[chance.randrange(len(lines))]
    return b"\r\n".join(lines)


_CHANGES: Final[tuple[Callable[[bytes, random.Random], bytes], ...]] = (
    *(_more_lines, _wider_space, _folded, _other_case, _another_field, _one_octet, _without_a_line),
)

# Tags by hand: what is written, and the mark by which a difference is recognised.
_TAGS: Final[tuple[tuple[str, str, str], ...]] = (
    ("l", "0", "l="),
    ("l", "99999", "l="),
    ("x", "{now-1}", "expired"),
    ("x", "{now+60}", ""),
    ("t", "{now+3600}", "future"),
    ("t", "{now}", ""),
    ("q", "dns/txt", ""),
    ("q", "dns/txt:http/any", "q="),
    ("q", "http/any", ""),
    ("i", "@example.com", ""),
    ("i", "alice@sub.example.com", ""),
    ("i", "a=40b@Example.Com", ""),
    ("i", "alice@badexample.com", ""),
    ("i", "alice@example.org", ""),
    ("i", "alice@.example.com", "i="),
    ("z", "From:a|To:b", ""),
    ("unknown_1", "x y", ""),
    ("r", "a\tb", ""),
    ("a-b", "1", "name"),
    ("c", "simple", "c="),
    ("c", "Relaxed/Simple", ""),
    ("c", "relaxed/nofws", ""),
    ("v", "1 ", ""),
    ("v", "2", ""),
    ("a", "RSA-SHA256", ""),
    ("a", "rsa-sha1", "sha1"),
    ("s", "RSA", ""),
    ("d", "EXAMPLE.com", ""),
    ("h", "From:Subject", ""),
    ("h", "from : subject\t: To:from", ""),
    ("h", "Subject:To", ""),
    ("h", "from:dkim-signature:dkim-signature", "own"),
    ("h", "from::to", "h="),
    ("h", "from:bcc:received", ""),
    ("note", "\u00fcber", ""),
    ("note", "\x01", "control"),
    ("t", "1", ""),
)


def signed_by_hand(seed: int, now: float) -> Case:
    """With one or two tags that are unusual, wrong or old, under an RSA signature that fits."""
    chance = random.Random(f"hand{seed}")  # noqa: S311 - no secret
    message = plain(chance)
    tags = {"v": "1", "a": "rsa-sha256", "c": chance.choice(CANONICALISATIONS), "d": DOMAIN, "s": "rsa", "h": "From:To"}
    marks = set()
    for name, text, mark in chance.sample(_TAGS, chance.choice((1, 1, 2))):
        tags[name] = text.replace("{now}", str(int(now))).replace("{now-1}", str(int(now) - 1))
        tags[name] = tags[name].replace("{now+60}", str(int(now) + 60)).replace("{now+3600}", str(int(now) + 3600))
        marks.add(mark)
    head, _, body = message.partition(b"\r\n\r\n")
    field_ = _hand_signed(tags, head + b"\r\n", body, chance, marks)
    return Case(seed, f"signed by hand {sorted(marks - {''})}", field_ + message, frozenset(marks))


def _hand_signed(tags: dict[str, str], block: bytes, body: bytes, chance: random.Random, marks: set[str]) -> bytes:
    canon = tags["c"].lower()
    header_canon, _, body_canon = canon.partition("/")
    hashed = BodyHash("relaxed" if body_canon == "relaxed" else "simple")
    hashed.feed(body)
    body_hash = b64encode(hashed.digest()).decode()
    if chance.random() < 0.1:
        body_hash = body_hash.rstrip("=")
        marks.add("padding")
    tags["bh"] = body_hash
    joint = chance.choice((";", "; ", " ;", ";\r\n ", ";\r\n\t", " ; \r\n  "))
    unsigned = (
        "DKIM-Signature:" + chance.choice((" ", "", "\r\n\t")) + joint.join(f"{name}={text}" for name, text in tags.items())
    )
    unsigned += joint + chance.choice(("b=", "b=", "b =", " b="))
    if "b =" in unsigned:
        marks.add("b =")
    octets = unsigned.encode()
    names = [name.strip().lower().encode() for name in tags["h"].split(":")]
    fields = covered(split_fields(block), names)
    digest = header_digest(fields, octets, "relaxed" if header_canon == "relaxed" else "simple")
    signed = complete(octets, digest, keys().rsa.private)
    if chance.random() < 0.1:
        marks.add("tail")
        return signed[:-2] + chance.choice((b" \r\n", b"\t\r\n", b"\r\n \r\n"))
    return signed
