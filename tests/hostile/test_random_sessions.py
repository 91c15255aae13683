"""Random sessions on all listeners at once, while rights and accounts come and go and time jumps, against a small model.

What holds after every step: one well-formed reply a command and nothing else; nothing of a client's in it; no exception
anywhere; nothing accepted for others without a right or a login; the queue holds what was answered 250, each once, as sent.
``POSTLATCH_SESSIONS=thorough`` runs some hundred times as many.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hostile_relay import LODGER, LODGING, PRINTER, STRANGER, SUBMISSION, Client, HostileRelay
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from random_units import CONTENT, LOGINS, RESPONSES, body, chunk, cuts, group, line, ready, rude, secured
from session_model import Accepted, Talk, Unit, World, as_stored, plain, read_replies

from postlatch.model.envelope import Role
from postlatch.model.ids import parse_id

THOROUGH = os.environ.get("POSTLATCH_SESSIONS") == "thorough"
PROFILE = settings(
    max_examples=6000 if THOROUGH else 25,
    stateful_step_count=60 if THOROUGH else 30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    print_blob=True,
)
CLIENTS = {
    Role.MX: (STRANGER, "2001:db8::7"),
    Role.SUBMISSION: (STRANGER,),
    Role.SUBMISSIONS: (STRANGER,),
    Role.RELAY: (STRANGER, PRINTER, LODGER),
}
AT_ONCE = 4
CHANGES = ("right", "account", "reload", "a minute", "an hour", "clock", "all is well", "all is well")
_ACTS = ("go on",) * 8 + ("talk",) * 8 + ("log in",) * 3 + ("be rude", "fall silent", "hang up")
_REASONS = {Role.MX: "RELAY_DOMAIN", Role.SUBMISSION: "ACCOUNT", Role.SUBMISSIONS: "ACCOUNT", Role.RELAY: "NETWORK"}


class Sessions(RuleBasedStateMachine):
    """Some clients, the relay, and the model."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = Path(tempfile.mkdtemp(prefix="hostile-"))
        self.relay = HostileRelay(self._folder / "relay")
        self.world = World()
        self.lodging_left = LODGING
        self.talks: list[tuple[Client, Talk]] = []
        self.accepted: list[Accepted] = []
        self.checked = 0

    def teardown(self) -> None:
        try:
            self._hear_the_rest()
            self.everything_accepted_is_in_the_queue_once_and_nothing_else_is()
        finally:
            self.relay.close()
            shutil.rmtree(self._folder)

    def _hear_the_rest(self) -> None:
        for client, talk in self.talks:
            assert not client.heard(), talk

    # Clients

    @initialize()
    def one_client_a_listener(self) -> None:
        """So that no run is without any."""
        for role in (Role.MX, Role.SUBMISSION, Role.RELAY):
            self._connect(role, CLIENTS[role][-1])

    @rule(data=st.data(), times=st.integers(1, 5))
    def clients_act(self, data: st.DataObject, times: int) -> None:
        """A client comes if there are few; else one of them does what it is about to do, or something worse."""
        # One rule with its own weights: hypothesis switches whole rules off for a run, and deep states would be rare.
        for _ in range(times):
            self._act(data)

    def _act(self, data: st.DataObject) -> None:
        if len(self.talks) < AT_ONCE and data.draw(st.integers(0, 3)) == 0:
            role = data.draw(st.sampled_from(list(Role)))
            self._connect(role, data.draw(st.sampled_from(CLIENTS[role])))
        if not self.talks:
            return
        client, talk = data.draw(st.sampled_from(self.talks))
        act = data.draw(st.sampled_from(_ACTS))
        if act == "go on" and talk.recipients and not talk.in_data:
            self._send_a_message(client, talk, data)
        elif act == "go on" and not (talk.in_data or talk.dialogue or talk.mail):
            for unit in ready(talk):
                if not talk.closed:
                    self._play(client, talk, [unit], None)
        elif act == "log in" and talk.role in SUBMISSION and not (talk.in_data or talk.dialogue or talk.login is not None):
            self._log_in(client, talk, data)
        elif act == "be rude" and not (talk.in_data or talk.dialogue):
            self._be_rude(client, talk, *data.draw(rude(talk)))
        elif act == "fall silent":
            self._fall_silent(client, talk)
        elif act == "hang up":
            client.send(data.draw(st.sampled_from([b"", b"MAIL FR", b"BDAT 1000 LAST\r\nx", b"x", b"\r\n."])))
            client.heard()
            client.hang_up()
        else:
            self._play(client, talk, data.draw(group(talk)), data)
        self._forget(client, talk)

    def _connect(self, role: Role, address: str) -> None:
        client = self.relay.connect(role, address)
        talk = Talk(role, address, self.world, secure=role is Role.SUBMISSIONS)
        [greeting] = read_replies(client.heard())
        assert greeting.code == 220
        self.talks.append((client, talk))

    def _log_in(self, client: Client, talk: Talk, data: st.DataObject) -> None:
        """It tries, perhaps often, and answers challenges with anything."""
        for unit in secured(talk):
            self._play(client, talk, [unit], None)
        for _ in range(data.draw(st.integers(1, 4))):
            if not talk.closed and talk.login is None:
                self._play(client, talk, [data.draw(RESPONSES if talk.dialogue else LOGINS)], data)

    def _send_a_message(self, client: Client, talk: Talk, data: st.DataObject) -> None:
        if talk.greeted == "EHLO" and data.draw(st.booleans()):
            first, second = data.draw(st.tuples(CONTENT, CONTENT))
            self._play(client, talk, [chunk(first, last=False), chunk(second, last=True)], data)
            return
        self._play(client, talk, [line("DATA")], None)
        for change in data.draw(st.lists(st.sampled_from(CHANGES), max_size=2)):
            self._change_the_world(change)
        if talk.in_data:
            self._play(client, talk, [body(data.draw(CONTENT))], data)

    def _play(self, client: Client, talk: Talk, units: list[Unit], data: st.DataObject | None) -> None:
        octets = b"".join(unit.data for unit in units)
        for piece in data.draw(cuts(octets)) if data is not None else [octets]:
            client.send(piece)
        talk.hear(units, read_replies(client.heard()), hung_up=client.closed)
        assert client.closed or client.secure == talk.secure
        self.accepted += talk.accepted
        talk.accepted = []

    def _be_rude(self, client: Client, talk: Talk, octets: bytes, code: int) -> None:
        """It is put out with one reply, and without a second look at what follows."""
        client.send(octets)
        assert [reply.code for reply in read_replies(client.heard())] == ([code] if code else []), octets
        assert client.closed
        talk.closed = True

    def _fall_silent(self, client: Client, talk: Talk) -> None:
        client.wait(400)
        assert [reply.code for reply in read_replies(client.heard())] == [421]
        assert client.closed
        talk.closed = True

    # The world

    @rule(change=st.sampled_from(CHANGES))
    def the_world_changes(self, change: str) -> None:
        """A right or an account is suspended or given back, the policy installed anew, or time passes (a right may end)."""
        self._change_the_world(change)

    def _change_the_world(self, change: str) -> None:
        clock = self.relay.memory.clock
        match change:
            case "right":
                self.world.printers = not self.world.printers
                self.relay.suspend_right(not self.world.printers)
            case "account":
                self.world.account = not self.world.account
                self.world.generation += 1
                self.relay.suspend_account(not self.world.account)
            case "an hour":
                clock.advance(3700)
                self._age(3700)
            case "a minute":
                clock.advance(61)
                self._age(61)
            case "clock":  # NTP moves the wall clock alone
                clock.jump(5)
                self._age(5)
            case "all is well":
                if not self.world.account:
                    self._change_the_world("account")
                if not self.world.printers:
                    self._change_the_world("right")
            case _:
                self.relay.reload()

    def _age(self, seconds: float) -> None:
        self.lodging_left -= seconds
        self.world.lodger = self.lodging_left > 0

    # What always holds

    @invariant()
    def no_exception_is_in_the_log(self) -> None:
        """Nor in the loop."""
        self.relay.check_log()

    @invariant()
    def everything_accepted_is_in_the_queue_once_and_nothing_else_is(self) -> None:
        """Rows by the acceptances, one by one."""
        assert self.relay.messages() == len(self.accepted)
        assert len({message.queue_id for message in self.accepted}) == len(self.accepted)
        for message in self.accepted[self.checked :]:
            self._check(message)
        self.checked = len(self.accepted)

    def _check(self, message: Accepted) -> None:
        stored = self.relay.stored(parse_id(message.queue_id))
        content = as_stored(message.content)
        assert stored.body.endswith(content)
        added = stored.body[: len(stored.body) - len(content)]
        assert added.startswith(b"Received: from ")
        assert b"\r\n\r\n" not in added
        whole = stored.body.replace(b"\r\n", b"")
        assert not any(octet in whole for octet in (b"\r", b"\n", b"\0"))
        expected = {address if "@" in address else "postmaster@example.com" for address in message.recipients}
        assert sorted(map(plain, expected)) == sorted(plain(address) for address, _, _ in stored.recipients)
        for address, destination, reason in stored.recipients:
            assert (destination == "local") == plain(address).endswith("@example.com")
            wanted = _REASONS[message.role]
            assert reason == wanted or (destination == "local" and message.role is Role.MX and reason is None)

    def _forget(self, client: Client, talk: Talk) -> None:
        if client.closed:
            assert not client.heard()
            self.talks = [(other, its) for other, its in self.talks if its is not talk]


@pytest.mark.timeout(7200 if THOROUGH else 300)
def test_random_sessions_do_what_the_model_says_and_leave_what_was_acknowledged() -> None:
    run_state_machine_as_test(Sessions, settings=PROFILE)
