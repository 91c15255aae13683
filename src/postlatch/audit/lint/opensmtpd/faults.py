"""What is wrong in smtpd.conf beside who may relay."""

from __future__ import annotations

from collections.abc import Iterator

from postlatch.audit.lint.opensmtpd.config import Condition, Config, Listener, Rule
from postlatch.audit.lint.patterns import matches
from postlatch.audit.lint.reading import shown
from postlatch.audit.values import Finding, Severity


def faults(config: Config) -> Iterator[Finding]:
    """All of them."""
    for listener in config.listeners:
        yield from _listener(listener)
    for rule in config.rules:
        for condition in rule.conditions:
            yield from _expressions(rule, condition)
            yield from _names(rule, condition)
    yield from _unreachable(config)
    for name, action in config.actions.items():
        words = [word.text for word in action.words]
        if "relay" in words and "tls" in words and "no-verify" in words:
            yield Finding(
                "opensmtpd.no-verify",
                Severity.MEDIUM,
                f"the action {shown(name, 60)} does not check the certificate of the host that it relays to",
                "who sits between reads the mail, and the password if there is one",
                "remove no-verify",
                action.line.file,
                action.line.number,
            )


def _listener(listener: Listener) -> Iterator[Finding]:
    has_auth = listener.has("auth") or listener.has("auth-optional")
    secure = any(listener.has(word) for word in ("tls-require", "smtps", "secure", "verify"))
    if has_auth and not secure and not listener.is_local:
        yield Finding(
            "opensmtpd.clear-password",
            Severity.HIGH if not listener.has("tls") else Severity.MEDIUM,
            f"the listener on {shown(listener.on, 60)} takes logins and does not ask for TLS",
            "passwords may cross the network in clear, and who reads them can send as their owners",
            "tls-require in place of tls, or smtps",
            listener.line.file,
            listener.line.number,
        )
    if listener.has("auth-optional") and (listener.has("submission") or listener.has("587") or listener.has("smtps")):
        yield Finding(
            "opensmtpd.auth-optional",
            Severity.LOW,
            f"the submission listener on {shown(listener.on, 60)} lets clients send without a login",
            "every rule that does not ask for auth is also open here",
            "auth in place of auth-optional",
            listener.line.file,
            listener.line.number,
        )
    if listener.has("proxy-v2") and not listener.is_local:
        yield Finding(
            "opensmtpd.proxy",
            Severity.HIGH,
            f"the listener on {shown(listener.on, 60)} believes a PROXY header from everybody",
            "who reaches it says which address it has; a rule for local or trusted addresses is then for everyone",
            "listen with proxy-v2 on an address that only the proxy reaches",
            listener.line.file,
            listener.line.number,
        )


def _expressions(rule: Rule, condition: Condition) -> Iterator[Finding]:
    """An expression without ends matches domains that others may register."""
    if not condition.regex or condition.negated or condition.table is None or condition.table.entries is None:
        return
    if condition.subject not in {"domain", "rcpt-to", "rdns", "mail-from"}:
        return
    for entry in condition.table.entries[:500]:
        literal = entry.replace("\\", "").strip("^$").removeprefix(".*").removesuffix(".*").rpartition("@")[2].lstrip(".")
        if not literal or "." not in literal or any(not (c.isalnum() or c in ".-") for c in literal):
            continue
        local = "user@" if condition.subject in {"rcpt-to", "mail-from"} else ""
        for tried in (f"{local}evil{literal}", f"{local}{literal}.evil.example"):
            if matches(entry, tried):
                yield Finding(
                    "opensmtpd.lookalike-domain",
                    Severity.HIGH,
                    f"the expression {shown(entry, 80)!r} also matches {shown(tried, 100)}",
                    "who registers such a domain is treated as if it were yours",
                    "give the expression both ends, ^ and $, with \\. for a dot; or name the domain without regex",
                    rule.statement.line.file,
                    rule.statement.line.number,
                )
                break


def _names(rule: Rule, condition: Condition) -> Iterator[Finding]:
    if rule.action is None or condition.negated or condition.subject != "rdns" or condition.table is None:
        return
    yield Finding(
        "opensmtpd.rdns",
        Severity.MEDIUM,
        f"the rule {rule.statement.text!r} trusts the name of the client's address",
        "names come from the DNS of whoever has the address; without DNSSEC answers can be forged",
        "match from src <addresses>, or ask for a login",
        rule.statement.line.file,
        rule.statement.line.number,
    )


def _unreachable(config: Config) -> Iterator[Finding]:
    """A rule for everything from everybody makes those behind it meaningless."""
    for place, rule in enumerate(config.rules[:-1]):
        if rule.conditions:
            continue
        after = config.rules[place + 1]
        yield Finding(
            "opensmtpd.order",
            Severity.MEDIUM,
            f"the rule {after.statement.text!r} and those behind it are never reached",
            "the first rule that matches decides, and the one before matches everything",
            "put narrow rules first",
            after.statement.line.file,
            after.statement.line.number,
        )
        return
