"""Directories: held to their domains; a "no" takes its time, silence is no answer, and a yes is soon forgotten."""

from __future__ import annotations

import asyncio
import time

import pytest
from accounts_support import NOW, PASSWORD, SETTINGS, Desk, run

from postlatch.accounts import changes
from postlatch.accounts.app_passwords import Claim
from postlatch.accounts.authenticator import Authenticator
from postlatch.accounts.changes import Scope
from postlatch.accounts.directory import Directories, Down, Entry, Found, Lies
from postlatch.accounts.pool import Busy
from postlatch.accounts.problem import AccountError
from postlatch.accounts.sasl import Challenge, Failure

CAROL, DAVE = "carol@dir.example", "dave@dir.example"
CLIENT = "192.0.2.7"


class Paper:
    """A directory on paper: right passwords, what it does instead of answering, and what it was asked."""

    def __init__(self, passwords: dict[str, str] | None = None) -> None:
        self.passwords = passwords or {CAROL: "c secret"}
        self.send_as: frozenset[str] = frozenset()
        self.fault: Exception | None = None
        self.answers_as: str | None = None
        self.gate: asyncio.Event | None = None
        self.asked: list[str] = []
        self.closed = False
        self.slow: dict[str, float] = {}

    async def verify(self, login: str, password: str) -> Found | None:
        self.asked.append(login)
        await asyncio.sleep(self.slow.get(login, 0))
        if self.gate is not None:
            await self.gate.wait()
        if self.fault is not None:
            raise self.fault
        right = self.passwords.get(login) == password
        return Found(self.answers_as or login, self.send_as) if right else None

    def close(self) -> None:
        self.closed = True


class Office:
    """A desk with a directory for dir.example."""

    def __init__(self, **settings: float) -> None:
        self.desk = Desk()
        self.paper = Paper()
        self.told: list[tuple[str, str, str]] = []
        self.entry = Entry(
            "office",
            frozenset({"dir.example", "other.example"}),
            self.paper,
            **{"step": 0.0, **settings},  # type: ignore[arg-type]
            told=lambda *words: self.told.append(words),
        )
        self.authenticator: Authenticator = self.desk.authenticator()
        self.authenticator.directories = Directories([self.entry])
        self.authenticator.enrol = self.enrol

    async def enrol(self, directory: str, found: Found) -> None:
        unusable = self.authenticator.unusable()
        self.desk.commit(changes.enrol(found.login, directory, found.send_as, unusable, self.desk.clock.now()))

    def try_(self, login: str = CAROL, password: str = "c secret", client: str = CLIENT) -> Claim | None:
        return run(self.authenticator.verify(login, password, client))


@pytest.fixture
def office() -> Office:
    return Office()


def test_a_login_of_its_domain_is_verified_by_it_and_becomes_an_account(office: Office) -> None:
    office.paper.send_as = frozenset(
        {"Info@dir.example", "@other.example", "boss@elsewhere.example", "@example", "<>", "no address"}
    )
    assert office.try_("Carol@DIR.example") == Claim(CAROL)
    account = office.desk.book.policy_accounts()[CAROL]
    assert account.send_as == {CAROL, "info@dir.example", "@other.example"}
    assert account.source == "office"
    assert office.desk.hasher.verified == []
    assert office.told == [("office", "accepted", "")]


def test_wrong_unknown_and_unusable_passwords_are_a_no(office: Office) -> None:
    for login, password in ((CAROL, "wrong"), (DAVE, "c secret"), (CAROL, ""), (CAROL, "x" * 1025), (CAROL, "a\0b")):
        assert office.try_(login, password) is None, (login, password)
    assert office.desk.book.policy_accounts() == {}
    assert office.paper.asked == [CAROL, DAVE]  # what can be no password is not sent anywhere


@pytest.mark.parametrize(
    "login",
    [
        "carol@sub.dir.example",
        "carol@example.com",
        "carol",
        "carol@dir.example.",
        " carol@dir.example",
        '"carol"@dir.example',
        "c(a)*@dir.example",
        "@dir.example@x",
    ],
)
def test_nobody_else_is_asked_about(office: Office, login: str) -> None:
    assert office.try_(login) is None
    assert office.paper.asked == []


def test_a_directory_that_answers_for_another_is_not_believed(office: Office) -> None:
    office.paper.answers_as = DAVE
    with pytest.raises(Lies, match=r"answered for 'dave@dir\.example'"):
        office.try_()
    assert office.told[0][:2] == ("office", "lied")
    assert office.desk.book.policy_accounts() == {}


