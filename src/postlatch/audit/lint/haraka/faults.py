"""What is wrong in a configuration of Haraka beside who may relay."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address

from postlatch.audit.lint.haraka.config import Config
from postlatch.audit.lint.patterns import matches
from postlatch.audit.lint.reading import shown
from postlatch.audit.values import Finding, Severity

_MOST: int = 2000


def faults(config: Config) -> Iterator[Finding]:
    """All of them."""
    plugins = {line.text.split()[0]: line for line in config.lines("plugins")[:300]}
    yield from _lookalike_domains(config)
    yield from _aliases(config)
    if "xclient" in plugins:
        yield from _xclient(config)
    logins = next((line for name, line in plugins.items() if name.startswith(("auth/", "auth-"))), None)
    if logins is not None and "tls" not in plugins:
        yield Finding(
            "haraka.auth-without-tls",
            Severity.HIGH,
            "there are logins and no plugin tls",
            "passwords cross the network in clear from private addresses, and elsewhere nobody can log in",
            "add tls to the file plugins, before the plugin for logins",
            logins.file,
            logins.number,
        )
    version = config.flag("connection.ini", "headers", "show_version", default=True)
    if version.holds and version.line.number > 1:
        yield Finding(
            "haraka.version",
            Severity.LOW,
            "the greeting and the Received field tell the version",
            "attackers look for versions with known faults",
            "show_version=false in connection.ini, section [headers]",
            version.line.file,
            version.line.number,
        )


def _lookalike_domains(config: Config) -> Iterator[Finding]:
    for line in config.lines("host_list_regex")[:_MOST]:
        literal = line.text.replace("\\", "").strip("^$").removeprefix(".*").lstrip(".")
        if "." not in literal or any(not (c.isalnum() or c in ".-") for c in literal):
            continue
        # Haraka itself puts ^( )$ around all of them.
        tried = (f"evil{literal}", literal.replace(".", "x", 1))
        if found := next((name for name in tried if matches(f"^(?:{line.text})$", name)), None):
            yield Finding(
                "haraka.lookalike-domain",
                Severity.HIGH if found == tried[0] else Severity.LOW,
                f"the expression {shown(line.text, 80)!r} also matches {shown(found, 80)}",
                "who registers such a domain is treated as if it were yours",
                "write \\. for a dot, and (?:.*\\.)? before the name for what is below it",
                line.file,
                line.number,
            )


def _aliases(config: Config) -> Iterator[Finding]:
    for line in config.lines("aliases")[:_MOST]:
        name, _, rest = line.text.partition(":")
        if name.strip().startswith(("@", "*", '"@', '"*')) and '"to"' in rest:
            yield Finding(
                "haraka.catch-all",
                Severity.MEDIUM,
                f"the alias {shown(name, 80)} sends on whatever comes for its domain",
                "all spam to invented names is sent on in your name, and bounces go to forged senders",
                "list the names that exist",
                line.file,
                line.number,
            )


def _xclient(config: Config) -> Iterator[Finding]:
    for line in config.lines("xclient.hosts")[:_MOST]:
        try:
            address = ip_address(line.text)
        except ValueError:
            continue
        if not address.is_loopback:
            yield Finding(
                "haraka.xclient",
                Severity.MEDIUM,
                f"{address} may say by XCLIENT which address, name and login a client has",
                "bans, limits and every rule about addresses are then up to that machine, and to all that share its address",
                "list only proxies that are yours in xclient.hosts, best on the loopback",
                line.file,
                line.number,
            )
