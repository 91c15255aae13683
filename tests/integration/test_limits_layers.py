"""Each layer of limits on the real server room: who is counted, what for, and what comes of it."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from memory_relay import MemoryRelay, MemoryWire

from postlatch.model.envelope import Role
from postlatch.model.events import Event
from postlatch.server.limit_news import LimitNews
from postlatch.testing.running import ACCOUNT, BASE, LOOPBACK_RIGHT, PASSWORD

OFFICE = "198.51.100.7"
DAY = 86_400
_PLAIN = base64.b64encode(f"\0{ACCOUNT}\0{PASSWORD}".encode()).decode()
_LIMITS = BASE[BASE.index("[limits.client]") : BASE.index("[alerts]")]

Make = Callable[..., "Office"]


class Office:
    """A relay with limits, and what it told."""

    def __init__(self, folder: Path, limits: str, more: str = "") -> None:
        self.relay = MemoryRelay(folder, BASE.replace(_LIMITS, limits + "\n") + more)
        self.events: list[Event] = []
        self.alerts: list[str] = []
        self.services = self.relay.services
        self.services.limit_news = LimitNews(self.events.append, lambda sentence, _: self.alerts.append(sentence))
        self._wires: list[MemoryWire] = []

    def login(self, client: str = OFFICE, plain: str = _PLAIN) -> MemoryWire:
        """An account on submissions."""
        wire = self.connect(Role.SUBMISSIONS, client)
        assert wire.exchange(f"AUTH PLAIN {plain}\r\n".encode(), 1)[0].code == 235
        return wire

    def connect(self, role: Role, client: str) -> MemoryWire:
        """A client that has said EHLO."""
        wire = self.relay.connect(role, client)
        self._wires.append(wire)
        wire.open()
        wire.exchange(b"", 1)
        wire.exchange(b"EHLO client.example\r\n", 1)
        return wire

    def states(self) -> list[str]:
        """Of all recipients."""
        return [state for (state,) in self.relay.database.execute("SELECT state FROM recipients ORDER BY message, number")]

    def close(self) -> None:
        """End it."""
        for wire in self._wires:
            wire.close()
        self.relay.close()


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[Office] = []

    def office(limits: str, more: str = "") -> Office:
        made.append(Office(tmp_path / f"relay{len(made)}", limits, more))
        return made[-1]

    yield office
    for one in made:
        one.close()


def send(wire: MemoryWire, *recipients: str, sender: str = ACCOUNT, body: str = "text", size: int = 0) -> str:
    """One message: its last reply, or that which refused it (to RCPT: with which recipient)."""
    [reply] = wire.exchange(f"MAIL FROM:<{sender}>{f' SIZE={size}' if size else ''}\r\n".encode(), 1)
    if reply.code != 250:
        return f"MAIL {reply.code} {reply.enhanced} {reply.text}"
    for number, recipient in enumerate(recipients):
        [reply] = wire.exchange(f"RCPT TO:<{recipient}>\r\n".encode(), 1)
        if reply.code != 250:
            wire.exchange(b"RSET\r\n", 1)
            return f"RCPT {number} {reply.code} {reply.enhanced} {reply.text}"
    wire.exchange(b"DATA\r\n", 1)
    [reply] = wire.exchange(f"From: <{sender}>\r\nSubject: x\r\n\r\n{body}\r\n.\r\n".encode(), 1)
    return f"END {reply.code} {reply.enhanced} {reply.text}"


def test_different_recipient_domains_are_counted_once_each(make: Make) -> None:
    office = make('[limits.account]\ndomains = ["3/day"]')
    wire = office.login()
    assert send(wire, "a@one.example", "b@two.example", "c@one.example").startswith("END 250")
    assert send(wire, "d@one.example", "e@three.example").startswith("END 250")
    assert send(wire, "f@two.example", "g@four.example").startswith("RCPT 1 550 5.7.1 limit reached: account domains 3/day")
    assert send(wire, "f@two.example").startswith("END 250"), "those that were there cost nothing"
    office.relay.clock.advance(DAY)
    assert send(wire, "a@four.example", "b@five.example", "c@six.example").startswith("END 250")


def test_octets_are_refused_as_declared_and_as_they_came(make: Make) -> None:
    office = make('[limits.account]\nbytes = ["4 KiB/hour"]')
    wire = office.login()
    assert send(wire, "a@one.example", size=5000).startswith("MAIL 450 4.7.1 limit reached: account bytes 4 KiB/hour")
    assert send(wire, "a@one.example", body="x" * 3000 + "\r\n").startswith("END 250")
    assert send(wire, "a@one.example", body="x" * 3000 + "\r\n").startswith("END 450")
    assert send(wire, "a@one.example", body="x" * 500 + "\r\n").startswith("END 250")


@pytest.mark.parametrize(
    ("scope", "others"),
    [("sender_domain", ("carol@example.net",)), ("relay", ()), ("client", ("203.0.113.9",)), ("network", ("198.51.101.7",))],
)
def test_what_several_share_is_counted_together(make: Make, scope: str, others: tuple[str, ...]) -> None:
    office = make(f'[limits.{scope}]\nmessages = ["2/hour"]', more=LOOPBACK_RIGHT.replace("127.0.0.1", OFFICE))
    account = office.login()
    assert send(account, "a@one.example").startswith("END 250")
    assert send(account, "a@one.example").startswith("END 250")
    spent = send(account, "a@one.example")
    assert spent.startswith(f"MAIL 450 4.7.1 limit reached: {scope} messages 2/hour"), spent
    for other in others:
        if "@" in other:
            continue
        assert send(office.login(other), "a@one.example").startswith("END 250"), "somebody else is not counted with them"


def test_strangers_use_up_nothing_that_users_share(make: Make) -> None:
    office = make('[limits.relay]\nmessages = ["1/hour"]\n[limits.sender_domain]\nmessages = ["1/hour"]')
    stranger = office.connect(Role.MX, "203.0.113.9")
    for _ in range(3):
        assert send(stranger, "alice@example.com", sender="x@world.example").startswith("END 250")
    assert send(office.login(), "a@one.example").startswith("END 250")


def test_a_stranger_has_the_limits_of_its_address(make: Make) -> None:
    office = make('[limits.client]\nrecipients = ["2/hour"]')
    stranger = office.connect(Role.MX, "203.0.113.9")
    assert send(stranger, "alice@example.com", "bob@example.com", sender="x@world.example").startswith("END 250")
    assert send(stranger, "alice@example.com", sender="x@world.example").startswith("RCPT 0 450 4.7.1 limit reached: client")
    assert send(office.connect(Role.MX, "203.0.113.10"), "alice@example.com", sender="x@world.example").startswith("END 250")


def test_a_rights_first_time_recipients_are_known_after_a_restart_too(make: Make) -> None:
    right = LOOPBACK_RIGHT.replace("127.0.0.1", OFFICE).replace("1000000/minute", "9/hour")
    right = right.replace("limits = {", 'limits = { new_recipients = ["2/day"],')
    office = make("", more=right)
    wire = office.connect(Role.RELAY, OFFICE)
    assert send(wire, "a@one.example", "b@one.example", sender="scan@example.com").startswith("END 250")
    assert send(wire, "c@one.example", sender="scan@example.com").startswith(
        "RCPT 0 550 5.7.1 limit reached: right new_recipients"
    )
    office.services.known_recipients.forget("right loopback")
    assert send(wire, "A@one.example", "b@one.example", sender="scan@example.com").startswith("END 250")


def test_beyond_the_limit_mail_is_held_as_much_again_and_then_refused(make: Make) -> None:
    office = make('[limits.account]\nmessages = ["2/day"]\nwhen_reached = "hold"')
    wire = office.login()
    answers = [send(wire, "a@one.example", "b@two.example")[:7] for _ in range(5)]
    assert answers == ["END 250"] * 4 + ["MAIL 55"]
    assert office.states() == ["queued"] * 4 + ["held"] * 4
    assert office.relay.spool.pending() == 2, "what is held is not on its way"
    due = office.relay.spool.claim_due(100, office.relay.clock.now() + DAY)(office.relay.database)
    assert due == [], "nor does it come up by itself"
    assert len(office.alerts) == 2, "one of 80 percent, one of what is held"
    assert office.alerts[1] == f"the mail of account {ACCOUNT} is held: its limit is reached"
    [why] = {row[0] for row in office.relay.database.execute("SELECT last_reply FROM recipients WHERE state = 'held'")}
    assert why == "limit reached: account messages 2/day"
    assert [event.fields.get("held") for event in office.relay.accepted] == [None, None, why, why]


def test_a_minutes_limit_defers_also_where_mail_may_be_held(make: Make) -> None:
    office = make('[limits.account]\nmessages = ["2/minute", "100/day"]\nwhen_reached = "hold"')
    wire = office.login()
    assert [send(wire, "a@one.example")[:8] for _ in range(3)] == ["END 250 "] * 2 + ["MAIL 450"]


def test_a_warning_comes_once_for_each_key_and_window(make: Make) -> None:
    office = make('[limits.account]\nmessages = ["10/hour"]\nwarn = { recipients = ["3/day"] }')
    wire = office.login()
    for _ in range(10):
        assert send(wire, "a@one.example").startswith("END 250")
    told = [(event.name, event.fields["limit"], event.fields["count"]) for event in office.events]
    assert told == [
        ("limit.warned", "account recipients 1000/day", 3),
        ("limit.warned", "account messages 10/hour", 8),
    ]
    office.relay.clock.advance(3600)
    for _ in range(10):
        assert send(wire, "a@one.example").startswith("END 250")
    assert [event.fields["limit"] for event in office.events[2:]] == ["account messages 10/hour"], "a day has not passed"
    assert office.alerts[0] == f"much is sent: account {ACCOUNT}, 3 recipients within this day"


def test_a_new_account_has_a_share_that_grows(make: Make) -> None:
    office = make('[limits.account]\nmessages = ["10/day"]\nwarm_up = "4 days"\nwarm_up_share = 20')
    wire = office.login()
    sent = []
    for _ in range(6):
        count = 0
        while send(wire, "a@one.example").startswith("END 250"):
            count += 1
        sent.append(count)
        office.relay.clock.advance(DAY)
    assert sent == [2, 4, 6, 8, 10, 10]


def test_where_the_counts_cannot_be_kept_a_limit_waits_if_it_says_so(make: Make) -> None:
    office = make('[limits.account]\nwhen_unknown = "defer"\n[limits.right]\nmessages = ["5/day"]', more=LOOPBACK_RIGHT)
    wire = office.login()
    relay = office.connect(Role.RELAY, "127.0.0.1")
    limiter = office.services.limiter
    assert send(wire, "a@one.example").startswith("END 250")
    limiter.unsaved(limiter.dirty(), office.relay.clock.now())
    office.relay.clock.advance(9)
    assert send(wire, "a@one.example").startswith("END 250"), "a slow disk is no reason"
    office.relay.clock.advance(2)
    assert send(wire, "a@one.example").startswith("MAIL 451 4.3.0")
    assert send(relay, "a@one.example", sender="scan@example.com").startswith("END 250"), "that limit goes on by its memory"
    assert limiter.dirty(), "what was not written comes again"
    limiter.saved()
    assert send(wire, "a@one.example").startswith("END 250")


def test_mail_in_files_of_many_sessions_does_not_slip_past_the_limit(make: Make) -> None:
    office = make('[limits.account]\nmessages = ["1/day"]')
    wires = [office.login() for _ in range(3)]
    body = ("y" * 76 + "\r\n") * 5000  # above 256 KiB: the disk is waited for between the check and the commit
    for wire in wires:
        assert wire.exchange(f"MAIL FROM:<{ACCOUNT}>\r\n".encode(), 1)[0].code == 250
        assert wire.exchange(b"RCPT TO:<a@one.example>\r\n", 1)[0].code == 250
        assert wire.exchange(b"DATA\r\n", 1)[0].code == 354

    async def all_at_once() -> None:
        for wire in wires:
            wire.connection.data_received(f"From: <{ACCOUNT}>\r\n\r\n{body}.\r\n".encode())
        for _ in range(5000):
            if not any(wire.connection.session.waiting for wire in wires):
                break
            await asyncio.sleep(0.001)

    office.relay.loop.run_until_complete(all_at_once())
    codes = sorted(wire.exchange(b"", 1)[0].code for wire in wires)
    assert codes == [250, 550, 550]
