"""Results as audits give them, for tests of reports: an open relay, a closed server, and one that nobody can judge."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from postlatch.audit.probes.place import Place, Tls
from postlatch.audit.probes.values import Outcome, Stand
from postlatch.audit.probes.vectors import BASE, VECTORS, questions
from postlatch.audit.result import TargetResult
from postlatch.audit.values import AuditVerdict, Evidence, Finding, Severity

AT: Final = 1_795_589_617.25  # 2026-11-25T06:53:37.25Z
NOW: Final = AT + 60
_HOST: Final = "mail.example.com"
_KNOWN: Final = {
    "U": "canary",
    "T": "canary.example",
    "T2": "stranger.example",
    "L": "example.com",
    "R": "alice",
    "H": _HOST,
    "IP": "192.0.2.25",
    "X": "relaytest",
    "RAND": "nobody-5f3c21aa",
}
MX: Final = Place(_HOST, "192.0.2.25", 25)
PLACES: Final = (
    MX,
    MX._replace(tls=Tls.STARTTLS),
    Place(_HOST, "2001:db8::25", 25),
    Place(_HOST, "192.0.2.25", 587, Tls.STARTTLS),
)
_TALK: Final = (
    "S: 220 mail.example.com ESMTP Postfix (Debian/GNU)",
    "C: EHLO auditor.example.net",
    "S: 250-mail.example.com",
    "S: 250-PIPELINING",
    "S: 250-SIZE 10240000",
    "S: 250 STARTTLS",
    "C: MAIL FROM:<relaytest@[192.0.2.25]>",
    "S: 250 2.1.0 Ok",
    "C: RCPT TO:<canary%canary.example@mail.example.com>",
    "S: 250 2.1.5 Ok",
    "C: DATA",
    "S: 354 End data with <CR><LF>.<CR><LF>",
    "   (message pl5f3c21aa-0042, 612 octets)",
    "S: 250 2.0.0 Ok: queued as 4XyZ1b2c3dz9",
    "C: QUIT",
    "S: 221 2.0.0 Bye",
)
_FIX: Final = """In main.cf:
allow_untrusted_routing = no
smtpd_relay_restrictions = permit_mynetworks, reject_unauth_destination
Then: postfix reload"""


def outcomes(places: tuple[Place, ...] = PLACES) -> Iterator[Outcome]:
    """Everything once at the first place, what is typical at the others; all of it refused, both controls right."""
    yield Outcome("C+", places[0], Stand.HELD, how="RCPT TO:<alice@example.com>", why="2.1.5 Ok")
    yield Outcome("C-", places[0], Stand.HELD, how="RCPT TO:<nobody-5f3c21aa@example.com>", why="5.1.1 User unknown")
    for number, place in enumerate(places):
        for vector in VECTORS:
            if number and vector.id not in BASE:
                continue
            for question in questions(vector, _KNOWN):
                why = f"554 5.7.1 <{question.recipient}>: Relay access denied"
                yield Outcome(vector.id, place, Stand.HELD, how=question.how, why=why, foreign=True)
    yield Outcome("E09", places[0], Stand.HELD, how="commands in one segment with STARTTLS", why="Thrown away.")
    yield Outcome("F01", places[0], Stand.UNDECIDED, how="LF . LF", why="No mailbox of ours to count in.")
    yield Outcome("G02", places[-1], Stand.ABSENT, how="AUTH PLAIN", why="Logins are not offered.")
    yield Outcome("J08", places[0], Stand.HELD, how="VRFY root, VRFY nobody", why="252 2.0.0 for both")


def open_relay() -> TargetResult:
    """Proved, by an address inside an address; with two more findings."""
    spoiled = {"B02": Stand.TAKEN, "B03": Stand.TAKEN, "J08": Stand.BROKE}
    found = tuple(
        one._replace(
            stand=spoiled[one.vector],
            evidence=Evidence.E4 if one.vector == "B02" else Evidence.E1,
            why="250 2.1.5 Ok",
            token="pl5f3c21aa-0042",
            transcript=_TALK,
        )
        if one.vector in spoiled
        else one
        for one in outcomes()
    )
    findings = (
        Finding(
            "audit.open-relay",
            Severity.CRITICAL,
            "An open relay at 192.0.2.25:25, by B02: MAIL FROM:<relaytest@[192.0.2.25]> "
            "RCPT TO:<canary%canary.example@mail.example.com>",
            "Anybody can send any mail to anybody through it. Spammers find it within hours; then its mail is refused "
            "everywhere.",
            _FIX,
            transcript=_TALK,
        ),
        Finding(
            "audit.accepts-unknown",
            Severity.MEDIUM,
            "It takes mail for a mailbox that does not exist, at 192.0.2.25:25: RCPT TO:<nobody-5f3c21aa@example.com>",
            "Either a catch-all, which gathers the mail of spammers, or a bounce later, which goes to whoever they name as "
            "sender.",
            "smtpd_reject_unlisted_recipient = yes",
            transcript=_TALK[:10],
        ),
        Finding(
            "audit.vrfy",
            Severity.LOW,
            "VRFY says which mailboxes exist, at 192.0.2.25:25",
            "Spammers gather addresses so.",
            "disable_vrfy_command = yes",
        ),
    )
    return TargetResult(
        _HOST,
        AuditVerdict.OPEN,
        Evidence.E4,
        "F",
        "An open relay: 4 message(s) from a stranger to a stranger were delivered to the canary.",
        server="postfix 3.7.9",
        places=tuple(map(str, PLACES)),
        findings=findings,
        outcomes=found,
        messages=12,
        connections=47,
        seconds=6.482,
        at=AT,
    )


def closed() -> TargetResult:
    """Nothing to say against it."""
    places = (Place("mx2.example.com", "198.51.100.7", 25),)
    found = tuple(outcomes(places))
    return TargetResult(
        "mx2.example.com:25",
        AuditVerdict.CLOSED,
        Evidence.E0,
        "A",
        f"Closed: it takes mail for its own mailbox and refused all {len(found) - 2} ways to hand in mail for strangers.",
        server="exim 4.98",
        places=tuple(map(str, places)),
        outcomes=found,
        messages=2,
        connections=31,
        seconds=4.1,
        at=AT + 7,
    )


def inconclusive() -> TargetResult:
    """It greylists."""
    place = Place("backup.example.com", "203.0.113.9", 25)
    why = "450 4.2.0 <alice@example.com>: Recipient address rejected: Greylisted, see http://postgrey.schweikert.ch/"
    found = (
        Outcome("C+", place, Stand.UNDECIDED, how="RCPT TO:<alice@example.com>", why=why),
        Outcome("C-", place, Stand.UNDECIDED, how="RCPT TO:<nobody-5f3c21aa@example.com>", why=why),
        *(Outcome(name, place, Stand.UNDECIDED, how="MAIL FROM:<> RCPT TO:<canary@canary.example>", why=why) for name in BASE),
    )
    return TargetResult(
        "backup.example.com",
        AuditVerdict.INCONCLUSIVE,
        Evidence.E0,
        "-",
        f"It does not take mail for its own mailbox either ({why}), so its refusals say nothing of relaying.",
        "If it greylists, ask again in ten minutes from the same address; if it was silent, see whether it is reachable.",
        places=(str(place),),
        outcomes=found,
        connections=9,
        seconds=2.0,
        at=AT + 12,
    )


def all_three() -> list[TargetResult]:
    """Of one run."""
    return [open_relay(), closed(), inconclusive()]


_NASTY: Final = "=cmd|' /C calc'!A0\"><script>alert(1)</script><!-- ]]> \x1b[2J\u202e\x00\r\n&amp;\ud800 --> {{7*7}}"


def hostile() -> TargetResult:
    """A server that says what would harm a careless reader; every text of it, though results are printable by contract."""
    place = Place(_NASTY, _NASTY, 25)
    finding = Finding(_NASTY, Severity.HIGH, _NASTY, _NASTY, _NASTY, transcript=(_NASTY, f"S: {_NASTY}"))
    found = Outcome(_NASTY, place, Stand.TAKEN, Evidence.E3, _NASTY, _NASTY, _NASTY, (_NASTY,), finding)
    return TargetResult(
        _NASTY,
        AuditVerdict.ACCEPTS,
        Evidence.E3,
        "D",
        _NASTY,
        _NASTY,
        _NASTY,
        (str(place),),
        (finding,),
        (found,),
        at=AT,
    )