def test_what_a_lie_holds_reaches_the_journal_only_printable_and_short(office: Office) -> None:
    office.paper.answers_as = "evil\r\n\x1b[2J" + "é" * 5000
    with pytest.raises(Lies):
        office.try_()
    why = office.told[0][2]
    assert why.isascii()
    assert why.isprintable()
    assert len(why) < 500


@pytest.mark.parametrize(
    "fault", [Down("it is closed"), OSError("x"), ValueError("c secret"), RecursionError(), TimeoutError()]
)
def test_no_answer_is_neither_yes_nor_no_and_says_nothing_of_the_password(office: Office, fault: Exception) -> None:
    office.paper.fault = fault
    for password in ("c secret", "wrong"):
        with pytest.raises(Busy):
            office.try_(password=password)
    assert "secret" not in str(office.told)
    assert {outcome for _, outcome, _ in office.told} == {"failed"}


def test_an_answer_that_is_late_is_none() -> None:
    office = Office(timeout=0.05)

    async def scenario() -> None:
        office.paper.gate = asyncio.Event()
        with pytest.raises(Down, match="in time"):
            await office.authenticator.verify(CAROL, "c secret", CLIENT)

    run(scenario())


def test_too_many_sender_addresses_are_no_answer(office: Office) -> None:
    office.paper.send_as = frozenset(f"a{n}@dir.example" for n in range(1001))
    with pytest.raises(Down, match="more than 1000"):
        office.try_()


def test_a_yes_holds_for_its_short_time_also_while_the_directory_is_down(office: Office) -> None:
    assert office.try_() == Claim(CAROL)
    office.paper.fault = Down("gone")
    office.desk.clock.advance(59)
    assert office.try_() == Claim(CAROL)
    with pytest.raises(Busy):
        office.try_(password="wrong")
    office.desk.clock.advance(2)
    with pytest.raises(Busy):
        office.try_()


@pytest.mark.parametrize("change", ["suspend", "delete", "restart", "reload", "moved"])
def test_a_change_of_the_account_or_the_process_ends_what_was_remembered(office: Office, change: str) -> None:
    office.try_()
    asked = len(office.paper.asked)
    if change == "suspend":
        office.desk.commit(changes.suspend(CAROL, "stolen", NOW))
    elif change == "delete":
        office.desk.commit(changes.delete(CAROL))
    elif change == "restart":
        fresh = office.desk.authenticator()
        fresh.directories, fresh.enrol, office.authenticator = office.authenticator.directories, office.enrol, fresh
    elif change == "reload":
        again = Entry("office", office.entry.domains, office.paper, step=0.0)
        office.authenticator.directories = Directories([again])
    else:
        office.authenticator.directories = Directories([Entry("new", office.entry.domains, office.paper, step=0.0)])
    assert office.try_() == Claim(CAROL)
    assert len(office.paper.asked) == asked + 1


def test_a_no_is_never_remembered_against_a_right_password(office: Office) -> None:
    assert office.try_(password="new") is None
    assert office.authenticator.known_wrong(CAROL, "new", CLIENT)  # it need not be counted twice
    assert not office.authenticator.known_wrong(CAROL, "new", "198.51.100.1")
    assert not office.authenticator.known_wrong(CAROL, "newer", CLIENT)
    office.paper.passwords[CAROL] = "new"
    assert office.try_(password="new") == Claim(CAROL)


def test_a_suspended_account_stays_so_whatever_the_directory_says(office: Office) -> None:
    office.try_()
    office.desk.commit(changes.suspend(CAROL, "stolen", NOW))
    office.paper.send_as = frozenset({"more@dir.example"})
    assert office.try_() == Claim(CAROL)
    account = office.desk.book.policy_accounts()[CAROL]
    assert account.suspended
    assert "more@dir.example" in account.send_as


def test_sender_addresses_follow_the_directory_both_ways(office: Office) -> None:
    office.paper.send_as = frozenset({"a@dir.example", "b@dir.example"})
    office.try_()
    generation = office.desk.book.generation(CAROL)
    office.paper.send_as = frozenset({"b@dir.example"})
    office.desk.clock.advance(61)
    office.try_()
    assert office.desk.book.policy_accounts()[CAROL].send_as == {CAROL, "b@dir.example"}
    assert office.desk.book.generation(CAROL) == generation  # nobody is logged out by it


