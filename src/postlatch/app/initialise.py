"""``init``: configuration, certificate, database and the first administrator, in one folder; then the next three steps."""

from __future__ import annotations

import asyncio
import secrets
from pathlib import Path
from typing import Any

from postlatch.app.answer import UNUSABLE, Answer, good
from postlatch.app.certificate import write_self_signed
from postlatch.app.clock import SystemClock
from postlatch.app.commands.run import run_command
from postlatch.app.world import open_world
from postlatch.model.address import AddressError, parse_domain
from postlatch.settings.load import load
from postlatch.settings.template import render_config
from postlatch.settings.tree import Settings
from postlatch.store.database import StoreError
from postlatch.store.lock import acquire


def initialise(arguments: dict[str, Any]) -> Answer:
    """Make everything that a first start needs; refuses to touch what is there already."""
    try:
        domain = parse_domain(arguments["domain"])
        hostname = parse_domain(arguments.get("hostname") or f"mail.{domain}")
    except AddressError as error:
        return Answer(UNUSABLE, {}, f"{arguments['domain']!a}: {error}")
    folder = Path(arguments.get("dir") or ".")
    config = folder / "postlatch.toml"
    taken = [path for path in (config, folder / "key.pem", folder / "cert.pem") if path.exists()]
    if taken:
        return Answer(UNUSABLE, {}, f"{taken[0]} exists already: init never replaces a file; choose another --dir")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_self_signed(hostname, folder / "cert.pem", folder / "key.pem", SystemClock().now())
        config.write_text(render_config(domain, hostname), "utf-8")
        settings = load(config)
        settings.data_dir.mkdir(mode=0o700, exist_ok=True)
        password = secrets.token_urlsafe(15)
        login = f"admin@{domain}"
        with acquire(settings.data_dir):
            added = asyncio.run(_add_account(settings, login, password))
    except (OSError, StoreError) as error:
        return Answer(UNUSABLE, {}, str(error))
    if added.status:
        return added
    return good(
        "init",
        config=str(config),
        files=[str(folder / name) for name in ("postlatch.toml", "cert.pem", "key.pem", "data")],
        hostname=hostname,
        domain=domain,
        administrator=login,
        password=password,
        next=_next_steps(config, hostname, domain),
    )


def _next_steps(config: Path, hostname: str, domain: str) -> list[str]:
    trusted = (
        f"Get a certificate for {hostname} that others trust (ACME) and point [tls] in {config} at it; renewed files are taken "
        "up by themselves. Until then mail programs warn of the self-signed one, and they are right."
    )
    return [
        f"Publish in the DNS: an A (and AAAA) record for {hostname}, and the record {domain} MX 10 {hostname}.",
        trusted,
        f"Run: postlatch --config {config} check   and then: postlatch --config {config} serve",
    ]


async def _add_account(settings: Settings, login: str, password: str) -> Answer:
    world = await open_world(settings, serving=False)
    try:
        world.policy.install(world.policy.candidate(), starting=True)
        return await run_command(world, "account.add", {"login": login, "password": password})
    finally:
        await world.close()
