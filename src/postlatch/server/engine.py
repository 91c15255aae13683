"""How an SMTP engine is to behave, by the settings and the stress of the moment. Sessions that are alike share it."""

from __future__ import annotations

from functools import lru_cache

from postlatch.model.envelope import Role
from postlatch.server.services import Services, SessionLimits
from postlatch.smtp.server import ServerConfig


def engine_config(services: Services, role: Role, mechanisms: tuple[str, ...], *, tls: bool, implicit: bool) -> ServerConfig:
    """``tls``: the listener has a certificate; ``implicit``: TLS from the first octet. Under stress strangers may err less."""
    load, limits = services.load, services.session
    errors = min(limits.errors, load.rules.errors) if load.stress.active and role is Role.MX else limits.errors
    return _made(services.snapshot.hostname, role, tls and not implicit, implicit, mechanisms, limits, errors)


@lru_cache(maxsize=64)  # sessions of one listener share it
def _made(
    hostname: str,
    role: Role,
    tls_offered: bool,
    tls_active: bool,
    mechanisms: tuple[str, ...],
    limits: SessionLimits,
    errors: int,
) -> ServerConfig:
    return ServerConfig(
        hostname=hostname,
        role=role,
        tls_offered=tls_offered,
        tls_active=tls_active,
        mechanisms=mechanisms,
        max_size=limits.size,
        max_line=limits.line,
        max_recipients=limits.recipients,
        max_transactions=limits.transactions,
        max_errors=errors,
        max_commands=limits.commands,
    )
