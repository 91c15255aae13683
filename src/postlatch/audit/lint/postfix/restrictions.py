"""Restriction lists walked in order, as smtpd does (smtpd_check.c, ``generic_checks`` and ``check_table_result``)."""

from __future__ import annotations

from typing import Final

from postlatch.audit.lint.postfix.cf import split_list
from postlatch.audit.lint.postfix.choices import Option
from postlatch.audit.lint.postfix.service import told
from postlatch.audit.lint.postfix.tables import Entry, LookupFails, Table, Unreadable
from postlatch.audit.lint.postfix.walk import End, ServerError, Status, Walk, is_full_helo, is_valid_helo

_DEEPEST: Final = 100
_MOST_STEPS: Final = 2000

# Whoever sends can see to it that these do not refuse: domains that exist, a clean address. Those with an argument:
_PASSED_WITH_ARGUMENT: Final = frozenset(
    {"reject_rbl_client", "reject_rbl", "reject_rhsbl_client", "reject_rhsbl_reverse_client", "reject_rhsbl_helo",
     "reject_rhsbl_sender", "reject_rhsbl_recipient", "sleep"}
)  # fmt: skip
_PASSED: Final = frozenset(
    {"reject_maps_rbl", "reject_unauth_pipelining", "reject_unknown_reverse_client_hostname", "reject_unknown_helo_hostname",
     "reject_unknown_hostname", "reject_unknown_sender_domain", "reject_unknown_address", "reject_unknown_recipient_domain",
     "reject_unverified_sender", "reject_unverified_recipient", "reject_unlisted_sender", "reject_unlisted_recipient",
     "check_recipient_maps", "reject_multi_recipient_bounce", "reject_non_fqdn_recipient",
     "reject_unknown_forward_client_hostname",
     "reject_authenticated_sender_login_mismatch", "reject_known_sender_login_mismatch"}
)  # fmt: skip
# OK from these is an error (forbid_allowlist), and their names are the sender's to choose.
_SERVERS: Final = frozenset(
    f"check_{what}_{record}_access"
    for what in ("client", "reverse_client_hostname", "helo", "sender", "recipient")
    for record in ("a", "mx", "ns")
)
_NOT_LOGGED_IN: Final = frozenset({"check_sasl_access", "check_ccert_access", "check_etrn_access"})
_LISTED: Final = frozenset({"permit_dnswl_client", "permit_rhswl_client"})
_TABLES: Final = {
    "check_client_access": "name", "check_reverse_client_hostname_access": "name", "check_helo_access": "helo",
    "check_sender_access": "sender", "check_recipient_access": "recipient",
}  # fmt: skip
_SILENT: Final = frozenset({"DUNNO", "INFO", "WARN", "FILTER", "HOLD", "REDIRECT", "BCC", "PREPEND"})


def evaluate(walk: Walk, parameter: str, default: str) -> Status:
    """A whole list. ``default``: what a bare ``type:table`` in it means; empty where it may not stand."""
    walk.level = walk.warn_level = 0
    words = split_list(walk.service.parameters.get(parameter))
    status = _list(walk, words, default, [0])
    if status is not Status.OK:
        walk.ends.append(End(parameter, ""))
    else:
        name, place, text = walk.ended
        walk.ends.append(End(parameter, name, place, text))
    return status


def _list(walk: Walk, words: list[str], default: str, steps: list[int]) -> Status:
    walk.level += 1
    if walk.level > _DEEPEST:
        raise ServerError
    level, at = walk.level, 0
    status = Status.DUNNO
    while at < len(words) and not walk.discard:
        steps[0] += 1
        if steps[0] > _MOST_STEPS:
            raise ServerError
        name = words[at].lower()
        at += 1
        if name == "warn_if_reject":
            walk.warn_level = walk.warn_level or level
            continue
        argument = ""
        if ":" in words[at - 1]:
            name, argument = default, words[at - 1]
            if not name:
                raise ServerError
        elif _takes_argument(name):
            argument = words[at] if at < len(words) else ""
            at += 1
        status = _one(walk, name, argument, default, steps)
        walk.level = level
        if walk.warn_level >= level:
            walk.warn_level = 0
        if status is not Status.DUNNO or (walk.defer_if_permit and walk.defer_if_reject):
            break
    walk.level = level - 1
    if walk.warn_level >= level:
        walk.warn_level = 0
    return status


