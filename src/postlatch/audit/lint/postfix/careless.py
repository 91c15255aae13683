"""Settings beside the question who may relay: smuggling, bounces to innocents, what is given away, lists without a refusal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from postlatch.audit.lint.postfix.configuration import Configuration
from postlatch.audit.lint.postfix.expand import Parameters
from postlatch.audit.lint.postfix.lists import MatchList
from postlatch.audit.lint.postfix.service import SmtpService
from postlatch.audit.values import Finding, Severity

Check = Callable[[Configuration, SmtpService], Iterator[Finding]]


def place(configuration: Configuration, smtpd: SmtpService, name: str) -> tuple[str, int | None]:
    """Where a parameter is set; where it has its default, main.cf as a whole."""
    setting = smtpd.setting(name)
    return (setting.file, setting.line) if setting is not None else (configuration.main_file, None)


def _smuggling(configuration: Configuration, smtpd: SmtpService) -> Iterator[Finding]:
    """P10: only what is set; the default depends on the version."""
    for name in ("smtpd_forbid_bare_newline", "smtpd_forbid_unauth_pipelining"):
        setting = smtpd.setting(name)
        if setting is not None and smtpd.parameters.get(name).strip().lower() == "no":
            yield Finding(
                f"postfix.{name.removeprefix('smtpd_').replace('_', '-')}",
                Severity.MEDIUM,
                f"{name} = no",
                "SMTP smuggling: a message can hold a second one, with a sender that passes this server's checks",
                f"{name} = {'normalize' if 'newline' in name else 'yes'}",
                setting.file,
                setting.line,
            )
    exclusions = MatchList(
        smtpd.parameters.get("smtpd_forbid_bare_newline_exclusions"), configuration.place, smtpd.tables, parents=False
    )
    if any(network.prefixlen == 0 for network in exclusions.networks()):
        yield Finding(
            "postfix.bare-newline-exclusions",
            Severity.MEDIUM,
            "smtpd_forbid_bare_newline_exclusions has everybody in it",
            "the protection against SMTP smuggling is off",
            "smtpd_forbid_bare_newline_exclusions = $mynetworks",
            *place(configuration, smtpd, "smtpd_forbid_bare_newline_exclusions"),
        )


def _unknown_users(configuration: Configuration, smtpd: SmtpService) -> Iterator[Finding]:
    """P11: mail that is taken first and bounced to somebody innocent later."""
    parameters = smtpd.parameters
    faults: list[tuple[str, Severity, str, str]] = []
    if not parameters.flag("smtpd_reject_unlisted_recipient"):
        faults.append(("smtpd_reject_unlisted_recipient", Severity.MEDIUM, "is no", "smtpd_reject_unlisted_recipient = yes"))
    if smtpd.setting("local_recipient_maps") is not None and not parameters.get("local_recipient_maps").strip():
        faults.append(
            ("local_recipient_maps", Severity.MEDIUM, "is empty", "local_recipient_maps = proxy:unix:passwd.byname $alias_maps")
        )
    unverified = "reject_unverified_recipient" not in all_words(smtpd)
    relays = smtpd.setting("relay_domains") is not None and parameters.get("relay_domains").strip()
    if relays and unverified and not parameters.get("relay_recipient_maps").strip():
        fix = "relay_recipient_maps = hash:/etc/postfix/relay_recipients, or reject_unverified_recipient"
        faults.append(("relay_recipient_maps", Severity.LOW, "is empty, and relay_domains is not", fix))
    faults += [
        (name, Severity.LOW, "is set", f"{name} =") for name in ("luser_relay", "always_bcc") if parameters.get(name).strip()
    ]
    if parameters.flag("soft_bounce"):
        faults.append(("soft_bounce", Severity.LOW, "is yes", "soft_bounce = no"))
    for name, severity, text, fix in faults:
        yield Finding(
            f"postfix.{name.replace('_', '-')}",
            severity,
            f"{name} {text}",
            "mail that nobody here wants is taken, copied or kept, and what cannot be delivered is bounced to forged senders",
            fix,
            *place(configuration, smtpd, name),
        )


def _small(configuration: Configuration, smtpd: SmtpService) -> Iterator[Finding]:
    """P13."""
    parameters = smtpd.parameters
    faults: list[tuple[str, Severity, str, str, str]] = []
    if "mail_version" in _raw(parameters, "smtpd_banner"):
        faults.append(
            (
                "smtpd_banner",
                Severity.LOW,
                "names the version",
                "it tells attackers what to try",
                "$myhostname ESMTP $mail_name",
            )
        )
    if not parameters.flag("disable_vrfy_command"):
        faults.append(("disable_vrfy_command", Severity.INFO, "is no", "VRFY tells who has a mailbox", "yes"))
    if not parameters.flag("smtpd_delay_reject"):
        faults.append(
            (
                "smtpd_delay_reject",
                Severity.LOW,
                "is no",
                "lists of the client and of HELO cannot look at sender and recipient",
                "yes",
            )
        )
    if smtpd.setting("compatibility_level") is None:
        why = "old defaults are in force: relay_domains has $mydestination, mynetworks the whole subnet"
        faults.append(("compatibility_level", Severity.LOW, "is not set", why, "3.6"))
    for name, severity, text, why, value in faults:
        yield Finding(
            f"postfix.{name.replace('_', '-')}",
            severity,
            f"{name} {text}",
            why,
            f"{name} = {value}",
            *place(configuration, smtpd, name),
        )


def _raw(parameters: Parameters, name: str) -> str:
    setting = parameters.setting(name)
    return setting.value if setting is not None else ""


def _order(configuration: Configuration, smtpd: SmtpService) -> Iterator[Finding]:
    """P1, where smtpd would not even start; P14."""
    if not smtpd.starts():
        yield Finding(
            "postfix.no-refusal",
            Severity.MEDIUM,
            f"service {smtpd.service.place} does not start: neither relay nor recipient restrictions refuse anything",
            "smtpd ends with a fatal error at every connection",
            "smtpd_relay_restrictions = permit_mynetworks, permit_sasl_authenticated, reject_unauth_destination",
            *place(configuration, smtpd, "smtpd_relay_restrictions"),
        )
    if not smtpd.parameters.get("smtpd_relay_restrictions").strip() and smtpd.starts():
        yield Finding(
            "postfix.relay-restrictions-empty",
            Severity.LOW,
            f"smtpd_relay_restrictions is empty in service {smtpd.service.place}: only smtpd_recipient_restrictions refuse",
            "one OK for a good sender in the wrong place makes it an open relay",
            "smtpd_relay_restrictions = permit_mynetworks, permit_sasl_authenticated, reject_unauth_destination",
            *place(configuration, smtpd, "smtpd_relay_restrictions"),
        )


def all_words(smtpd: SmtpService) -> str:
    return " ".join(smtpd.parameters.get(name) for name in list_names(smtpd))


def list_names(smtpd: SmtpService) -> list[str]:
    stages = ("client", "helo", "sender", "relay", "recipient")
    return [
        *(f"smtpd_{stage}_restrictions" for stage in stages),
        *smtpd.parameters.get("smtpd_restriction_classes").replace(",", " ").split(),
    ]


CHECKS: Final[tuple[Check, ...]] = (_smuggling, _unknown_users, _small, _order)
