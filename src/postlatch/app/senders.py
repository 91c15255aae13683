"""Who really sent this: the checks of the relay's listeners, and ``postlatch verify`` and ``postlatch spf`` for people."""

from __future__ import annotations

import asyncio
import os
import time
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from postlatch.app.answer import BAD_NEWS, GOOD, UNDECIDED, UNUSABLE, Answer
from postlatch.app.clock import SystemClock
from postlatch.delivery.resolver import DnsResolver
from postlatch.model.address import Address, AddressError, parse_address
from postlatch.model.clock import Clock
from postlatch.model.dns import Resolver
from postlatch.model.envelope import Client
from postlatch.policy.networks import unmapped
from postlatch.senderauth import authres
from postlatch.senderauth.check import MessageCheck
from postlatch.senderauth.results import Authentication, Result, SpfResult
from postlatch.senderauth.spf.verify import check_spf
from postlatch.server.headers import HeaderCollector, read_facts
from postlatch.server.senders import Senders, author_domain
from postlatch.settings.load import load
from postlatch.settings.place import choose_path
from postlatch.settings.problem import SettingsError
from postlatch.settings.tree import Settings
from postlatch.testing.dns import FakeResolver

_PIECE = 256 * 1024  # octets of a message that are read at once
_BAD = frozenset({Result.FAIL, Result.SOFTFAIL, Result.PERMERROR})


def make_senders(settings: Settings, resolver: Resolver, clock: Clock) -> Senders | None:
    """The checks of mail from strangers; None if the configuration leaves them to somebody else."""
    wanted = settings.authentication
    if not wanted.check:
        return None

    def begin(client: Client, helo: str, sender: Address | None) -> MessageCheck:
        return MessageCheck(
            resolver,
            client=unmapped(client.address),
            helo=helo,
            sender=sender.text if sender is not None else None,
            receiver=settings.hostname,
            now=clock.now(),
            timeout=wanted.timeout,
        )

    return Senders(begin, wanted.authserv_id or settings.hostname, wanted.received_spf)


# The commands. They need no database and no running relay.


def spf(config: Path | None, arguments: dict[str, Any]) -> Answer:
    """``postlatch spf``."""
    try:
        found = asyncio.run(_spf(config, arguments))
    except (OSError, ValueError) as error:
        return Answer(UNUSABLE, {}, str(error))
    return Answer(_status(found.result), {"schema": "postlatch.spf/1", **spf_row(found)})


async def _spf(config: Path | None, arguments: dict[str, Any]) -> SpfResult:
    clock, settings = SystemClock(), chosen_settings(config)
    return await check_spf(
        chosen_resolver(arguments, settings, clock),
        client=unmapped(ip_address(arguments["client"])),
        helo=arguments["helo"],
        sender=_sender(arguments["mail_from"]),
        receiver=settings.hostname if settings is not None else "localhost",
        now=time.time(),
    )


def verify(config: Path | None, arguments: dict[str, Any]) -> Answer:
    """``postlatch verify``."""
    try:
        found, authserv_id = asyncio.run(_verify(config, arguments))
    except (OSError, ValueError) as error:
        return Answer(UNUSABLE, {}, str(error))
    field = authres.field(authserv_id, found).decode("ascii").replace("\r\n", "\n").strip()
    data = {"schema": "postlatch.verify/1", **rows(found), "authentication_results": field}
    return Answer(_status(found.dmarc.result), data)


async def _verify(config: Path | None, arguments: dict[str, Any]) -> tuple[Authentication, str]:
    clock, settings = SystemClock(), chosen_settings(config)
    receiver = settings.hostname if settings is not None else "localhost"
    check = MessageCheck(
        chosen_resolver(arguments, settings, clock),
        client=unmapped(ip_address(arguments["client"])),
        helo=arguments["helo"],
        sender=_sender(arguments["mail_from"]),
        receiver=receiver,
        now=arguments.get("at", time.time()),
    )
    check.start()
    _read(Path(arguments["file"]), check)
    found = await check.finish()
    return found, (settings.authentication.authserv_id if settings is not None else None) or receiver


def _read(path: Path, check: MessageCheck) -> None:
    """The message as it was on the wire: a file that was saved with bare line feeds gets its CRLF back."""
    with path.open("rb") as file:
        bare = b"\r\n" not in file.read(_PIECE)
        file.seek(0)
        collector = HeaderCollector()
        while not collector.complete and not collector.too_long and (piece := file.read(_PIECE)):
            collector.feed(piece.replace(b"\n", b"\r\n") if bare else piece)
        if collector.too_long:
            raise ValueError(f"{path}: the header is longer than 256 KiB")
        collector.finish()
        check.header(collector.block, author_domain(read_facts(collector.block)))
        check.feed(collector.rest)
        while piece := file.read(_PIECE):
            check.feed(piece.replace(b"\n", b"\r\n") if bare else piece)


def chosen_settings(config: Path | None) -> Settings | None:
    """The configuration where there is one: it knows our name and our resolvers. One that was named must be readable."""
    try:
        return load(choose_path(config, os.environ))
    except SettingsError:
        if config is not None or "POSTLATCH_CONFIG" in os.environ:
            raise
        return None


def chosen_resolver(arguments: dict[str, Any], settings: Settings | None, clock: Clock) -> Resolver:
    if arguments.get("zone"):
        return FakeResolver.from_file(Path(arguments["zone"]))
    if arguments.get("resolver"):
        return DnsResolver.of_servers([str(arguments["resolver"])], clock)
    servers = settings.outbound.resolver if settings is not None else ()
    return DnsResolver.of_servers(servers, clock) if servers else DnsResolver.of_system(clock)


def _sender(text: str) -> str | None:
    if text in {"", "<>"}:
        return None
    try:
        return parse_address(text, smtputf8=True).text
    except AddressError as error:
        raise ValueError(f"--mail-from: {text!a} is no address: {error}") from None


def _status(result: Result) -> int:
    if result is Result.TEMPERROR:
        return UNDECIDED
    return BAD_NEWS if result in _BAD else GOOD


def spf_row(found: SpfResult) -> dict[str, Any]:
    """As in DESIGN section 9."""
    return {
        "result": found.result.value,
        "explanation": found.explanation,
        "mechanism": found.mechanism,
        "lookups": found.lookups,
        "reason": found.reason,
        "domain": found.domain,
        "scope": found.scope,
    }


def rows(found: Authentication) -> dict[str, Any]:
    """As in DESIGN section 9."""
    dmarc, arc = found.dmarc, found.arc
    return {
        "spf": spf_row(found.spf),
        "dkim": [
            {
                "domain": one.domain,
                "selector": one.selector,
                "algorithm": one.algorithm,
                "result": one.result.value,
                "reason": one.reason,
                "identity": one.identity,
                "body_hash": one.body_hash,
            }
            for one in found.dkim
        ],
        "arc": {"result": arc.result.value, "instance": arc.instance, "reason": arc.reason, "sealers": list(arc.sealers)},
        "dmarc": {
            "result": dmarc.result.value,
            "disposition": dmarc.disposition.value,
            "policy_domain": dmarc.policy_domain,
            "from_domain": dmarc.from_domain,
            "aligned": {"spf": dmarc.spf_aligned, "dkim": dmarc.dkim_aligned},
            "reason": dmarc.reason,
        },
    }
