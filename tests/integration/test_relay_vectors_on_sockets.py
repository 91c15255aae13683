"""The open-relay catalogue against the real program: every vector once a listener over sockets, and what it leaves behind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from running_office import Left, RunningOffice, running_office
from smtp_wire import Reply
from socket_wire import SocketWire
from vector_checks import check, is_meant_for, playable
from vector_player import Outcome, Player
from vector_values import KNOWN, PROXY_V2, Case

from postlatch.model.envelope import Role
from postlatch.testing.peers.ports import wait_until
from postlatch.testing.running import ACCOUNT

pytestmark = pytest.mark.slow

STATES = ("queued", "deferred", "active", "held", "delivered", "bounced", "deleted")
# (listener, STARTTLS first). Submissions is TLS from the first octet.
WAYS_IN = [(Role.MX, False), (Role.MX, True), (Role.SUBMISSION, False), (Role.SUBMISSION, True)]
WAYS_IN += [(Role.SUBMISSIONS, False), (Role.RELAY, False), (Role.RELAY, True)]
REST = [*WAYS_IN[1:5], WAYS_IN[6]]


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningOffice]:
    with running_office(tmp_path_factory.mktemp("office")) as office:
        yield office


def play(office: RunningOffice, case: Case, role: Role, *, starttls: bool, ipv6: bool) -> Outcome:
    outcome = Player(office.wire(role, ipv6=ipv6), case, case.steps, starttls=starttls).play()
    check(case, outcome, role, tls=starttls or role is Role.SUBMISSIONS)
    return outcome


def verdicts(outcome: Outcome) -> list[list[tuple[str, int, str]]]:
    return [[(heard.verb, heard.code, heard.enhanced) for heard in candidates] for candidates in outcome.judged]


@pytest.mark.parametrize(
    ("role", "starttls"), [*WAYS_IN[:1], WAYS_IN[5], *(pytest.param(*way, marks=pytest.mark.soak) for way in REST)]
)
def test_every_vector_is_refused_on_every_listener(testdata: Path, office: RunningOffice, role: Role, starttls: bool) -> None:
    """Over both families, with the same answers: that is I04, for more than group A."""
    tls = starttls or role is Role.SUBMISSIONS
    cases = [case for case in playable(testdata) if is_meant_for(case.vector, role, tls=tls)]
    left = office.left()
    messages = 0
    for case in cases:
        four = play(office, case, role, starttls=starttls, ipv6=False)
        six = play(office, case, role, starttls=starttls, ipv6=True)
        assert verdicts(four) == verdicts(six), str(case)
        assert four.recipients == six.recipients, str(case)
        messages += four.messages + six.messages
    assert len(cases) >= 150
    assert len({case.vector for case in cases}) >= 90
    assert (messages > 0) == (role is Role.MX)
    assert office.left() == left


# Where octets matter more than steps


def test_nothing_that_came_in_plaintext_is_answered_under_tls(office: RunningOffice) -> None:
    """E09 in one segment, and with the command held back until the 220 is out: the handshake must be what follows it."""
    for stray in (b"NOOP\r\n", b"RSET\r\n", b"EHLO x\r\nMAIL FROM:<probe@canary.test>\r\n"):
        wire = office.wire(Role.SUBMISSION)
        wire.open()
        wire.exchange(b"", 1)
        wire.exchange(b"EHLO client.example\r\n", 1)
        assert wire.exchange(b"STARTTLS\r\n" + stray, 1) == []
        assert wire.closed
        wire.close()
        late = office.wire(Role.SUBMISSION)
        late.open()
        late.exchange(b"", 1)
        late.exchange(b"EHLO client.example\r\n", 1)
        assert [reply.code for reply in late.exchange(b"STARTTLS\r\n", 1)] == [220]
        late.send(stray)
        assert not any(code in late.rest() for code in (b"250", b"5.5.1"))  # an alert of TLS at most, never a line of SMTP
        late.close()


def test_what_was_said_in_plaintext_is_forgotten_under_tls(office: RunningOffice) -> None:
    """E10 with more than a recipient: EHLO and MAIL of before count for nothing, and no AUTH is left over."""
    for role in (Role.MX, Role.SUBMISSION, Role.RELAY):
        wire = office.wire(role)
        wire.open()
        wire.exchange(b"", 1)
        for line in ("EHLO client.example", "MAIL FROM:<probe@canary.test>", f"RCPT TO:<{KNOWN}>"):
            say(wire, line)
        assert say(wire, "STARTTLS").code == 220
        wire.handshake()
        for line in (f"RCPT TO:<{KNOWN}>", "DATA", "MAIL FROM:<probe@canary.test>", "AUTH PLAIN =", "BDAT 0 LAST"):
            assert say(wire, line).code in {502, 503}, line
        say(wire, "EHLO client.example")
        assert say(wire, "DATA")[:2] == (503, "5.5.1")
        wire.close()


def test_who_talks_before_the_greeting_is_not_served(office: RunningOffice) -> None:
    """E11 once more, with the whole attempt as early as it can be."""
    lines = (b"EHLO client.example", b"MAIL FROM:<probe@canary.test>", b"RCPT TO:<canary@canary.test>", b"DATA", b"")
    greeted = []
    for _ in range(8):
        wire = office.wire(Role.MX)
        wire.open()
        replies = wire.exchange(b"\r\n".join(lines), 20)
        assert wire.closed
        assert replies[-1][:2] == (554, "5.5.0")
        assert len(replies) <= 2
        greeted.append(len(replies) == 2)
        wire.close()
    assert not all(greeted)  # on a busy machine the greeting may win once, and then pipelining is what it is refused for


def test_a_proxy_header_in_front_of_tls_is_no_handshake(office: RunningOffice) -> None:
    port = office.relay.port("submissions")
    for header in (b"PROXY TCP4 127.0.0.1 127.0.0.1 1 465\r\n", PROXY_V2.encode("latin-1")):
        wire = SocketWire("127.0.0.1", port)
        wire.open()
        wire.send(header + b"EHLO client.example\r\n")
        assert b"Postlatch" not in wire.rest()
        wire.close()


def test_a_netstring_of_qmtp_is_never_taken(office: RunningOffice) -> None:
    """E14 against every port that there is: none of them answers K."""
    parts = (b"\nSubject: canary\n\ncanary", b"probe@canary.test", b"18:canary@canary.test,")
    netstrings = b"".join(b"%d:%s," % (len(part), part) for part in parts)
    for role in (Role.MX, Role.SUBMISSION, Role.RELAY):
        wire = office.wire(role)
        wire.open()
        wire.send(netstrings)
        answers = wire.unasked(20)
        assert wire.closed
        assert {answer.code for answer in answers} <= {220, 500, 554}
        wire.close()


def test_the_program_listens_where_it_says_and_nowhere_else(office: RunningOffice) -> None:
    """E14 and E15: no port for QMTP, LMTP, filters or re-injection, on any address."""
    process = office.relay.process
    assert process is not None
    inodes = set().union(*(_sockets_of(pid) for pid in (process.pid, *office.relay.children().values())))
    found = {port for table in ("tcp", "tcp6") for inode, port in _listening(table) if inode in inodes}
    announced = {int(address.rpartition(":")[2]) for group in office.relay.addresses.values() for address in group}
    assert found == announced
    assert not found & {24, 26, 209, 628, 1025, 2003, 2525, 8025, 10024, 10025, 10026}


def _sockets_of(pid: int) -> set[str]:
    links = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            links.add(str(entry.readlink()))
        except FileNotFoundError:
            continue
    return {link.removeprefix("socket:[").removesuffix("]") for link in links if link.startswith("socket:[")}


def _listening(table: str) -> Iterator[tuple[str, int]]:
    for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[3] == "0A":
            yield fields[9], int(fields[1].rpartition(":")[2], 16)


# Logged in


def say(wire: SocketWire, line: str) -> Reply:
    [reply] = wire.exchange(f"{line}\r\n".encode(), 1)
    return reply


def test_a_login_does_not_lend_out_the_names_of_others(office: RunningOffice) -> None:
    """G08, with envelope and header, and authenticating twice (E12)."""
    wire = office.logged_in()
    assert say(wire, "AUTH PLAIN AHgAeQ==")[:2] == (503, "5.5.1")
    for sender in ("bob@example.com", "probe@canary.test", "postmaster@example.com", "alice@example.com.canary.test", ""):
        assert say(wire, f"MAIL FROM:<{sender}>")[:2] == (553, "5.7.1"), sender
    for header in (
        "From: <bob@example.com>",
        "From: <probe@canary.test>",
        f"From: <{ACCOUNT}>, <bob@example.com>",
        f"From: <{ACCOUNT}>\r\nFrom: <bob@example.com>",
        "Subject: nobody",
    ):
        assert say(wire, f"MAIL FROM:<{ACCOUNT}>").code == 250
        assert say(wire, "RCPT TO:<canary@canary.test>").code == 250
        assert say(wire, "DATA").code == 354
        answer = say(wire, f"{header}\r\n\r\nforged\r\n.")
        assert answer.code in {550, 553}, header
        assert answer.enhanced == "5.7.1"
    wire.close()
    assert not [row for row in office.left() if row.address == "canary@canary.test"]


def test_what_a_login_may_is_gone_with_the_connection(office: RunningOffice) -> None:
    office.logged_in().close()
    wire = office.wire(Role.SUBMISSIONS)
    wire.open()
    wire.exchange(b"", 1)
    say(wire, "EHLO client.example")
    assert say(wire, f"MAIL FROM:<{ACCOUNT}>")[:2] == (530, "5.7.0")
    wire.close()


def test_in_the_end_only_what_was_permitted_has_left(testdata: Path, office: RunningOffice) -> None:
    """The control of all the assertions that find nothing: two messages that may leave, and these alone are found."""
    before = office.left()
    assert before == []
    wire = office.logged_in()
    assert say(wire, f"MAIL FROM:<{ACCOUNT}>").code == 250
    assert say(wire, "RCPT TO:<friend@canary.test>").code == 250
    assert say(wire, "DATA").code == 354
    assert say(wire, f"From: <{ACCOUNT}>\r\nSubject: permitted\r\n\r\nhello\r\n.").code == 250
    wire.close()
    wire = office.wire(Role.MX)
    wire.open()
    wire.exchange(b"", 1)
    say(wire, "EHLO client.example")
    assert say(wire, "MAIL FROM:<probe@canary.test>").code == 250
    assert say(wire, "RCPT TO:<known@branch.example>").code == 250
    assert say(wire, "RCPT TO:<qz7k@branch.example>")[:2] == (550, "5.1.1")
    assert say(wire, "DATA").code == 354
    assert say(wire, "From: <probe@canary.test>\r\n\r\nhello\r\n.").code == 250
    wire.close()
    permitted = [
        Left("friend@canary.test", "foreign", "ACCOUNT", ACCOUNT),
        Left("known@branch.example", "relay", "RELAY_DOMAIN", "branch.example"),
    ]
    assert sorted(office.left()) == permitted
    office.sink.wait_for(2)
    assert sorted(r for message in office.sink.messages for r in message.recipients) == [
        b"RCPT TO:<friend@canary.test>",
        b"RCPT TO:<known@branch.example>",
    ]
    addresses = [row.address for row in permitted]
    check_the_queue(office, addresses)
    check_the_journal(office, addresses)
    check_the_mailboxes(office)


def check_the_queue(office: RunningOffice, permitted: list[str]) -> None:
    def unfinished() -> int:
        return len(office.relay.json("queue", "list", "--limit", "100000")["recipients"])

    wait_until(lambda: unfinished() == 0, 60, "every message to be delivered")
    listed = [
        item["recipient"]
        for state in STATES
        for item in office.relay.json("queue", "list", "--state", state, "--limit", "100000")["recipients"]
    ]
    assert len(listed) == len(office.rows())
    assert sorted(a for a in listed if not is_ours(a)) == permitted


def check_the_journal(office: RunningOffice, permitted: list[str]) -> None:
    events = office.relay.json("journal", "search", "--event", "message.accepted", "--limit", "100000")["events"]
    named = [address for event in events for address in event["recipient"]]
    assert len(named) == len(office.rows())
    assert sorted(a for a in named if not is_ours(a)) == permitted


def check_the_mailboxes(office: RunningOffice) -> None:
    folders = {str(path.relative_to(office.relay.data / "mail")) for path in (office.relay.data / "mail").glob("*/*")}
    assert folders == {KNOWN.partition("@")[2] + "/alice", "example.com/postmaster"}
    newest = office.relay.maildir(KNOWN)[-1].read_bytes()
    assert b"[127.0.0.1]" in newest or b"[IPv6:::1]" in newest


def is_ours(address: str) -> bool:
    return address == "postmaster" or address.lower().endswith("@example.com")