def _takes_argument(name: str) -> bool:
    if name in _PASSED_WITH_ARGUMENT or name in _LISTED or name == "check_policy_service":
        return True
    return name in _TABLES or name in _SERVERS or name in _NOT_LOGGED_IN


def _one(walk: Walk, name: str, argument: str, default: str, steps: list[int]) -> Status:
    if name.startswith("check_") and _takes_argument(name):
        if ":" not in argument:
            raise ServerError
        if name in _TABLES:
            return _access(walk, name, argument, default, steps)
        return _policy_service(walk, argument) if name == "check_policy_service" else Status.DUNNO
    if name in _PASSED or name in _PASSED_WITH_ARGUMENT:
        return Status.DUNNO
    if (rule := _RULES.get(name)) is not None:
        status = rule(walk)
        if status is Status.OK:
            walk.ended = (name, "", walk.ended[2] if name == "permit_mynetworks" else "")
        return _softened(walk, status)
    if name in _LISTED:
        return _whitelisted(walk, name, argument)
    if (words := walk.service.classes.get(name)) is not None:
        return _list(walk, words, default, steps)
    raise ServerError


def _softened(walk: Walk, status: Status) -> Status:
    """After warn_if_reject a refusal is only logged."""
    return Status.DUNNO if status is Status.REJECT and walk.warn_level else status


def _access(walk: Walk, name: str, argument: str, default: str, steps: list[int]) -> Status:
    """check_*_access: the lookup, and what its answer means."""
    what = _TABLES[name]
    if what != "name" and what not in walk.visible:
        return Status.DUNNO
    table = walk.service.table(argument)
    try:
        found = _looked_up(walk, what, table)
    except LookupFails:
        return _softened(walk, Status.REJECT)
    except Unreadable as error:
        found = _guessed(walk, argument, str(error))
    if found is None:
        return Status.DUNNO
    status = _meaning(walk, found, default, steps)
    if status is Status.OK:
        if name == "check_reverse_client_hostname_access" and not walk.discard:
            raise ServerError
        walk.ended = (f"{name} {told(argument)}", found.place, found.value)
    return status


def _looked_up(walk: Walk, what: str, table: Table) -> Entry | None:
    if what == "name":
        return walk.by_client(table)
    value = walk.value(what)
    if value is None:
        return None
    if what == "helo":
        return walk.by_domain(table, value)
    if not value:
        return table.lookup(walk.service.parameters.get("smtpd_null_access_lookup_key"))
    return walk.by_mail(table, value)


def _guessed(walk: Walk, argument: str, why: str) -> Entry | None:
    """A table that cannot be read says nothing, or OK."""
    nothing = Option(None, f"{told(argument)} says nothing ({why})")
    permits = Option("OK", f"{told(argument)} says OK ({why})")
    return Entry("", "OK", told(argument)) if walk.choose([nothing, permits]) else None


def _policy_service(walk: Walk, argument: str) -> Status:
    """It may refuse, which changes nothing for the worse; or say nothing, or permit."""
    asked = f"the policy service {told(argument)}"
    if not walk.choose([Option(None, f"{asked} does not refuse"), Option("OK", f"{asked} permits")]):
        return Status.DUNNO
    walk.ended = (f"check_policy_service {told(argument)}", "", "")
    return Status.OK


def _whitelisted(walk: Walk, name: str, argument: str) -> Status:
    """Only the one client that is asked for can be on a list of good ones: a stranger is not."""
    listed = Option("OK", f"{told(argument)} lists the client")
    if walk.client.asked and walk.choose([Option(None), listed]):
        walk.ended = (f"{name} {told(argument)}", "", "")
        return Status.OK
    return Status.DUNNO


