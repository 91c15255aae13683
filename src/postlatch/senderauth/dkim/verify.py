"""Checks the signatures of one message while its body streams by. RFC 6376 section 6."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Final

from postlatch.model.dns import DnsError, Resolver
from postlatch.senderauth.dkim.canon import BodyHash
from postlatch.senderauth.dkim.digest import header_digest
from postlatch.senderauth.dkim.fields import by_name, covered, split_fields
from postlatch.senderauth.dkim.key import KeyRecordError, PublicKey, choose_key
from postlatch.senderauth.dkim.signature import Signature, SignatureError, Summary, read_signature
from postlatch.senderauth.results import DkimResult, Result

MAX_RESULTS: Final = 100  # a header block has room for ten thousand signatures, a result has not

_PARTIAL: Final = "the signature covers a part of the body only (l=): anything could follow it (RFC 6376 section 8.2)"
_CAPPED: Final = "work capped: the message has too many signatures, and this one was not checked (RFC 6376 section 6.1)"
_EXTRA_FROM: Final = "the signature fits, but does not cover every From of the message (RFC 6376 section 8.15)"


class Verifier:
    """``Verifier(block)``, ``start``, ``feed`` the body, ``finish``; ``abandon`` if it does not come to that.

    The first ``max_signatures`` signatures of the header are checked, from the top; the others get the result ``policy``.
    """

    def __init__(self, block: bytes, *, now: float, max_signatures: int = 8) -> None:
        self._fields = by_name(split_fields(block))
        signatures = self._fields.get(b"dkim-signature", [])
        self._read = [read_signature(field, now) for field in signatures[:max_signatures]]
        self._capped = [read_signature(field, now)[0] for field in signatures[max_signatures:MAX_RESULTS]]
        self._bodies = {found.body_canon: BodyHash(found.body_canon) for found in self._checkable()}
        self._lookups: dict[str, asyncio.Task[list[bytes]]] = {}

    def _checkable(self) -> Iterator[Signature]:
        """The signatures that pass if hash and key are right."""
        return (found for _, found in self._read if isinstance(found, Signature) and not found.partial)

    @property
    def wanted(self) -> tuple[tuple[str, str], ...]:
        """The (selector, domain) of the keys that will be asked for, each once."""
        return tuple(dict.fromkeys((found.selector, found.domain) for found in self._checkable()))

    def start(self, resolver: Resolver) -> None:
        """Begin to ask for the keys, so that they are there when the body is. To be called on the loop."""
        for found in self._checkable():
            if found.key_name not in self._lookups:
                self._lookups[found.key_name] = _begin(resolver, found.key_name)

    def feed(self, chunk: bytes) -> None:
        """The next octets of the body, with CRLF line ends."""
        for body in self._bodies.values():
            body.feed(chunk)

    async def finish(self, resolver: Resolver, *, timeout: float | None = None) -> tuple[DkimResult, ...]:  # noqa: ASYNC109
        """The result of each signature, from the top. A key that is not there after ``timeout`` seconds is a temperror."""
        try:
            self.start(resolver)
            # Where the body is another, no key can help: who changes bodies cannot make anyone wait.
            needed = {self._lookups[found.key_name] for found in self._checkable() if self._fits_body(found)}
            if needed:
                await asyncio.wait(needed, timeout=timeout)
            results = [self._judge(summary, found) for summary, found in self._read]
        finally:
            self.abandon()
        return (*results, *(_result(summary, Result.POLICY, _CAPPED) for summary in self._capped))

    def abandon(self) -> None:
        """Give up the look-ups that still go on. Harmless at any time, also twice."""
        for task in self._lookups.values():
            task.cancel()

    def _fits_body(self, signature: Signature) -> bool:
        return self._bodies[signature.body_canon].digest() == signature.body_hash

    def _judge(self, summary: Summary, found: Signature | SignatureError) -> DkimResult:
        if isinstance(found, SignatureError):
            return _result(summary, found.result, str(found))
        if found.partial:
            return _result(summary, Result.POLICY, _PARTIAL)
        if not self._fits_body(found):
            return _result(summary, Result.FAIL, "the body was changed: bh= is not its hash (RFC 6376 section 6.1.3)")
        try:
            key = _key(self._lookups[found.key_name], found)
        except DnsError as error:
            return _result(summary, Result.TEMPERROR, str(error))
        except KeyRecordError as error:
            return _result(summary, Result.PERMERROR, str(error))
        return self._verify(summary, found, key)

    def _verify(self, summary: Summary, found: Signature, key: PublicKey) -> DkimResult:
        digest = header_digest(covered(self._fields, found.headers, without=found.field), found.field.raw, found.header_canon)
        if not key.verify(found.signature, digest):
            reason = "a signed field was changed, or another key signed: b= does not fit (RFC 6376 section 6.1.3)"
            return _result(summary, Result.FAIL, reason, testing=key.testing)
        if len(self._fields.get(b"from", ())) > found.headers.count(b"from"):
            return _result(summary, Result.POLICY, _EXTRA_FROM, testing=key.testing)
        reason = f"the signature fits header and body ({key.algorithm}, {key.bits} bit; RFC 6376 section 6.1.3)"
        return _result(summary, Result.PASS, reason, testing=key.testing)


def _begin(resolver: Resolver, name: str) -> asyncio.Task[list[bytes]]:
    task = asyncio.get_running_loop().create_task(_ask(resolver, name))
    task.add_done_callback(_retrieve)
    return task


async def _ask(resolver: Resolver, name: str) -> list[bytes]:
    return await resolver.txt(name)


def _retrieve(task: asyncio.Task[list[bytes]]) -> None:
    """A failure that nobody asks for any more is none: asyncio would print it."""
    if not task.cancelled():
        task.exception()


def _key(lookup: asyncio.Task[list[bytes]], signature: Signature) -> PublicKey:
    """The key for this signature; DnsError if it may be there, KeyRecordError if it is not. RFC 6376 section 6.1.2."""
    if not lookup.done() or lookup.cancelled():
        raise DnsError("the key's DNS look-up took too long (RFC 6376 section 6.1.2)", temporary=True)
    try:
        records = lookup.result()
    except DnsError as error:
        if error.temporary:
            raise DnsError("the key's DNS look-up failed for now (RFC 6376 section 6.1.2)", temporary=True) from None
        raise KeyRecordError("there is no key: the name does not exist (RFC 6376 section 6.1.2)") from None
    key = choose_key(records)
    if key.algorithm != signature.algorithm:
        raise KeyRecordError("the key is of another kind than the signature's a= (RFC 6376 section 6.1.2)")
    if key.exact and signature.identity_domain != signature.domain:
        raise KeyRecordError("the key permits no subdomain in i= (t=s), and the signature has one (RFC 6376 section 3.6.1)")
    return key


def _result(summary: Summary, result: Result, reason: str, *, testing: bool = False) -> DkimResult:
    return DkimResult(
        result=result,
        domain=summary.domain,
        selector=summary.selector,
        algorithm=summary.algorithm,
        reason=reason,
        identity=summary.identity,
        signature=summary.signature,
        body_hash=summary.body_hash,
        testing=testing,
    )
