"""What is wrong in a configuration of Sendmail beside who may relay."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from postlatch.audit.lint.reading import Line, shown
from postlatch.audit.lint.sendmail.config import Config, Feature
from postlatch.audit.values import Finding, Severity

_FEATURES: Final = {
    "loose_relay_check": (
        Severity.HIGH,
        "user%elsewhere@relayed-domain is not looked into",
        "mail for anybody passes if the host behind sends it on",
        "remove the line",
    ),
    "relay_entire_domain": (
        Severity.MEDIUM,
        "every host of the domain may relay, by its name",
        "where the domain is shared or has one label, these are strangers",
        "remove the line, and list hosts in relay-domains",
    ),
    "accept_unresolvable_domains": (
        Severity.MEDIUM,
        "senders at domains that do not exist are accepted",
        "mail that cannot be answered comes in, and its bounces stay in the queue",
        "remove the line",
    ),
    "accept_unqualified_senders": (
        Severity.MEDIUM,
        "senders without a domain are accepted from outside",
        "they get the server's own domain, so strangers pass for its users",
        "remove the line; local programs give their domain",
    ),
    "nodns": (Severity.LOW, "names are not looked up", "senders and hosts are not checked", "remove the line"),
    "no_default_msa": (
        Severity.INFO,
        "there is no submission port of its own making",
        "users send by port 25, together with strangers",
        "DAEMON_OPTIONS(`Port=587, Name=MSA, M=Ea')",
    ),
}


def faults(config: Config) -> Iterator[Finding]:
    """All of them."""
    for name, (severity, message, why, fix) in _FEATURES.items():
        if feature := config.features.get(name):
            text = f"FEATURE(`{name}'): {message}"
            yield _at(feature.line, f"sendmail.{name.replace('_', '-')}", severity, text, why, fix)
    if config.linuxconf is not None:
        yield _at(
            config.linuxconf,
            "sendmail.linuxconf",
            Severity.HIGH,
            "the configuration was made by linuxconf, whose relay checks are known to be faulty",
            "addresses within addresses pass them",
            "make sendmail.cf from a sendmail.mc",
        )
    yield from _daemons(config)
    yield from _logins(config)
    yield from _privacy(config)
    yield from _access(config)


def _daemons(config: Config) -> Iterator[Finding]:
    for daemon in config.daemons:
        settings = dict(part.strip().partition("=")[::2] for part in daemon.arguments[0].split(",")[:50])
        flags = settings.get("M", settings.get("Modifiers", ""))
        if "u" in flags:
            yield _at(
                daemon.line,
                "sendmail.unqualified",
                Severity.MEDIUM,
                "M=u lets clients give addresses without a domain",
                "they get the server's own domain, so strangers pass for its users",
                "remove u from M=",
            )
        port = settings.get("Port", "")
        if port in {"587", "submission", "465", "smtps"} and "a" not in flags and settings.get("Addr", "") != "127.0.0.1":
            yield _at(
                daemon.line,
                "sendmail.submission-without-login",
                Severity.MEDIUM,
                f"the submission port {shown(port, 20)} does not ask for a login",
                "it accepts the same as port 25, without its filters as a rule",
                "M=Ea",
            )


def auth_flags(config: Config) -> set[str]:
    """The letters of AuthOptions."""
    options = _auth_options(config)
    return set("" if options is None or not options.arguments else options.arguments[0])


def _auth_options(config: Config) -> Feature | None:
    return config.options.get("confAUTH_OPTIONS") or config.options.get("confAuthOptions")


def _logins(config: Config) -> Iterator[Finding]:
    mechanisms = config.trusted_mechanisms
    if mechanisms is None:
        return
    names = {name.upper() for name in mechanisms.arguments}
    options = _auth_options(config)
    flags = auth_flags(config)
    if names & {"PLAIN", "LOGIN"} and "p" not in flags:
        yield _at(
            mechanisms.line if options is None else options.line,
            "sendmail.clear-password",
            Severity.HIGH,
            "PLAIN and LOGIN are taken without TLS",
            "passwords cross the network in clear, and who reads them can send as their owners",
            "define(`confAUTH_OPTIONS', `A p y')",
        )
    if "ANONYMOUS" in names and "y" not in flags:
        yield _at(
            mechanisms.line,
            "sendmail.anonymous",
            Severity.HIGH,
            "TRUST_AUTH_MECH has ANONYMOUS: who logs in as nobody may relay",
            "anybody can send mail to anybody through this server, if its SASL library offers ANONYMOUS",
            "remove ANONYMOUS, and define(`confAUTH_OPTIONS', `A p y')",
        )
    if "y" not in flags:
        yield _at(
            mechanisms.line if options is None else options.line,
            "sendmail.anonymous-allowed",
            Severity.LOW,
            "confAUTH_OPTIONS lacks y, which forbids anonymous mechanisms",
            "a library that offers ANONYMOUS lets everybody log in",
            "define(`confAUTH_OPTIONS', `A p y')",
        )


def _privacy(config: Config) -> Iterator[Finding]:
    option = config.options.get("confPRIVACY_FLAGS") or config.options.get("confPrivacyOptions")
    flags = {flag.strip().lower() for flag in ("" if option is None else ",".join(option.arguments)).split(",")}
    missing = [flag for flag in ("novrfy", "noexpn") if flag not in flags and "goaway" not in flags]
    if missing:
        yield _at(
            Line("", config.file, 1) if option is None else option.line,
            "sendmail.privacy",
            Severity.LOW,
            f"confPRIVACY_FLAGS lacks {' and '.join(missing)}",
            "strangers ask which users and lists there are",
            "define(`confPRIVACY_FLAGS', `goaway')",
        )
    blamed = config.options.get("confDONT_BLAME_SENDMAIL") or config.options.get("confDontBlameSendmail")
    if blamed is not None and blamed.arguments and blamed.arguments[0].strip("`' ").lower() not in {"", "safe"}:
        yield _at(
            blamed.line,
            "sendmail.unsafe-files",
            Severity.LOW,
            f"checks of file permissions are off: {shown(blamed.arguments[0], 80)}",
            "local users who can write those files decide where mail goes",
            "remove the line, and give the files to root",
        )


def _access(config: Config) -> Iterator[Finding]:
    count = 0
    for entry in config.access:
        if entry.value.upper() != "RELAY" or entry.tag:
            continue
        count += 1
        if count > 20:
            return
        yield _at(
            entry.line,
            "sendmail.untagged",
            Severity.LOW,
            f"the entry {shown(entry.key, 80)!r} has no tag: it relays for clients and for recipients of that name",
            "one of the two is likely not meant",
            f"Connect:{shown(entry.key, 60)} RELAY, or To:{shown(entry.key, 60)} RELAY",
        )


def _at(line: Line, id_: str, severity: Severity, message: str, why: str, fix: str) -> Finding:
    return Finding(id_, severity, message, why, fix, line.file, line.number)
