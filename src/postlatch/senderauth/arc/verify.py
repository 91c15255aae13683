"""Checks the ARC chain of one message while its body streams by. RFC 8617 section 5.2.

A chain passes if its newest message signature and all its seals do. Older message signatures only say how far back the
message is unchanged: they are checked as long as that costs no further key.
"""

from __future__ import annotations

import asyncio
import hashlib
from typing import Final

from postlatch.model.dns import DnsError, Resolver
from postlatch.senderauth.arc.parse import (
    MAX_INSTANCES,
    ArcError,
    ArcSet,
    MessageSignature,
    Seal,
    Signed,
    read_chain,
    results_text,
)
from postlatch.senderauth.dkim.canon import BodyHash, header
from postlatch.senderauth.dkim.digest import header_digest
from postlatch.senderauth.dkim.fields import covered, split_fields
from postlatch.senderauth.dkim.key import KeyRecordError, PublicKey, choose_key
from postlatch.senderauth.dkim.signature import without_value
from postlatch.senderauth.results import ArcResult, Result

MAX_KEYS: Final = MAX_INSTANCES + 1  # the seals' and the newest message signature's

_TOO_LATE: Final = "a key's DNS look-up failed for now or took too long: the chain is not believed"


class ArcVerifier:
    """``ArcVerifier(block)``, ``start``, ``feed`` the body, ``finish``; ``abandon`` if it does not come to that."""

    def __init__(self, block: bytes, *, now: float) -> None:
        self._fields = split_fields(block)
        self._sets: list[ArcSet] = []
        self._problem = ""
        self._oldest_pass: int | None = None
        try:
            self._sets = read_chain(self._fields, now)
            if self._sets:
                _readable(self._sets[-1])
        except ArcError as error:
            self._problem = str(error)
        checked = [] if self._problem else [one.message for one in self._sets if isinstance(one.message, MessageSignature)]
        self._bodies = {message.body_canon: BodyHash(message.body_canon) for message in checked}
        self._digests: dict[str, bytes] = {}
        self._lookups: dict[str, asyncio.Task[list[bytes]]] = {}
        self._keys: dict[str, PublicKey] = {}

    @property
    def oldest_pass(self) -> int | None:
        """After ``finish``: the oldest instance whose message signature passes with all newer ones, 0 if that is the first.

        None if the chain does not pass. RFC 8617 section 5.2, step 5.
        """
        return self._oldest_pass

    def start(self, resolver: Resolver) -> None:
        """Begin to ask for the keys, so that they are there when the body is. To be called on the loop."""
        for name in self._key_names():
            if name not in self._lookups:
                task = asyncio.get_running_loop().create_task(_ask(resolver, name))
                task.add_done_callback(_retrieve)
                self._lookups[name] = task

    def _key_names(self) -> list[str]:
        if self._problem or not self._sets:
            return []
        newest = _readable(self._sets[-1])
        return list(dict.fromkeys([newest.key_name, *(one.seal.key_name for one in reversed(self._sets))]))[:MAX_KEYS]

    def feed(self, chunk: bytes) -> None:
        """The next octets of the body, with CRLF line ends."""
        for body in self._bodies.values():
            body.feed(chunk)

    async def finish(self, resolver: Resolver, *, timeout: float | None = None) -> ArcResult:  # noqa: ASYNC109
        """The result of the chain. A key that is not there after ``timeout`` seconds makes it fail: it is only a hint."""
        if not self._problem and not self._sets:
            return ArcResult(Result.NONE, 0, "the message has no ARC chain (RFC 8617 section 5.2, step 1)")
        try:
            if not self._problem:
                await self._check(resolver, timeout)
        except ArcError as error:
            self._problem = str(error)
        finally:
            self.abandon()
        if self._problem:
            return ArcResult(Result.FAIL, len(self._sets), self._problem)
        return ArcResult(
            result=Result.PASS,
            instance=len(self._sets),
            reason="the newest message signature and all seals fit (RFC 8617 section 5.2)",
            sealers=tuple(one.seal.domain for one in self._sets),
            results=results_text(self._sets[-1].results),
            oldest_pass=self._oldest_pass,
        )

    def abandon(self) -> None:
        """Give up the look-ups that still go on. Harmless at any time, also twice."""
        for task in self._lookups.values():
            task.cancel()

    async def _check(self, resolver: Resolver, timeout: float | None) -> None:  # noqa: ASYNC109
        self._digests = {name: body.digest() for name, body in self._bodies.items()}
        newest = _readable(self._sets[-1])
        if self._digests[newest.body_canon] != newest.body_hash:  # no key can help: nobody is waited for
            raise ArcError("the body was changed after the newest seal: bh= is not its hash (RFC 8617 section 5.2, step 4)")
        self.start(resolver)
        await asyncio.wait(self._lookups.values(), timeout=timeout)
        if not self._message_fits(newest):
            raise ArcError("the newest message signature does not fit the message (RFC 8617 section 5.2, step 4)")
        self._check_seals()
        self._oldest_pass = self._find_oldest()

    def _message_fits(self, message: MessageSignature) -> bool:
        if self._digests[message.body_canon] != message.body_hash:
            return False
        if sum(field.name == b"from" for field in self._fields) > message.headers.count(b"from"):
            return False  # RFC 6376 section 8.15: one of the authors is not covered
        fields = covered(self._fields, message.headers, without=message.field)
        return self._key(message).verify(message.signature, header_digest(fields, message.field.raw, message.header_canon))

    def _check_seals(self) -> None:
        """Each seal covers all ARC fields up to its own instance, relaxed, in the order of section 5.1.1."""
        before = hashlib.sha256()
        for number, one in enumerate(self._sets, 1):
            before.update(header(one.results.raw, "relaxed") + header(one.message_field.raw, "relaxed"))
            this = before.copy()
            this.update(header(without_value(one.seal.field.raw), "relaxed").removesuffix(b"\r\n"))
            if not self._seal_fits(one.seal, this.digest()):
                raise ArcError(f"the seal {number} does not fit the chain (RFC 8617 section 5.2, step 6)")
            before.update(header(one.seal.field.raw, "relaxed"))

    def _seal_fits(self, seal: Seal, digest: bytes) -> bool:
        return self._key(seal).verify(seal.signature, digest)

    def _find_oldest(self) -> int:
        for instance in range(len(self._sets) - 1, 0, -1):
            message = self._sets[instance - 1].message
            if not isinstance(message, MessageSignature) or message.key_name not in self._lookups:
                return instance + 1
            try:
                if not self._message_fits(message):
                    return instance + 1
            except ArcError:
                return instance + 1
        return 0

    def _key(self, signed: Signed) -> PublicKey:
        """The key for this field; ArcError if there is none."""
        key = self._keys.get(signed.key_name) or self._read_key(signed.key_name)
        if key.algorithm != signed.algorithm:
            raise ArcError("a key is of another kind than the a= of its field (RFC 6376 section 6.1.2)")
        return key

    def _read_key(self, name: str) -> PublicKey:
        lookup = self._lookups[name]
        if not lookup.done() or lookup.cancelled():
            raise ArcError(_TOO_LATE)
        try:
            self._keys[name] = choose_key(lookup.result())
        except DnsError as error:
            gone = "a key is not there: its name does not exist (RFC 6376 section 6.1.2)"
            raise ArcError(_TOO_LATE if error.temporary else gone) from None
        except KeyRecordError as error:
            raise ArcError(str(error)) from None
        return self._keys[name]


def _readable(one: ArcSet) -> MessageSignature:
    if isinstance(one.message, ArcError):
        raise one.message
    return one.message


async def _ask(resolver: Resolver, name: str) -> list[bytes]:
    return await resolver.txt(name)


def _retrieve(task: asyncio.Task[list[bytes]]) -> None:
    """A failure that nobody asks for any more is none: asyncio would print it."""
    if not task.cancelled():
        task.exception()
