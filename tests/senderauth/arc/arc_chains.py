"""Makes ARC chains for tests: keys, a zone with them, and a sealer that can be told to do it wrongly."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field
from functools import cache

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from postlatch.senderauth.dkim.canon import BodyHash, header
from postlatch.senderauth.dkim.digest import header_digest
from postlatch.senderauth.dkim.fields import covered, split_fields

MESSAGE = b"From: alice@example.com\r\nTo: bob@example.org\r\nSubject: x\r\n"
BODY = b"Hello\r\n"


@cache
def key_of(domain: str) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(domain.encode()).digest())


def zone(*domains: str) -> dict[str, dict[str, list[str] | str]]:
    found: dict[str, dict[str, list[str] | str]] = {}
    for domain in domains:
        raw = key_of(domain).public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        found[f"s._domainkey.{domain}"] = {"TXT": [f"v=DKIM1; k=ed25519; p={base64.b64encode(raw).decode()}"]}
    return found


@dataclass
class Chain:
    """A message on its way: ``seal`` adds a set, ``change`` changes the body in between."""

    block: bytes = MESSAGE
    body: bytes = BODY
    instance: int = 0
    sets: list[tuple[bytes, bytes, bytes]] = field(default_factory=list)

    def seal(
        self,
        domain: str,
        *,
        cv: str = "",
        results: str = "spf=pass smtp.mailfrom=example.com",
        headers: str = "from:to:subject",
        extra: str = "",
        seal_extra: str = "",
        instance: int = 0,
    ) -> Chain:
        self.instance = instance or self.instance + 1
        i = self.instance
        aar = f"ARC-Authentication-Results: i={i}; {domain}; {results}\r\n".encode()
        body = BodyHash("relaxed")
        body.feed(self.body)
        bh = base64.b64encode(body.digest()).decode()
        tags = f"i={i}; a=ed25519-sha256; c=relaxed/relaxed; d={domain}; s=s; h={headers}; bh={bh}; {extra}b="
        ams = f"ARC-Message-Signature: {tags}".encode()
        names = [name.strip().encode() for name in headers.split(":")]
        digest = header_digest(covered(split_fields(self.block), names), ams + b"\r\n", "relaxed")
        ams += base64.b64encode(key_of(domain).sign(digest)) + b"\r\n"
        cv = cv or ("none" if i == 1 else "pass")
        seal = f"ARC-Seal: i={i}; a=ed25519-sha256; cv={cv}; d={domain}; s=s; {seal_extra}b=".encode()
        hashed = hashlib.sha256()
        for one in (*(raw for three in self.sets for raw in three), aar, ams):
            hashed.update(header(one, "relaxed"))
        hashed.update(header(seal + b"\r\n", "relaxed").removesuffix(b"\r\n"))
        seal += base64.b64encode(key_of(domain).sign(hashed.digest())) + b"\r\n"
        self.sets.append((aar, ams, seal))
        self.block = seal + ams + aar + self.block
        return self

    def change(self, line: bytes) -> Chain:
        self.body += line
        return self