def test_an_account_of_ours_is_taken_over_with_all_that_let_it_in(office: Office) -> None:
    office.desk.add(CAROL, send_as=("@elsewhere.example",))
    secret = office.authenticator.new_secret(CAROL)
    office.desk.commit(changes.add_app_password(CAROL, "printer", Scope(), secret, now=NOW, by="root"))
    before = office.desk.book.generation(CAROL)
    assert office.try_(password=PASSWORD) is None
    assert office.try_(password=secret.text) is None
    assert office.try_(f"{CAROL}/printer", secret.text) is None
    assert office.try_() == Claim(CAROL)
    account = office.desk.book.policy_accounts()[CAROL]
    assert account.send_as == {CAROL}
    assert account.source == "office"
    assert not account.app_passwords
    assert office.desk.book.generation(CAROL) != before
    assert office.desk.connection.execute("SELECT count(*) FROM app_passwords").fetchone() == (0,)


def test_without_its_directory_such_an_account_opens_to_no_password(office: Office) -> None:
    office.try_()
    office.authenticator.directories = Directories()
    for password in ("c secret", PASSWORD, ""):
        assert office.try_(password=password) is None


def test_its_password_cannot_be_set_here_and_it_gets_no_application_password(office: Office) -> None:
    office.try_()
    credentials = office.desk.credentials()
    secret = office.authenticator.new_secret(CAROL)
    for operation in (
        changes.set_password(CAROL, credentials, NOW),
        changes.restore(CAROL, NOW, credentials),
        changes.add_app_password(CAROL, "printer", Scope(), secret, now=NOW, by="root"),
    ):
        with pytest.raises(AccountError, match="the directory office"):
            office.desk.commit(operation)
    assert run(office.authenticator.rehash(Claim(CAROL), "c secret")) is None


def test_scram_fails_for_its_logins_as_for_a_wrong_password(office: Office) -> None:
    office.desk.add("alice@example.com")
    office.try_()
    shown = []
    for login in (CAROL, "nobody@dir.example", "nobody@example.com"):
        mechanism = office.authenticator.mechanism("SCRAM-SHA-256")
        assert mechanism is not None
        step = mechanism.start(f"n,,n={login},r=rOprNGfwEbeRWgbNEkqO".encode())
        assert isinstance(step, Challenge)
        nonce, salt, rounds = step.data.decode().split(",")
        shown.append((len(salt), rounds))
        final = mechanism.respond(f"c=biws,{nonce},p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=".encode())
        assert final == Failure(login, malformed=False, reason="the proof is wrong")
    assert len(set(shown)) == 1
    assert shown[0][1] == f"i={SETTINGS.hashing.iterations}"


def test_one_client_cannot_take_all_places() -> None:
    office = Office(places=3, per_client=2)

    async def scenario() -> None:
        gate = office.paper.gate = asyncio.Event()
        first = [asyncio.create_task(office.authenticator.verify(CAROL, "x", CLIENT)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(Busy, match="this client"):
            await office.authenticator.verify(CAROL, "x", CLIENT)
        other = asyncio.create_task(office.authenticator.verify(CAROL, "x", "198.51.100.1"))
        await asyncio.sleep(0)
        with pytest.raises(Busy, match="too many questions"):
            await office.authenticator.verify(CAROL, "x", "198.51.100.2")
        gate.set()
        assert await asyncio.gather(*first, other) == [None] * 3
        assert await office.authenticator.verify(CAROL, "c secret", CLIENT) == Claim(CAROL)

    run(scenario())


def test_an_account_that_cannot_be_taken_up_does_not_log_in(office: Office) -> None:
    async def fails(directory: str, _found: Found) -> None:
        raise Down(f"{directory} is not taken up")

    async def does_nothing(_directory: str, _found: Found) -> None:
        return

    for enrol in (fails, does_nothing):
        office.authenticator.enrol = enrol
        with pytest.raises(Busy):
            office.try_()


def test_a_quick_no_and_a_slow_one_look_alike() -> None:
    """A directory that looks up, and only then compares, would tell who exists by its time."""
    office = Office(step=0.2)

    async def timed(login: str) -> float:
        started = time.monotonic()
        assert await office.authenticator.verify(login, "wrong", CLIENT) is None
        return time.monotonic() - started

    office.paper.slow = {CAROL: 0.04}
    known, unknown = run(timed(CAROL)), run(timed("nobody@dir.example"))
    for seconds in (known, unknown):
        assert seconds > 0.19
        assert (seconds + 0.01) % 0.2 < 0.12  # a whole number of steps, and what the machine takes to notice


def test_closing_closes_them(office: Office) -> None:
    office.authenticator.close()
    assert office.paper.closed
