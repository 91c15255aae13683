"""Settings that are dangerous or careless in themselves, whoever passes today."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Final

from postlatch.audit.lint.postfix.careless import CHECKS as CARELESS
from postlatch.audit.lint.postfix.careless import Check, all_words, list_names, place
from postlatch.audit.lint.postfix.cf import split_list
from postlatch.audit.lint.postfix.configuration import Configuration
from postlatch.audit.lint.postfix.lists import is_name
from postlatch.audit.lint.postfix.service import SmtpService, told
from postlatch.audit.lint.postfix.tables import Everything, Rules
from postlatch.audit.lint.reading import shown
from postlatch.audit.lint.survey import PRIVATE_V4, PRIVATE_V6, Network
from postlatch.audit.values import Finding, Severity

_A_PRIVATE: Final = "a wide private network"
_WIDE_PRIVATE: Final = (
    "all of it may relay without a login; behind a container's gateway, a proxy or NAT strangers arrive with such addresses too"
)
_SUBMISSION: Final = frozenset({"submission", "submissions", "smtps", "587", "465"})


def habits(configuration: Configuration) -> Iterator[Finding]:
    """All of them, for every service."""
    for smtpd in configuration.smtpd:
        for check in CHECKS:
            yield from check(configuration, smtpd)
    yield from _missing_files(configuration)


def _private(network: Network) -> bool:
    hidden = PRIVATE_V4 if network.version == 4 else PRIVATE_V6
    return any(network.subnet_of(outer) for outer in hidden if outer.version == network.version)  # type: ignore[arg-type]


def _networks(configuration: Configuration, smtpd: SmtpService) -> Iterator[Finding]:
    """P2: networks that are wider than anybody's own."""
    at = place(configuration, smtpd, "mynetworks")
    for text, network in smtpd.match_list("mynetworks").literals():
        least = 24 if network.version == 4 else 64
        if network.prefixlen >= least or network.is_loopback or network.is_link_local or str(network) == "::ffff:7f00:0/104":
            continue
        private = _private(network)
        everything = network.prefixlen < 8 and not private
        severity = Severity.CRITICAL if everything else Severity.MEDIUM if private else Severity.HIGH
        yield Finding(
            "postfix.mynetworks",
            severity,
            f"mynetworks has {shown(text, 60)}, {_A_PRIVATE if private else 'which is more than one network of yours'}",
            _WIDE_PRIVATE if private else "every machine there may send to anybody without a login",
            "mynetworks = 127.0.0.0/8 [::1]/128 AND THE ADDRESSES THAT NEED IT",
            *at,
        )
    if smtpd.style in {"class", "subnet"}:
        yield Finding(
            "postfix.mynetworks-style",
            Severity.HIGH if smtpd.style == "class" else Severity.MEDIUM,
            f"mynetworks is not set, and mynetworks_style is {smtpd.style}: the neighbours on the same network may relay",
            "at a provider the network of an interface has other customers in it",
            "mynetworks = 127.0.0.0/8 [::1]/128",
            *place(configuration, smtpd, "mynetworks_style"),
        )


def _domains(configuration: Configuration, smtpd: SmtpService) -> Iterator[Finding]:
    """P4 where no stranger's name was tried: patterns in relay_domains."""
    for table in smtpd.match_list("relay_domains").tables():
        if isinstance(table, Everything | Rules):
            yield Finding(
                "postfix.relay-domains-pattern",
                Severity.MEDIUM,
                f"relay_domains has {told(table.name)}: patterns match more than was meant",
                "mail for every domain that matches is taken from anybody and passed on",
                "relay_domains = THE DOMAINS, each by its name, or a hash: table of them",
                *place(configuration, smtpd, "relay_domains"),
            )


def _backup(configuration: Configuration, smtpd: SmtpService) -> Iterator[Finding]:
    """P5."""
    used = next((name for name in list_names(smtpd) if "permit_mx_backup" in smtpd.parameters.get(name)), None)
    if used is not None and not smtpd.parameters.get("permit_mx_backup_networks").strip():
        yield Finding(
            "postfix.mx-backup",
            Severity.HIGH,
            "permit_mx_backup stands without permit_mx_backup_networks",
            "whoever names this server as a mail exchanger of his domain makes it relay for that domain",
            "permit_mx_backup_networks = THE NETWORKS OF THE PRIMARY EXCHANGERS; better, name the domains in relay_domains",
            *place(configuration, smtpd, used),
        )


def _routing(configuration: Configuration, smtpd: SmtpService) -> Iterator[Finding]:
    """P6."""
    for name, bad, why in (
        (
            "allow_untrusted_routing",
            True,
            "user%elsewhere@relay.domain goes to that domain's server, which trusts this one and sends it on",
        ),
        ("resolve_dequoted_address", False, '"user@elsewhere"@our.domain escapes the check of its destination'),
    ):
        if smtpd.parameters.flag(name) == bad:
            yield Finding(
                f"postfix.{name.replace('_', '-')}",
                Severity.HIGH,
                f"{name} = {'yes' if bad else 'no'}",
                why,
                f"{name} = {'no' if bad else 'yes'}",
                *place(configuration, smtpd, name),
            )


