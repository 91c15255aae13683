"""All checks of one message on its way in: SPF begins with its envelope, DKIM, ARC and DMARC with its header.

Look-ups run while the body arrives, so that after the final dot there is mostly nothing left to wait for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from postlatch.model.dns import Resolver
from postlatch.model.envelope import IPAddress
from postlatch.senderauth.arc.verify import ArcVerifier
from postlatch.senderauth.dkim.verify import Verifier
from postlatch.senderauth.dmarc.verify import check_dmarc, none_for
from postlatch.senderauth.dmarc.walk import Policy, discover
from postlatch.senderauth.results import ArcResult, Authentication, Disposition, DkimResult, DmarcResult, Result, SpfResult
from postlatch.senderauth.spf.verify import check_spf

T = TypeVar("T")


class MessageCheck:
    """``sender`` is the text of MAIL FROM, None for ``<>``. ``timeout``: seconds for all that is waited for at the end.

    ``start`` and ``header`` once each, ``feed`` for the octets behind the header's empty line, then ``finish`` or ``abandon``.
    """

    def __init__(
        self,
        resolver: Resolver,
        *,
        client: IPAddress,
        helo: str,
        sender: str | None,
        receiver: str,
        now: float,
        timeout: float = 20.0,
    ) -> None:
        self._resolver = resolver
        self._client = client
        self._helo = helo
        self._sender = sender
        self._receiver = receiver
        self._now = now
        self._timeout = timeout
        self._spf: asyncio.Task[SpfResult] | None = None
        self._policy: asyncio.Task[Policy] | None = None
        self._dkim: Verifier | None = None
        self._arc: ArcVerifier | None = None
        self._from_domain = ""

    def start(self) -> asyncio.Task[SpfResult]:
        """Begin with SPF; the same task at each call."""
        if self._spf is None:
            self._spf = self._task(
                check_spf(
                    self._resolver,
                    client=self._client,
                    helo=self._helo,
                    sender=self._sender,
                    receiver=self._receiver,
                    now=self._now,
                    timeout=self._timeout,
                )
            )
        return self._spf

    def skip_spf(self) -> None:
        """Instead of ``start``, where the client's address is not known: whatever it is, it proves nothing."""
        self._spf = self._task(_unasked(self._sender, self._helo))

    def header(self, block: bytes, from_domain: str) -> None:
        """The header block as the client sent it. ``from_domain`` is the author's, empty if there is not exactly one."""
        self._from_domain = from_domain
        self._dkim = Verifier(block, now=self._now)
        self._arc = ArcVerifier(block, now=self._now)
        self._dkim.start(self._resolver)
        self._arc.start(self._resolver)
        if from_domain:
            self._policy = self._task(discover(self._resolver, from_domain))

    def feed(self, data: bytes) -> None:
        """Octets of the body."""
        if self._dkim is not None and self._arc is not None:
            self._dkim.feed(data)
            self._arc.feed(data)

    async def finish(self) -> Authentication:
        """What was found; whatever the DNS did not answer in time is a temperror. Never raises for what a stranger sent."""
        deadline = asyncio.get_running_loop().time() + self._timeout
        spf = await self._in_time(self.start(), deadline, _no_spf(self._sender, self._helo))
        dkim = await self._finish_dkim(deadline)
        arc = await self._finish_arc(deadline)
        dmarc = await self._in_time(self._finish_dmarc(spf, dkim), deadline, _no_dmarc(self._from_domain))
        self.abandon()
        return Authentication(spf, dkim, arc, dmarc)

    async def _finish_dkim(self, deadline: float) -> tuple[DkimResult, ...]:
        """What is answered in time counts, each signature by itself."""
        return await self._dkim.finish(self._resolver, timeout=_left(deadline)) if self._dkim is not None else ()

    async def _finish_arc(self, deadline: float) -> ArcResult:
        if self._arc is None:
            return ArcResult(Result.NONE, 0, "the message has no header")
        return await self._arc.finish(self._resolver, timeout=_left(deadline))

    async def _finish_dmarc(self, spf: SpfResult, dkim: Sequence[DkimResult]) -> DmarcResult:
        if self._policy is None:
            return none_for("there is not exactly one author's domain in From")
        policy = await self._policy
        return await check_dmarc(self._resolver, from_domain=self._from_domain, spf=spf, dkim=dkim, policy=policy)

    async def _in_time(self, work: Coroutine[Any, Any, T] | asyncio.Task[T], deadline: float, otherwise: T) -> T:
        try:
            async with asyncio.timeout_at(deadline):
                return await work
        except TimeoutError:
            return otherwise

    def abandon(self) -> None:
        """The message is gone or judged: stop asking. May be called more than once."""
        for task in (self._spf, self._policy):
            if task is not None:
                task.cancel()
        for verifier in (self._dkim, self._arc):
            if verifier is not None:
                verifier.abandon()

    @staticmethod
    def _task(work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.get_running_loop().create_task(work)
        task.add_done_callback(_look_at)
        return task


def _left(deadline: float) -> float:
    return max(deadline - asyncio.get_running_loop().time(), 0.0)


def _look_at(task: asyncio.Task[Any]) -> None:
    """Nobody may be left to await it: an exception is fetched, so that the loop does not complain of it."""
    if not task.cancelled():
        task.exception()


def _no_spf(sender: str | None, helo: str) -> SpfResult:
    domain = (sender or helo).rpartition("@")[2].lower()[:253]
    shown = domain.encode("ascii", "backslashreplace").decode("ascii")
    why = "the DNS did not answer in time (RFC 7208 section 4.6.4)"
    return SpfResult(Result.TEMPERROR, shown, "mfrom" if sender else "helo", reason=why)


async def _unasked(sender: str | None, helo: str) -> SpfResult:
    why = "the client's address is not known: a proxy speaks for it and does not say"
    return _no_spf(sender, helo)._replace(result=Result.NONE, reason=why)


def _no_dmarc(from_domain: str) -> DmarcResult:
    why = "the DNS did not answer in time"
    return DmarcResult(Result.TEMPERROR, Disposition.NONE, from_domain, "", spf_aligned=False, dkim_aligned=False, reason=why)
