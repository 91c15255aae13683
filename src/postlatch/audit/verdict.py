"""From questions and answers to a verdict: open is only what delivered, closed only what all of it shows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from postlatch.audit.canary.values import Arrival
from postlatch.audit.probes.controls import Controls
from postlatch.audit.probes.ended import TIME_IS_OVER
from postlatch.audit.probes.fixes import fix
from postlatch.audit.probes.values import Outcome, Stand
from postlatch.audit.values import AuditVerdict, Evidence, Finding, Severity

SPOOFABLE: Final = "audit.spoofable"
# Vectors whose refusal is what "closed" says; the other families ask for other faults.
_FAMILIES: Final = {
    "A": "sender",
    "B": "percent",
    "C": "route",
    "D": "domain",
    "E": "session",
    "G": "login",
    "I": "trust",
    "J": "domain",
}
_ON_MX: Final = "audit.auth-on-mx"
_PLAIN: Final = frozenset({"A01", "A02"})
_WORST: Final = tuple(Severity)


class Facts(NamedTuple):
    """All that was seen. ``product`` is as `audit.fingerprint` names it. ``near``: it was asked from its own machine."""

    controls: Controls
    outcomes: Sequence[Outcome]
    arrivals: Sequence[Arrival]
    product: str = ""
    canary: bool = True
    port: int = 25
    near: bool = False


class Judgement(NamedTuple):
    """The verdict, how far a message got, a grade, a sentence, and what would decide it if nothing did."""

    verdict: AuditVerdict
    evidence: Evidence
    grade: str
    summary: str
    decide: str
    findings: tuple[Finding, ...]
    outcomes: tuple[Outcome, ...]
    unasked: str = ""  # what there was no time or no message left for


def judge(facts: Facts) -> Judgement:
    """Pure: the same facts give the same judgement."""
    outcomes = tuple(_with_arrivals(outcome, facts.arrivals) for outcome in facts.outcomes)
    findings = [outcome.finding for outcome in outcomes if outcome.finding is not None]
    evidence = max((outcome.evidence for outcome in outcomes if _is_relay(outcome)), default=Evidence.E0)
    verdict, summary, decide, more = _decide(facts, outcomes)
    if more is not None:
        findings.append(more)
    if facts.controls.login_first:  # then it is a submission service, on whatever port
        findings = [finding for finding in findings if finding.id != _ON_MX]
    if (unknown := _takes_unknown(facts, verdict)) is not None:
        findings.append(unknown)
    findings = _merged(findings)
    # Of one that relays this and bounces that, the relay is what must be told.
    evidence = {AuditVerdict.OPEN: Evidence.E4, AuditVerdict.BACKSCATTER: Evidence.E5}.get(verdict, evidence)
    late = [outcome for outcome in outcomes if outcome.stand is Stand.UNDECIDED and outcome.why == TIME_IS_OVER]
    grade = _grade(verdict, findings)
    grade = "B" if late and grade == "A" else grade
    return Judgement(verdict, evidence, grade, summary, decide, tuple(findings), outcomes, _unasked(late))


def _unasked(late: Sequence[Outcome]) -> str:
    if not late:
        return ""
    names = ", ".join(dict.fromkeys(outcome.vector for outcome in late))
    return f"There was no time for {len(late)} question(s) ({names}): give it more with --time-limit."


def _merged(findings: Iterable[Finding]) -> list[Finding]:
    """One finding for each fault, the worst first, however often it was met: the fix is one."""
    met: dict[str, list[Finding]] = {}
    for finding in dict.fromkeys(findings):
        met.setdefault(finding.id, []).append(finding)
    worst = [(min(alike, key=lambda finding: _WORST.index(finding.severity)), len(alike)) for alike in met.values()]
    merged = [
        finding._replace(message=f"{finding.message} (met {count} times)") if count > 1 else finding for finding, count in worst
    ]
    return sorted(merged, key=lambda finding: _WORST.index(finding.severity))


def _decide(facts: Facts, outcomes: Sequence[Outcome]) -> tuple[AuditVerdict, str, str, Finding | None]:
    relayed = [outcome for outcome in outcomes if outcome.evidence is Evidence.E4]
    bounced = [outcome for outcome in outcomes if outcome.evidence is Evidence.E5]
    taken = [outcome for outcome in outcomes if outcome.stand is Stand.TAKEN and _unexplained(facts, outcome)]
    if relayed:
        text = f"An open relay: {len(relayed)} message(s) from a stranger to a stranger were delivered to the canary."
        if facts.near:
            text += " They were sent from its own machine, which many servers trust: ask from another one too."
        return AuditVerdict.OPEN, text, "", _open(facts, relayed)
    if bounced:
        text = "It takes mail that it cannot deliver, and sends bounces to whoever was named as the sender."
        return AuditVerdict.BACKSCATTER, text, "", _backscatter(facts, bounced)
    if taken:
        return AuditVerdict.ACCEPTS, *_accepts(facts, taken)
    if (doubt := _doubt(facts, outcomes)) is not None:
        return AuditVerdict.INCONCLUSIVE, *doubt, None
    if any(outcome.finding is not None and outcome.finding.id == SPOOFABLE for outcome in outcomes):
        return AuditVerdict.SPOOFABLE, "No relay, but strangers can write to its users in the name of its own domain.", "", None
    return AuditVerdict.CLOSED, _closed(facts, outcomes), "", None


def _unexplained(facts: Facts, outcome: Outcome) -> bool:
    """Is it odd that this was taken? A server may take any name in its own domain, if it takes those that nobody has."""
    return outcome.foreign or (facts.controls.refuses_unknown is not False and not outcome.token)


def _with_arrivals(outcome: Outcome, arrivals: Iterable[Arrival]) -> Outcome:
    """What the canary saw of its message. Probes of other families read their own mailboxes; a canary is never local."""
    seen = [arrival for arrival in arrivals if outcome.token and arrival.token == outcome.token]
    if any(not arrival.bounce for arrival in seen):
        return outcome._replace(evidence=Evidence.E4)
    return outcome._replace(evidence=Evidence.E5) if seen else outcome


def _is_relay(outcome: Outcome) -> bool:
    return outcome.stand is Stand.TAKEN or outcome.evidence >= Evidence.E4


def _doubt(facts: Facts, outcomes: Sequence[Outcome]) -> tuple[str, str] | None:
    """Why refusals prove nothing here, and what would."""
    controls = facts.controls
    if controls.login_first:
        if facts.port != 25:  # on any other port this is as it should be (RFC 6409)
            return None
        text = "Whether it relays was not asked: on port 25 it wants a login before it says anything of recipients."
        return text, "Audit the port where it takes mail from the world."
    if controls.takes_known is not True:
        text = f"It does not take mail for its own mailbox either ({controls.why}), so its refusals say nothing of relaying."
        return text, _what_helps(controls)
    undecided = [one for one in outcomes if one.stand is Stand.UNDECIDED and one.vector[:1] in _FAMILIES and _asks_relay(one)]
    if undecided:
        text = f"{len(undecided)} question(s) got no answer that decides: {undecided[0].vector}: {undecided[0].why}"
        return text, "Ask again later or more slowly (--rate); a server that keeps lists of strangers must first know this one."
    if controls.refuses_unknown is not True and not facts.canary:
        text = "It takes mail for mailboxes that do not exist, so what it takes says nothing."
        return text, "Name a canary (--canary): a bounce, or none, decides."
    return None


def _asks_relay(outcome: Outcome) -> bool:
    return outcome.vector[0] in "ABCD" or outcome.foreign


def _what_helps(controls: Controls) -> str:
    if controls.takes_known is None:
        return "If it greylists, ask again in ten minutes from the same address; if it was silent, see whether it is reachable."
    return "Name a mailbox that exists (--local) or a sender's domain that it takes (--canary-domain), or ask from elsewhere."


def _closed(facts: Facts, outcomes: Sequence[Outcome]) -> str:
    controls = {outcome.vector for outcome in facts.controls.outcomes}
    refused = [one for one in outcomes if one.stand is Stand.HELD and one.vector not in controls]
    asked = sum(outcome.vector[0] in _FAMILIES for outcome in refused)
    if facts.controls.login_first:
        return f"Closed: it takes nothing from who is not logged in ({asked} questions)."
    return f"Closed: it takes mail for its own mailbox and refused all {asked} ways to hand in mail for strangers."


def _open(facts: Facts, relayed: Sequence[Outcome]) -> Finding:
    first = min(relayed, key=lambda outcome: (outcome.vector, str(outcome.place)))
    # Who lets any stranger's plain message through trusts no sender's name: it trusts everybody.
    family = "" if first.vector in _PLAIN else _FAMILIES.get(first.vector[0], "session")
    ways = ", ".join(dict.fromkeys(outcome.vector for outcome in relayed))
    return Finding(
        "audit.open-relay",
        Severity.CRITICAL,
        f"An open relay at {first.place}, by {ways}: {first.how}",
        "Anybody can send any mail to anybody through it. Spammers find it within hours; then its mail is refused everywhere.",
        fix(f"audit.open-relay.{family}", facts.product) or fix("audit.open-relay", facts.product),
        transcript=first.transcript,
    )


def _backscatter(facts: Facts, bounced: Sequence[Outcome]) -> Finding:
    first = bounced[0]
    return Finding(
        "audit.backscatter",
        Severity.HIGH,
        f"A bounce was sent to a made-up sender, at {first.place}: {first.how}",
        "Whoever forges a sender makes this server mail the victim. It ends on lists of backscatterers.",
        fix("audit.backscatter", facts.product),
        transcript=first.transcript,
    )


def _accepts(facts: Facts, taken: Sequence[Outcome]) -> tuple[str, str, Finding]:
    first = max(taken, key=lambda outcome: outcome.evidence)
    furthest = {Evidence.E1: "the recipient", Evidence.E2: "DATA", Evidence.E3: "the whole message"}
    what = furthest.get(first.evidence, "the recipient")
    if not first.token:
        summary = f"It took {what} for a stranger; whether it delivers was not tried."
        decide = "Name a canary (--canary): only a message that arrives is a relay." if not facts.canary else first.why
    else:
        summary = f"It took {what} for a stranger, and nothing arrived at the canary: a trap, a hole, or a slow relay."
        decide = "Wait longer (--window), or look into its queue: is the message there?"
    finding = Finding(
        "audit.accepts-foreign",
        Severity.HIGH,
        f"It takes mail of strangers for strangers, at {first.place}: {first.how}",
        "What it does with it could not be seen. If it delivers it, now or later, it is an open relay.",
        fix("audit.open-relay", facts.product),
        transcript=first.transcript,
    )
    return summary, decide, finding


def _takes_unknown(facts: Facts, verdict: AuditVerdict) -> Finding | None:
    if facts.controls.refuses_unknown is not False or verdict in {AuditVerdict.BACKSCATTER, AuditVerdict.ACCEPTS}:
        return None
    control = facts.controls.outcomes[1]
    return Finding(
        "audit.accepts-unknown",
        Severity.MEDIUM,
        f"It takes mail for a mailbox that does not exist, at {control.place}: {control.how}",
        "Either a catch-all, which gathers the mail of spammers, or a bounce later, which goes to whoever they name as sender.",
        fix("audit.accepts-unknown", facts.product),
        transcript=control.transcript,
    )


def _grade(verdict: AuditVerdict, findings: Sequence[Finding]) -> str:
    """A: nothing of medium or worse; B: medium; C: high or worse, or spoofable; D: takes what it must not; F: open."""
    match verdict:
        case AuditVerdict.OPEN:
            return "F"
        case AuditVerdict.BACKSCATTER | AuditVerdict.ACCEPTS:
            return "D"
        case AuditVerdict.SPOOFABLE:
            return "C"
        case AuditVerdict.INCONCLUSIVE:
            return "-"
    return grade_of(finding.severity for finding in findings)


def grade_of(severities: Iterable[Severity]) -> str:
    """The grade of a closed server with findings of these severities."""
    worst = min(map(_WORST.index, severities), default=len(_WORST))
    if worst <= _WORST.index(Severity.HIGH):
        return "C"
    return "B" if worst == _WORST.index(Severity.MEDIUM) else "A"