def _claims(configuration: Configuration, smtpd: SmtpService) -> Iterator[Finding]:
    """P7: who may say that it is somebody else."""
    for name in ("smtpd_authorized_xclient_hosts", "smtpd_authorized_xforward_hosts"):
        for text, network in smtpd.match_list(name).literals():
            if network.is_loopback or network.prefixlen >= (24 if network.version == 4 else 64):
                continue
            yield Finding(
                "postfix.xclient" if "xclient" in name else "postfix.xforward",
                Severity.HIGH,
                f"{name} has {shown(text, 60)}: everybody there may claim another address",
                "a claimed address in mynetworks relays, and logs and limits name the wrong client",
                f"{name} = THE ADDRESSES OF YOUR PROXIES",
                *place(configuration, smtpd, name),
            )
    if smtpd.parameters.get("smtpd_upstream_proxy_protocol").strip() and not smtpd.service.name.startswith(
        ("127.", "localhost:", "[::1]")
    ):
        yield Finding(
            "postfix.proxy-protocol",
            Severity.HIGH,
            f"service {smtpd.service.place} believes a PROXY header from whoever can connect",
            "a stranger who reaches this port says that it comes from 127.0.0.1, and is in mynetworks",
            "let the service listen on the proxy's side only (ADDRESS:PORT in master.cf), or see that a firewall does",
            *place(configuration, smtpd, "smtpd_upstream_proxy_protocol"),
        )


def _login(configuration: Configuration, smtpd: SmtpService) -> Iterator[Finding]:
    """P8 and P12."""
    parameters = smtpd.parameters
    if not parameters.flag("smtpd_sasl_auth_enable"):
        return
    if "noanonymous" not in parameters.get("smtpd_sasl_security_options").lower():
        yield Finding(
            "postfix.sasl-anonymous",
            Severity.HIGH,
            "smtpd_sasl_security_options lacks noanonymous",
            "with the mechanism ANONYMOUS everybody is logged in, and permit_sasl_authenticated lets them relay",
            "smtpd_sasl_security_options = noanonymous",
            *place(configuration, smtpd, "smtpd_sasl_security_options"),
        )
    encrypted = parameters.get("smtpd_tls_security_level") == "encrypt" or parameters.flag("smtpd_tls_wrappermode")
    if not parameters.flag("smtpd_tls_auth_only") and not encrypted and not parameters.flag("smtpd_enforce_tls"):
        yield Finding(
            "postfix.tls-auth-only",
            Severity.MEDIUM,
            f"service {smtpd.service.place} takes passwords without TLS: smtpd_tls_auth_only is no",
            "a password that is read on the way is an open relay for whoever has it",
            "smtpd_tls_auth_only = yes",
            *place(configuration, smtpd, "smtpd_tls_auth_only"),
        )
    if "permit_tls_all_clientcerts" in all_words(smtpd):
        yield Finding(
            "postfix.any-certificate",
            Severity.HIGH,
            "permit_tls_all_clientcerts lets every client relay that has a certificate of a trusted authority",
            "public authorities give certificates to anybody",
            "permit_tls_clientcerts with relay_clientcerts = THE FINGERPRINTS OF YOUR CLIENTS",
            *place(configuration, smtpd, "smtpd_relay_restrictions"),
        )
    if not _checks_owner(smtpd):
        yield Finding(
            "postfix.sender-login",
            Severity.LOW,
            f"service {smtpd.service.place} lets whoever is logged in send as anybody",
            "one stolen password sends in the name of all",
            "smtpd_sender_login_maps = hash:/etc/postfix/logins, and reject_sender_login_mismatch in smtpd_sender_restrictions",
            *place(configuration, smtpd, "smtpd_sender_login_maps"),
        )


def _checks_owner(smtpd: SmtpService) -> bool:
    words = all_words(smtpd)
    return bool(smtpd.parameters.get("smtpd_sender_login_maps").strip()) and "sender_login_mismatch" in words


def _submission(_configuration: Configuration, smtpd: SmtpService) -> Iterator[Finding]:
    """P9."""
    if smtpd.service.name.rpartition(":")[2].lower() not in _SUBMISSION:
        return
    words = [word.lower() for stage in ("client", "relay", "recipient") for word in smtpd.restrictions(stage)]
    if "permit_sasl_authenticated" in words and not {"reject", "defer"} & set(words):
        yield Finding(
            "postfix.submission",
            Severity.LOW,
            f"service {smtpd.service.place} takes mail for our own domains from strangers who do not log in",
            "a submission port is for users: whoever does not log in has no business there, and gets past checks of port 25",
            "-o smtpd_client_restrictions=permit_sasl_authenticated,reject",
            smtpd.service.file,
            smtpd.service.line,
        )


def _by_name(configuration: Configuration, smtpd: SmtpService) -> Iterator[Finding]:
    """P3, the weak form: clients that are let through by their name in the DNS."""
    for name in ("smtpd_relay_restrictions", "smtpd_recipient_restrictions"):
        words = split_list(smtpd.parameters.get(name))
        for before, word in pairwise(words):
            if before.lower() != "check_client_access" or ":" not in word:
                continue
            table = smtpd.table(word)
            named = [entry for key, entry in table.keys.items() if is_name(key) and entry.word in {"OK", "RELAY"}]
            if named and not isinstance(table, Everything):
                yield Finding(
                    "postfix.client-name",
                    Severity.LOW,
                    f"clients may relay by their name in the DNS: {shown(named[0].key, 80)} ({named[0].place})",
                    "whoever answers for that name's zone decides who may relay here",
                    "name the clients' addresses, or let them log in",
                    *place(configuration, smtpd, name),
                )


def _missing_files(configuration: Configuration) -> Iterator[Finding]:
    for why, name in sorted(configuration.tables.closed())[:20]:
        yield Finding(
            "postfix.table-unread",
            Severity.INFO,
            shown(f"{name} could not be read: {why}", 300),
            "what it says is not known: where it matters the answer is unknown",
            "lint on the server itself, or copy the file beside main.cf",
            configuration.main_file,
        )


CHECKS: Final[tuple[Check, ...]] = (
    _networks,
    _domains,
    _backup,
    _routing,
    _claims,
    _login,
    _submission,
    _by_name,
    *CARELESS,
)
