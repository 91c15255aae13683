"""What is wrong in a configuration of Exim beside who may relay."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address
from typing import Final

from postlatch.audit.lint.exim.config import Clause, Config, Value
from postlatch.audit.lint.exim.expand import Known
from postlatch.audit.lint.exim.lists import Asked, Lists
from postlatch.audit.lint.may import YES
from postlatch.audit.lint.reading import Line, shown
from postlatch.audit.values import Finding, Severity

_STRANGER: Final = IPv4Address("192.0.2.77")
_TRUE: Final = frozenset(("yes", "true", "1"))


def faults(config: Config, lists: Lists) -> Iterator[Finding]:
    """All of them."""
    yield from _lookalike_domains(config, lists)
    yield from _wide_trust(config, lists)
    yield from _options(config)
    yield from _logins(config, lists)
    yield from _local_parts(config)
    yield from _routers(config)


def takes_any_password(config: Config, lists: Lists) -> Line | None:
    """Where an authenticator says that every password is right."""
    for options in config.drivers["authenticators"].values():
        condition = options.get("server_condition")
        driver = options.get("driver")
        if condition is None or driver is None or driver.text not in {"plaintext", "external", "tls"}:
            continue
        made = lists.expanded(condition.text)
        if driver.text == "plaintext" and isinstance(made, Known) and made.text.strip().lower() in _TRUE:
            return condition.line
    return None


def _lookalike_domains(config: Config, lists: Lists) -> Iterator[Finding]:
    """``*example.com`` and an expression without ends match domains that others may register."""
    for (kind, name), value in config.lists.items():
        if kind != "domainlist":
            continue
        for item in lists.split(value.text)[:2000]:
            bare = item.removeprefix("*")
            if item.startswith("*") and bare and not bare.startswith((".", "@", "*")) and "." in bare:
                tried = f"evil{bare}"
            elif item.startswith("^") and (literal := _literal(item)):
                tried = f"evil{literal}" if lists.domain(item, Asked(f"evil{literal}")) == YES else f"{literal}.evil.example"
            else:
                continue
            if lists.domain(item, Asked(tried)) == YES:
                yield Finding(
                    "exim.lookalike-domain",
                    Severity.HIGH,
                    f"{shown(item, 80)} in the list {shown(name, 60)} also matches {shown(tried, 100)}",
                    "who registers such a domain is treated as if it were yours",
                    "write the domain and *.domain as two items, and expressions with \\N^ and $\\N at their ends",
                    value.line.file,
                    value.line.number,
                )


def _literal(expression: str) -> str:
    text = expression.replace("\\N", "").replace("\\", "").strip("^$").removeprefix(".*").removesuffix(".*").lstrip(".")
    return text if text and all(letter.isalnum() or letter in ".-" for letter in text) and "." in text else ""


def _wide_trust(config: Config, lists: Lists) -> Iterator[Finding]:
    for name, severity, why in (
        ("hosts_proxy", Severity.CRITICAL, "a stranger says which address it has, also one that may relay"),
        ("hosts_xclient", Severity.CRITICAL, "a stranger says which address and name it has, also ones that may relay"),
        ("smtp_accept_max_per_host_exempt", Severity.LOW, "a stranger takes all connections"),
        ("helo_allow_bad_names", Severity.LOW, "nobody's name is checked"),
    ):
        text = config.option(name)
        if text and lists.host(text, Asked(client=_STRANGER)) == YES:
            yield _of(
                config, f"exim.{name.replace('_', '-')}", severity, f"{name} covers strangers", why, f"name the hosts in {name}"
            )


def _options(config: Config) -> Iterator[Finding]:
    if config.option("percent_hack_domains"):
        yield _of(
            config,
            "exim.percent-hack-domains",
            Severity.HIGH,
            "percent_hack_domains is set",
            "user%elsewhere@here is sent on to user@elsewhere; the specification says that this is often abused",
            "remove percent_hack_domains",
        )
    if config.option("smtp_enforce_sync", "true").lower() in {"false", "no"}:
        yield _of(
            config,
            "exim.smtp-enforce-sync",
            Severity.MEDIUM,
            "smtp_enforce_sync is off",
            "clients that talk before they are asked are bots or smuggle mail",
            "remove the line; exempt single hosts by 'control = no_enforce_sync' in acl_smtp_connect",
        )
    if config.option("allow_domain_literals").lower() in _TRUE:
        yield _of(
            config,
            "exim.domain-literals",
            Severity.LOW,
            "allow_domain_literals is on",
            "recipients such as user@[192.0.2.1] reach hosts by their address; few need that",
            "remove the line",
        )
    if "$version_number" in config.option("smtp_banner", "$smtp_active_hostname ESMTP Exim $version_number $tod_full"):
        yield _of(
            config,
            "exim.banner",
            Severity.LOW,
            "the greeting tells the version",
            "attackers look for versions with known faults",
            "smtp_banner = $smtp_active_hostname ESMTP",
        )
    for name in ("trusted_users", "trusted_groups"):
        if "*" in config.option(name).split():
            yield _of(
                config,
                f"exim.{name.replace('_', '-')}",
                Severity.MEDIUM,
                f"{name} trusts everyone",
                "every local user may forge any sender and header",
                f"name the users in {name}",
            )


def _logins(config: Config, lists: Lists) -> Iterator[Finding]:
    if (line := takes_any_password(config, lists)) is not None:
        yield Finding(
            "exim.any-password",
            Severity.CRITICAL,
            "server_condition is always true: any name and password log in",
            "anybody can send mail to anybody through this server",
            "compare the password in server_condition",
            line.file,
            line.number,
        )
    offered = lists.expanded(config.option("auth_advertise_hosts", "*"))
    if not isinstance(offered, Known) or not offered.text.strip():
        return  # decided by TLS, or not offered at all
    for name, options in config.drivers["authenticators"].items():
        driver, condition = options.get("driver"), options.get("server_advertise_condition")
        if driver is None or driver.text != "plaintext" or "server_condition" not in options or _asks_for_tls(condition):
            continue
        yield Finding(
            "exim.clear-password",
            Severity.HIGH,
            f"the authenticator {shown(name, 60)} is offered without TLS",
            "passwords cross the network in clear, and who reads them can send as their owners",
            "server_advertise_condition = ${if def:tls_in_cipher}",
            driver.line.file,
            driver.line.number,
        )


def _asks_for_tls(condition: Value | None) -> bool:
    return condition is not None and ("tls_in_cipher" in condition.text or "tls_cipher" in condition.text)


def _local_parts(config: Config) -> Iterator[Finding]:
    """The rules of the default configuration that stand against addresses within addresses."""
    value = config.options.get("acl_smtp_rcpt")
    if value is None or value.text not in config.acls:
        return
    denied = (clause for clause in config.clauses if clause.name == "local_parts" and _refuses_tricks(clause))
    if next(denied, None) is None:
        yield Finding(
            "exim.local-parts",
            Severity.LOW,
            "nothing refuses local parts with @, %, ! or |",
            'hosts behind this one may take user%elsewhere or "user@elsewhere" for an address to relay to',
            "deny local_parts = ^[.] : ^.*[@%!/|] with domains = +local_domains, as in the default configuration",
            value.line.file,
            value.line.number,
        )


def _refuses_tricks(clause: Clause) -> bool:
    return "%" in clause.value and "!" in clause.value


def _routers(config: Config) -> Iterator[Finding]:
    """A router that takes every local part of a domain and sends it elsewhere."""
    for name, options in config.drivers["routers"].items():
        driver, data = options.get("driver"), options.get("data")
        if driver is None or driver.text != "redirect" or data is None or "@" not in data.text or "lookup" in data.text:
            continue
        if data.text.strip().startswith(":") or options.keys() & {"local_parts", "condition", "check_local_user", "senders"}:
            continue
        if "$domain" in data.text or "${domain" in data.text:
            continue
        yield Finding(
            "exim.catch-all",
            Severity.MEDIUM,
            f"the router {shown(name, 60)} sends every address of its domains to {shown(data.text, 100)}",
            "all spam to invented names is sent on in your name, and bounces go to forged senders",
            "list the local parts that exist, or refuse unknown ones: require verify = recipient",
            data.line.file,
            data.line.number,
        )


def _of(config: Config, id_: str, severity: Severity, message: str, why: str, fix: str) -> Finding:
    option = {"exim.percent-hack-domains": "percent_hack_domains", "exim.domain-literals": "allow_domain_literals"}.get(
        id_, id_.removeprefix("exim.").replace("-", "_")
    )
    file, line = config.place("smtp_banner" if option == "banner" else option)
    return Finding(id_, severity, message, why, fix, file, line)