def _meaning(walk: Walk, entry: Entry, default: str, steps: list[int]) -> Status:
    value = entry.value.strip()
    word, _, rest = value.partition(" ")
    word = word.upper()
    if word in _SILENT:
        return Status.DUNNO
    if word in {"REJECT", "DEFER", "HANGUP"}:
        return _softened(walk, Status.REJECT)
    if word == "DISCARD":
        walk.discard = "sender" in walk.visible
        return Status.OK if walk.discard else Status.DUNNO
    if word in {"DEFER_IF_PERMIT", "DEFER_IF_REJECT"}:
        return _RULES[word.lower()](walk)
    if value.isdigit():
        return Status.OK
    if len(word) == 3 and word.isdigit() and word[0] in "45" and rest.strip():
        return _softened(walk, Status.REJECT)
    if word in {"OK", "RELAY"}:
        return Status.OK
    if ":" in value:
        raise ServerError
    words = split_list(value)
    return _list(walk, words, default, steps) if words else Status.OK


def _permit(_walk: Walk) -> Status:
    return Status.OK


def _reject(_walk: Walk) -> Status:
    return Status.REJECT


def _defer_if_permit(walk: Walk) -> Status:
    walk.defer_if_permit = walk.defer_if_permit or not walk.warn_level
    return Status.DUNNO


def _defer_if_reject(walk: Walk) -> Status:
    walk.defer_if_reject = True
    return Status.DUNNO


def _mynetworks(walk: Walk) -> Status:
    try:
        found = walk.listed("mynetworks")
    except Unreadable as error:
        found = walk.choose([Option(None), Option("mynetworks", f"mynetworks has the client ({error})")])
    except LookupFails:
        return Status.REJECT
    if found is None and walk.service.style in {"subnet", "class"} and walk.client.asked:
        near = Option(walk.service.style, f"the client is in the {walk.service.style} of an interface of this machine")
        found = walk.choose([Option(None), near])
    if found is None:
        return Status.DUNNO
    walk.ended = ("permit_mynetworks", "", f"{walk.service.where('mynetworks')} has {found}")
    return Status.OK


def _inet_interfaces(walk: Walk) -> Status:
    return Status.OK if walk.service.own(walk.client.address) else Status.DUNNO


def _sasl(walk: Walk) -> Status:
    parameters = walk.service.parameters
    if not parameters.flag("smtpd_sasl_auth_enable"):
        return Status.DUNNO
    if walk.client.logged_in:
        return Status.OK
    if "noanonymous" in parameters.get("smtpd_sasl_security_options").lower():
        return Status.DUNNO
    anonymous = Option("anonymous", "the login library offers ANONYMOUS")
    return Status.OK if walk.choose([Option(None), anonymous]) else Status.DUNNO


def _any_certificate(walk: Walk) -> Status:
    parameters = walk.service.parameters
    asks = parameters.flag("smtpd_tls_ask_ccert") or parameters.flag("smtpd_tls_req_ccert")
    trusts = (
        parameters.get("smtpd_tls_CAfile") or parameters.get("smtpd_tls_CApath") or parameters.flag("tls_append_default_CA")
    )
    if not asks or not trusts:
        return Status.DUNNO
    certified = Option("certificate", "an authority that smtpd trusts gives the client a certificate")
    return Status.OK if walk.choose([Option(None), certified]) else Status.DUNNO


def _own_certificates(_walk: Walk) -> Status:
    return Status.DUNNO  # whose fingerprint is listed has shown who it is


def _to_us(walk: Walk) -> bool:
    """permit_auth_destination: a domain of ours, or one that we relay to."""
    if "recipient" not in walk.visible:
        return False
    kind = walk.service.class_of(walk.domain())
    if kind == "relay":
        walk.notes.append(f"{walk.service.where('relay_domains')} has {walk.domain()}")
    return bool(kind)


def _auth_destination(walk: Walk) -> Status:
    return Status.OK if _to_us(walk) else Status.DUNNO


def _unauth_destination(walk: Walk) -> Status:
    if "recipient" not in walk.visible:
        return Status.DUNNO
    return Status.DUNNO if _to_us(walk) else Status.REJECT


def _relay_domains(walk: Walk) -> Status:
    if "recipient" not in walk.visible:
        return Status.DUNNO
    relayed = walk.service.match_list("relay_domains")
    if relayed.names and (pattern := relayed.domain(walk.value("name") or "unknown")) is not None:
        walk.notes.append(f"{walk.service.where('relay_domains')} has the client's name by {pattern}")
        return Status.OK
    return Status.OK if _to_us(walk) else Status.REJECT


