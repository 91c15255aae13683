"""docs/numbers.md: numbers that no setting changes, read from where the program has them."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from types import ModuleType
from typing import Any, NamedTuple

from postlatch.accounts.authenticator import AuthSettings
from postlatch.app import ban_book, clock, disk, housekeeping, notices, relay, supervisor
from postlatch.delivery import admission, callout, hosts, line, mx, outlook, pauses, targets
from postlatch.delivery.config import DeliveryConfig
from postlatch.delivery.schedule import RetryPolicy
from postlatch.limits.clients import WIDE_FACTOR
from postlatch.limits.limiter import Limiter
from postlatch.limits.unsure import GRACE
from postlatch.limits.window import EXACT
from postlatch.policy import danger_networks, rules_message
from postlatch.server import greylist, replays, reputation, reputation_lists
from postlatch.server.headers import MAX_HEADER
from postlatch.spool.bodies import INLINE_LIMIT

_INTRODUCTION = """\
What no setting changes. `script/make-docs` reads these numbers from the program and prints them here. What can be set, with its
default, is in [configuration.md](configuration.md)."""
_UNITS = ((86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second"))


class Number(NamedTuple):
    """One row of the page."""

    what: str
    value: str
    why: str


def page(made: str) -> str:
    """The whole page; ``made`` is the note about its origin."""
    lines = ["# Fixed numbers", "", made.format(source="the program"), "", _INTRODUCTION]
    for title, rows in _tables():
        lines += ["", f"## {title}", "", "| What | Number | Why it is there |", "|---|---|---|"]
        lines += [f"| {row.what} | {row.value} | {row.why} |" for row in rows]
    return "\n".join(lines) + "\n"


def _tables() -> Iterator[tuple[str, list[Number]]]:
    yield "Policy", _policy()
    yield "Limits", _limits()
    yield "Messages and disk", _messages()
    yield "Strangers", _strangers()
    yield "Delivery", _delivery()
    yield "Call-out", _callout()
    yield "Notifications and alerts", _notices()
    yield "Processes", _processes()


def _policy() -> list[Number]:
    widest = _of(ban_book, "WIDEST")
    v6 = 128 - (danger_networks.MAX_V6.bit_length() - 1)
    return [
        Number("IPv4 addresses of all rights without `wide` on one listener", _count(danger_networks.MAX_V4), "one /24"),
        Number("IPv6 addresses of all rights without `wide` on one listener", f"one /{v6}", "what one site has"),
        Number("`Received` fields of a message", _count(rules_message.MAX_HOPS), "beyond, it is in a loop (554 5.4.6)"),
        Number("Widest ban", f"/{widest[4]} (IPv4), /{widest[6]} (IPv6)", "a slip must not cut off the Internet"),
    ]


def _limits() -> list[Number]:
    keys = inspect.signature(Limiter).parameters["max_keys"].default
    return [
        Number(
            "Failed logins from the /24 or /48 around a client, as a multiple of `limits.client.auth_failures`",
            str(WIDE_FACTOR),
            "for guessers who change their address",
        ),
        Number(
            "Counters in memory",
            _count(keys),
            "beyond, the clients and sender domains that were counted longest ago are forgotten",
        ),
        Number(
            "Entries of one limit by hour or day that are kept apart",
            _count(EXACT),
            "beyond, it is exact to 1/64 of its window",
        ),
        Number("What may be held beyond a limit, as a multiple of it", "1", 'with `when_reached = "hold"`; then it refuses'),
        Number(
            "Seconds for which counts may be ahead of the disk", _count(int(GRACE)), 'beyond, `when_unknown = "defer"` waits'
        ),
        Number("Password checks at once", str(AuthSettings().workers), "each takes the memory of `accounts.argon2`"),
        Number("Password checks that wait", str(AuthSettings().queue), "beyond, AUTH is answered 454 4.7.0"),
    ]


def _messages() -> list[Number]:
    return [
        Number("Header of a message", _octets(MAX_HEADER), "beyond, the message is refused (552 5.3.4)"),
        Number("Body kept in the database", _octets(INLINE_LIMIT), "larger ones are files under `bodies/`"),
        Number(
            "Most that `overload.disk_free` and `overload.inodes_free` keep",
            f"{_of(disk, 'SHARE'):.0%} of the disk",
            "so that the defaults fit a small disk; below, MAIL is answered 452 4.3.1",
        ),
    ]


def _delivery() -> list[Number]:
    retry, config = RetryPolicy(), DeliveryConfig(hostname="mx.example.com")
    delays = ", ".join(_time(seconds) for seconds in retry.delays)
    return [
        Number("Waits between attempts", f"{delays}, then always the last", "until `outbound.max_age` is over"),
        Number("By how much each wait varies", f"{retry.jitter:.0%} either way", "so that messages do not come back together"),
        Number(
            "Deliveries at once to one destination",
            f"{config.start_per_destination}, growing to {config.max_per_destination}",
            "in all: `outbound.max_connections`",
        ),
        Number(
            "Rest of a host that does not answer",
            ", ".join(_time(seconds) for seconds in hosts.RESTS),
            f"after the first, second … failure; at most {_time(hosts.LONGEST_OF_ROUTE)} for a host of a route",
        ),
        Number("Failures until it is parked", str(hosts.PARKED_AFTER), "then nothing waits for it in memory"),
        Number(
            "Share of the deliveries at once of hosts not tried yet; of hosts that have failed",
            "a half; a quarter",
            "dead destinations do not hold up the others",
        ),
        Number("Turns of urgent, normal and bulk mail", ", ".join(map(str, line.SHARES)), "while there is too much of all"),
        Number(
            "Silent next hops until the own network is taken to be down",
            f"{outlook.SILENT_HOSTS} in {_time(outlook.SILENT_SECONDS)} or more, and no answer",
            "nothing is counted then, and a few probes go out",
        ),
        Number(
            "Mail that is due is let in at first at",
            f"{admission.START:.0f} messages a second",
            f"one more for each success; {admission.FLOOR:.0f} while nothing can be reached",
        ),
        Number("An old pause is an alert after", _time(pauses.ALERT_AFTER), "and again each day"),
        Number("MX hosts of a domain that are looked at", str(mx.MAX_HOSTS), "the best ones"),
        Number("Addresses tried in one attempt", str(targets.MAX_TARGETS), "the next attempt shuffles anew"),
    ]


def _strangers() -> list[Number]:
    return [
        Number(
            "What DNS lists and names say of an address is remembered",
            _time(reputation.KEPT),
            f"{_time(reputation.KEPT_PART)} where some did not answer",
        ),
        Number("Addresses of which it is", f"{reputation.MAX_CLIENTS:,}", "the least recently seen are forgotten"),
        Number(
            "A DNS list is tested every", _time(reputation_lists.DAILY), f"{_time(reputation_lists.HOURLY)} while it is off"
        ),
        Number("Greylist entries of one network or domain that wait", f"{greylist.MOST_OF_GROUP:,}", "more is no mail server"),
        Number(
            "A signature of others is told beyond",
            f"{replays.TOLD.amount} recipients in {_time(replays.TOLD.seconds)}",
            "where `dkim.replays` is not set",
        ),
        Number("Signatures that are counted", f"{replays.MAX_SIGNATURES:,}", "the least recently seen are forgotten"),
    ]


def _callout() -> list[Number]:
    return [
        Number("A known recipient is remembered", _time(callout.KNOWN_SECONDS), ""),
        Number("An unknown one", _time(callout.UNKNOWN_SECONDS), "a new mailbox must not stay unknown for long"),
        Number("No answer", _time(callout.UNDECIDED_SECONDS), "RCPT is answered 451 4.3.0"),
        Number("A known recipient, while the next hop is down", _time(callout.STALE_SECONDS), "then 451 4.3.0"),
        Number("Questions at once", str(callout.MAX_PROBES), "more are answered 451 4.3.0"),
    ]


def _notices() -> list[Number]:
    caps = [
        Number(f"`{kind}` to one recipient", ", ".join(limit.text for limit in limits), "a loop that all other guards missed")
        for kind, limits in _of(notices, "CAPS").items()
    ]
    return [
        *caps,
        Number("The same alert is mailed again after", _time(_of(notices, "QUIET")), "it is in the journal each time"),
        Number("Warning before a certificate expires", _time(_of(housekeeping, "EXPIRY_WARNING")), ""),
        Number("A jump of the clock that is told", f"more than {_time(_of(clock, 'JUMP'))}", ""),
    ]


def _processes() -> list[Number]:
    return [
        Number("Sessions and deliveries may end after SIGTERM", _time(relay.DRAIN), ""),
        Number("SIGTERM becomes SIGKILL", _time(_of(supervisor, "GRACE")), "`TimeoutStopSec` in the systemd unit is longer"),
        Number("A process that keeps ending is started again after, at most", _time(_of(supervisor, "MAX_BACKOFF")), ""),
    ]


def _of(module: ModuleType, name: str) -> Any:
    """A constant of a module, whether the module keeps it to itself or not."""
    return getattr(module, name) if hasattr(module, name) else getattr(module, f"_{name}")


def _count(number: Any) -> str:
    return f"{number:,}"


def _octets(number: int) -> str:
    return f"{number // 2**20} MiB" if number >= 2**20 else f"{number // 1024} KiB"


def _time(seconds: float) -> str:
    for size, unit in _UNITS:
        if seconds >= size and seconds % size == 0:
            count = int(seconds // size)
            return f"{count} {unit}{'' if count == 1 else 's'}"
    return f"{seconds:g} seconds"
