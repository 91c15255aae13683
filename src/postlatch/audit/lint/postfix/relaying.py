"""Could a client relay through one service? All that it may say is tried, each thing only where something looks at it."""

from __future__ import annotations

from typing import Final, NamedTuple

from postlatch.audit.lint.postfix.choices import HELO, Fork, Option, Sayings, Script
from postlatch.audit.lint.postfix.restrictions import evaluate
from postlatch.audit.lint.postfix.service import STAGES, SmtpService
from postlatch.audit.lint.postfix.tables import LookupFails, Unreadable
from postlatch.audit.lint.postfix.walk import Client, End, ServerError, Status, Walk

_MOST_RUNS: Final = 4000


class Way(NamedTuple):
    """One way through a service: what is said, how the lists end, and what would have to be true besides."""

    recipient: str
    said: tuple[str, ...]
    ends: tuple[End, ...]
    notes: tuple[str, ...]
    assumed: tuple[str, ...]
    sender: str | None = None
    helo: str | None = None
    name: str | None = None


def way_through(service: SmtpService, sayings: Sayings, client: Client) -> Way | None:
    """The first way by which mail for somebody else passes, one that assumes nothing if there is one; None: there is none."""
    waiting: list[tuple[int, ...]] = [()]
    doubtful: Way | None = None
    for _ in range(_MOST_RUNS):
        if not waiting:
            return doubtful or _incomplete(sayings)
        numbers = waiting.pop()
        try:
            way = _run(service, sayings, client, Script(numbers))
        except Fork as fork:
            waiting += [(*numbers, number) for number in reversed(range(fork.options))]
            continue
        if way is not None and not way.assumed:
            return way
        if way is not None and (doubtful is None or len(way.assumed) < len(doubtful.assumed)):
            doubtful = way
    return doubtful or Way("", (), (), (), ("there are more combinations than were tried",))


def _incomplete(sayings: Sayings) -> Way | None:
    return None if sayings.complete else Way("", (), (), (), ("the tables have more entries than were tried",))


def _run(service: SmtpService, sayings: Sayings, client: Client, script: Script) -> Way | None:
    walk = Walk(service, sayings, client, script)
    try:
        # All lists must let it pass and none decides for another, so the order does not matter: first those that mostly refuse.
        accepted = _recipient_stage(walk) and _early_stages(walk) and _data_stages(walk)
    except (ServerError, LookupFails):
        return None
    except Unreadable as error:  # of a list, where nothing else decided
        return Way("", (), (), (), (*walk.assumed, str(error)))
    if not accepted or walk.discard or not _goes_out(walk):
        return None
    recipient = walk.value("recipient") or ""
    return Way(
        recipient,
        tuple(walk.said()),
        tuple(walk.ends),
        tuple(dict.fromkeys(walk.notes)),
        tuple(dict.fromkeys(walk.assumed)),
        walk.chosen("sender"),
        walk.chosen("helo") if walk.known("helo") else HELO,
        walk.chosen("name"),
    )


def _early_stages(walk: Walk) -> bool:
    """The lists of client, HELO and MAIL: with smtpd_delay_reject they run at RCPT, when all is known."""
    delayed = walk.service.parameters.flag("smtpd_delay_reject")
    ends = list(walk.ends)
    for stage in STAGES:
        walk.defer_if_reject = False
        if not delayed:
            walk.visible = {"client": set[str](), "helo": {"helo"}, "sender": {"helo", "sender"}}[stage]
        if stage == "helo" and walk.service.restrictions("helo") and walk.value("helo") is None:
            continue
        if evaluate(walk, f"smtpd_{stage}_restrictions", f"check_{stage}_access") is Status.REJECT:
            return False
    walk.ends = ends
    walk.visible = {"helo", "sender", "recipient"}
    return not walk.defer_if_permit


def _recipient_stage(walk: Walk) -> bool:
    """Relay and recipient restrictions: both must let it pass, whatever smtpd_relay_before_recipient_restrictions says."""
    for stage in ("relay", "recipient"):
        if evaluate(walk, f"smtpd_{stage}_restrictions", "check_recipient_access") is Status.REJECT:
            return False
    return not walk.defer_if_permit


def _data_stages(walk: Walk) -> bool:
    ends = list(walk.ends)
    lists = [stage for stage in ("data", "end_of_data") if walk.service.restrictions(stage)]
    # With more than one recipient these lists are shown none of them (smtpd_check_data).
    if lists and walk.choose([Option("one"), Option(None)]) is None:
        walk.visible = {"helo", "sender"}
        walk.besides.append("two recipients at once, which later lists do not see")
    for stage in lists:
        walk.defer_if_permit = walk.defer_if_reject = False
        if evaluate(walk, f"smtpd_{stage}_restrictions", "") is Status.REJECT or walk.defer_if_permit:
            return False
    walk.ends = ends
    return True


def _goes_out(walk: Walk) -> bool:
    """Whether it is mail for somebody else, and known to whom it would be relayed."""
    kind = walk.service.class_of(walk.domain())
    if kind != "relay":
        return not kind
    if not walk.service.parameters.flag("smtpd_reject_unlisted_recipient"):
        return True
    try:
        return walk.service.listed_recipient(walk.value("recipient") or "")
    except Unreadable as error:
        walk.assume(f"relay_recipient_maps has the recipient ({error})")
        return True
    except LookupFails:
        return False