def _mx_backup(walk: Walk) -> Status:
    if "recipient" not in walk.visible:
        return Status.DUNNO
    if walk.service.class_of(walk.domain()) in {"local", "virtual"}:
        return Status.OK
    backed = Option("MX", "the recipient's domain names this server among its mail exchangers")
    return Status.OK if walk.choose([Option(None), backed]) else Status.DUNNO


def _plaintext(walk: Walk) -> Status:
    parameters = walk.service.parameters
    offers = parameters.get("smtpd_tls_security_level") in {"may", "encrypt"} or any(
        parameters.flag(name) for name in ("smtpd_use_tls", "smtpd_enforce_tls", "smtpd_tls_wrappermode")
    )
    return Status.DUNNO if offers else Status.REJECT


def _unknown_client(walk: Walk) -> Status:
    if walk.known("name") or (walk.client.asked and walk.client.address.is_loopback):
        return Status.REJECT if walk.value("name") == "unknown" else Status.DUNNO
    walk.need("named")
    if walk.client.asked:
        walk.assume("the DNS has a name for the client")
    return Status.DUNNO


def _naked_address(walk: Walk) -> Status:
    helo = walk.value("helo") if "helo" in walk.visible else None
    return Status.OK if helo and helo.replace(".", "").isdigit() else Status.DUNNO


def _fqdn_helo(walk: Walk) -> Status:
    if not walk.known("helo"):
        walk.need("helo_fqdn")
        return Status.DUNNO
    helo = walk.chosen("helo")
    if helo is None or "helo" not in walk.visible:
        return Status.DUNNO
    return Status.DUNNO if is_full_helo(helo) else Status.REJECT


def _valid_helo(walk: Walk) -> Status:
    if not walk.known("helo"):
        walk.need("helo_valid")
        return Status.DUNNO
    helo = walk.chosen("helo")
    return Status.REJECT if helo is not None and "helo" in walk.visible and not is_valid_helo(helo) else Status.DUNNO


def _fqdn_sender(walk: Walk) -> Status:
    if not walk.known("sender"):
        walk.need("sender_fqdn")
        return Status.DUNNO
    sender = walk.chosen("sender") or ""
    return Status.REJECT if sender and "." not in sender.rpartition("@")[2] and "sender" in walk.visible else Status.DUNNO


def _owned_sender(walk: Walk) -> Status:
    if not walk.service.parameters.flag("smtpd_sasl_auth_enable") or walk.client.logged_in:
        return Status.DUNNO
    if not walk.known("sender"):
        walk.need("unowned")
        return Status.DUNNO
    return Status.REJECT if walk.owned(walk.chosen("sender") or "") else Status.DUNNO


_RULES: Final = {
    "permit": _permit,
    "reject": _reject,
    "defer": _reject,
    "defer_if_permit": _defer_if_permit,
    "defer_if_reject": _defer_if_reject,
    "permit_mynetworks": _mynetworks,
    "permit_inet_interfaces": _inet_interfaces,
    "permit_sasl_authenticated": _sasl,
    "permit_tls_all_clientcerts": _any_certificate,
    "permit_tls_clientcerts": _own_certificates,
    "permit_auth_destination": _auth_destination,
    "permit_mx_backup": _mx_backup,
    "permit_naked_ip_address": _naked_address,
    "reject_unauth_destination": _unauth_destination,
    "defer_unauth_destination": _unauth_destination,
    "check_relay_domains": _relay_domains,
    "reject_plaintext_session": _plaintext,
    "reject_unknown_client_hostname": _unknown_client,
    "reject_unknown_client": _unknown_client,
    "reject_non_fqdn_helo_hostname": _fqdn_helo,
    "reject_non_fqdn_hostname": _fqdn_helo,
    "reject_invalid_helo_hostname": _valid_helo,
    "reject_invalid_hostname": _valid_helo,
    "reject_non_fqdn_sender": _fqdn_sender,
    "reject_unauthenticated_sender_login_mismatch": _owned_sender,
}
