"""The MTA-STS policies that are kept: what replaces one, what does not, and when it is fetched (RFC 8461)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from app_world import in_loop, opened

from postlatch.app.mta_sts import KNOWN, RETRY, StsPolicies
from postlatch.delivery.mta_sts import StsMode
from postlatch.journal.counters import Counters
from postlatch.model.fetch import Fetched, FetchError
from postlatch.testing.clock import FakeClock
from postlatch.testing.dns import FakeResolver

DOMAIN = "site.example"
DAY = 86_400.0


def body(mode: str = "enforce", mx: str = "mx.site.example", age: int = 604_800) -> bytes:
    return f"version: STSv1\nmode: {mode}\nmx: {mx}\nmax_age: {age}\n".encode()


class Web:
    """The policy server: ``answer`` is what it says, an exception that it does not. ``asked`` lists the URLs."""

    def __init__(self) -> None:
        self.answer: Fetched | FetchError = Fetched(200, "text/plain; charset=utf-8", body())
        self.asked: list[str] = []

    async def get(
        self,
        url: str,
        *,
        timeout: float,  # noqa: ASYNC109 - the contract's
        limit: int,
        trusted: bool = False,
        headers: Mapping[str, str] | None = None,
    ) -> Fetched:
        assert (timeout, limit, trusted, headers) == (30.0, 65_536, False, None)
        self.asked.append(url)
        if isinstance(self.answer, FetchError):
            raise self.answer
        return self.answer

    async def post(self, *_: object, **__: object) -> Fetched:
        raise AssertionError


class Place:
    """One relay's policies, its clock, its DNS and the web."""

    def __init__(self, policies: StsPolicies, clock: FakeClock, zone: dict[str, Mapping[str, object]], web: Web) -> None:
        self.policies, self.clock, self.zone, self.web = policies, clock, zone, web

    def say(self, identity: str | None) -> None:
        """The TXT record has this id; None: there is none."""
        self.zone.clear()
        if identity is not None:
            self.zone[f"_mta-sts.{DOMAIN}"] = {"TXT": [f"v=STSv1; id={identity};"]}

    async def mode(self, later: float = KNOWN + 1) -> StsMode | None:
        """The mode that holds after some seconds."""
        self.clock.advance(later)
        found = await self.policies.policy(DOMAIN)
        return found.policy.mode if found.policy is not None else None


@asynccontextmanager
async def place(folder: Path) -> AsyncIterator[Place]:
    clock, web = FakeClock(), Web()
    zone: dict[str, Mapping[str, object]] = {}
    resolver = FakeResolver(zone)
    resolver._zone = zone  # itself, not a copy: it changes while it is asked
    async with opened(folder) as world:
        policies = StsPolicies(
            clock=clock,
            resolver=resolver,
            fetcher=web,
            read=world.reader.read,
            submit=world.writer.submit,
            counters=Counters(),
        )
        made = Place(policies, clock, zone, web)
        made.say("1")
        yield made


@in_loop
async def test_a_policy_is_fetched_once_from_the_one_url_and_kept(tmp_path: Path) -> None:
    async with place(tmp_path) as at:
        assert [await at.mode() for _ in range(3)] == [StsMode.ENFORCE] * 3
        assert at.web.asked == [f"https://mta-sts.{DOMAIN}/.well-known/mta-sts.txt"]


@in_loop
async def test_a_domain_without_a_record_is_not_asked(tmp_path: Path) -> None:
    async with place(tmp_path) as at:
        at.say(None)
        assert await at.mode() is None
        assert at.web.asked == []


@in_loop
async def test_who_takes_the_record_away_does_not_take_the_policy_away(tmp_path: Path) -> None:
    async with place(tmp_path) as at:
        assert await at.mode() is StsMode.ENFORCE
        at.web.answer = FetchError("no connection")
        at.say(None)
        assert await at.mode() is StsMode.ENFORCE
        at.zone[f"_mta-sts.{DOMAIN}"] = {"TXT": "SERVFAIL"}
        assert await at.mode() is StsMode.ENFORCE
        at.say("2")  # a new id whose policy cannot be had
        found = await at.policies.policy(DOMAIN)
        assert await at.mode() is StsMode.ENFORCE
        found = await at.policies.policy(DOMAIN)
        assert found.problem == "sts-policy-fetch-error"
        assert await at.mode(7 * DAY) is None  # until its own end


@in_loop
async def test_only_a_new_id_with_a_new_policy_replaces_one(tmp_path: Path) -> None:
    async with place(tmp_path) as at:
        assert await at.mode() is StsMode.ENFORCE
        at.web.answer = Fetched(200, "text/plain", body("none"))
        assert await at.mode() is StsMode.ENFORCE
        at.say("2")
        assert await at.mode() is StsMode.NONE
        assert len(at.web.asked) == 2


@in_loop
async def test_a_policy_outlives_a_restart(tmp_path: Path) -> None:
    async with place(tmp_path) as at:
        assert await at.mode() is StsMode.ENFORCE
    async with place(tmp_path) as at:
        at.web.answer = FetchError("no connection")
        at.say(None)
        assert await at.mode() is StsMode.ENFORCE


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (FetchError("no connection to the server"), "sts-policy-fetch-error"),
        (FetchError("the server's certificate was not accepted: expired"), "sts-webpki-invalid"),
        (Fetched(404, "text/plain", body()), "sts-policy-fetch-error"),
        (Fetched(204, "text/plain", body()), "sts-policy-fetch-error"),
        (Fetched(200, "text/html", body()), "sts-policy-invalid"),
        (Fetched(200, "", body()), "sts-policy-invalid"),
        (Fetched(200, "text/plain", b"mode: enforce"), "sts-policy-invalid"),
    ],
)
def test_what_is_no_policy_is_told_and_not_asked_for_again_at_once(
    tmp_path: Path, answer: Fetched | FetchError, problem: str
) -> None:
    @in_loop
    async def run() -> None:
        async with place(tmp_path) as at:
            at.web.answer = answer
            found = await at.policies.policy(DOMAIN)
            assert (found.policy, found.problem, found.sure) == (None, problem, False)
            assert await at.mode() is None
            assert len(at.web.asked) == 1
            at.web.answer = Fetched(200, "text/plain", body())
            assert await at.mode(RETRY) is StsMode.ENFORCE

    run()


@in_loop
async def test_a_policy_in_use_is_fetched_anew_before_it_ends_and_one_that_fails_is_kept(tmp_path: Path) -> None:
    async with place(tmp_path) as at:
        assert await at.mode() is StsMode.ENFORCE
        await at.policies.refresh()
        assert len(at.web.asked) == 1, "it is not a day old"
        at.clock.advance(6 * DAY)
        at.web.answer = FetchError("no connection")
        await at.policies.refresh()
        at.clock.advance(RETRY + 1)
        at.web.answer = Fetched(200, "text/plain", body())
        await at.policies.refresh()
        at.web.answer = FetchError("no connection")
        assert await at.mode(5 * DAY) is StsMode.ENFORCE, "it began anew on its sixth day"
        at.clock.advance(40 * DAY)
        await at.policies.refresh()
        assert await at.mode() is None
