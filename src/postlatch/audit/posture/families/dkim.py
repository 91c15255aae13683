"""DKIM: the keys that can be found, and whether they are of use. RFC 6376, 8301 and 8463."""

from __future__ import annotations

import asyncio
from typing import Final, NamedTuple

from postlatch.audit.posture.asking import Asked, ask
from postlatch.audit.posture.subject import Subject, Tools
from postlatch.audit.posture.values import Check, State, check, fault, judged, several, unknown
from postlatch.audit.values import Finding, Severity
from postlatch.model.dns import Resolver
from postlatch.senderauth.dkim.key import KeyRecordError, choose_key
from postlatch.senderauth.dkim.tags import TagError, parse_tags
from postlatch.senderauth.spf.names import can_be_asked

# The DNS does not list the selectors of a domain: these are the ones that providers and programs choose by themselves.
COMMON: Final = (
    *("default", "dkim", "dkim1", "dkim2", "mail", "email", "smtp", "mx", "key1", "key2", "selector", "selector1", "selector2"),
    *("s1", "s2", "k1", "k2", "k3", "google", "20230601", "20161025", "protonmail", "protonmail2", "protonmail3"),
    *("fm1", "fm2", "fm3", "mandrill", "mte1", "mte2", "zoho", "zmail", "pm", "sig1", "mailjet", "cm", "krs", "hs1", "hs2"),
    *("ed25519", "rsa", "x", "dk", "202501", "202601", "mailo", "litesrv", "turbo-smtp", "sm", "ctct1", "ctct2"),
)
_NOBODYS: Final = "no-such-selector-7f3a91"
_GOOD_BITS: Final = 2048
_MOST: Final = 100


class _Key(NamedTuple):
    selector: str
    records: tuple[bytes, ...]


async def check_dkim(subject: Subject, tools: Tools) -> list[Check]:
    """The keys of the selectors that were given, else of common ones."""
    domain, given = subject.domain, subject.request.selectors[:_MOST]
    keys, failed, parent = await _look(tools.resolver, domain, given)
    name, title = "dkim.keys", "DKIM keys"
    if not keys:
        return [_none(subject, failed, parent)]
    faults = [finding for key in keys for finding in _judge(key, domain)]
    missing = [one for one in given if one not in {key.selector for key in keys}] if not failed else []
    faults += [_missing(one, domain) for one in missing]
    usable = [key.selector for key in keys if _is_usable(key)]
    if not usable:
        faults.append(_no_key(domain, "all keys that were found are revoked or broken"))
    return [judged(name, title, f"usable keys: {several(usable)}", faults, seen=not failed or bool(usable))]


async def _look(resolver: Resolver, domain: str, given: tuple[str, ...]) -> tuple[list[_Key], str, Asked[bytes]]:
    """The keys, why some were not seen, and what the parent of all selectors answered."""
    selectors = [one for one in dict.fromkeys(given or COMMON) if can_be_asked(f"{one}._domainkey.{domain}")]
    asked = [f"{one}._domainkey.{domain}" for one in (*selectors, _NOBODYS)]
    parent, *answers = await asyncio.gather(
        ask(resolver.txt(f"_domainkey.{domain}")), *(ask(resolver.txt(name)) for name in asked)
    )
    wildcard = answers.pop().records
    failed = next((answer.failed for answer in (parent, *answers) if answer.failed), "")
    found = zip(selectors, answers, strict=True)
    keys = [
        _Key(one, answer.records) for one, answer in found if answer.records and (one in given or answer.records != wildcard)
    ]
    return keys, failed, parent


def _none(subject: Subject, failed: str, parent: Asked[bytes]) -> Check:
    name, title, domain = "dkim.keys", "DKIM keys", subject.domain
    if failed:
        return unknown(name, title, f"the DNS did not answer for all selectors: {failed}")
    if subject.request.selectors:
        return judged(name, title, "", [_missing(one, domain) for one in subject.request.selectors[:5]])
    if not parent.exists:
        # RFC 8020: below a name that does not exist there is nothing, under no selector.
        return check(name, title, State.ABSENT, "there are none", [_no_key(domain, f"_domainkey.{domain} does not exist")])
    return unknown(name, title, "none of the common selectors has a key; name yours with --selector")


def _judge(key: _Key, domain: str) -> list[Finding]:
    where = f"{key.selector}._domainkey.{domain}"
    try:
        public = choose_key(key.records)
    except KeyRecordError as error:
        return [_broken(key, where, str(error))]
    faults = []
    if public.algorithm == "rsa" and public.bits < _GOOD_BITS:
        faults.append(
            fault(
                "dkim.short-key",
                Severity.LOW,
                f"the RSA key at {where} has {public.bits} bits",
                "keys of this size may be broken in the years to come (RFC 8301 section 3.2)",
                "make a key of 2048 bits under a new selector, sign with it, then revoke this one",
            )
        )
    if public.testing:
        faults.append(
            fault(
                "dkim.testing",
                Severity.LOW,
                f"the key at {where} says t=y: it is only tried",
                "receivers may treat signed mail as if it were not signed (RFC 6376 section 3.6.1)",
                "take t=y out of the record",
            )
        )
    return faults


def _broken(key: _Key, where: str, why: str) -> Finding:
    tags = _tags(key)
    if tags.get("p") == "":
        return fault(
            "dkim.revoked", Severity.INFO, f"the key at {where} is revoked", "nothing: that is how it is done", "nothing to do"
        )
    words = tags.get("h", "").replace(" ", "").split(":")
    if "sha1" in words and "sha256" not in words:
        return fault(
            "dkim.sha1",
            Severity.HIGH,
            f"the key at {where} permits SHA-1 only",
            "signatures with SHA-1 are not valid any more (RFC 8301 section 3.1)",
            "take h= out of the record, and sign with rsa-sha256",
        )
    weak = "bit:" in why
    return fault(
        "dkim.weak-key" if weak else "dkim.broken",
        Severity.HIGH if weak else Severity.MEDIUM,
        f"the record at {where} is of no use: {why}",
        "who breaks the key signs as you" if weak else "what is signed with this key does not pass",
        "make a key of 2048 bits under a new selector, and set p= of this one to nothing"
        if weak
        else f'publish one record: {where}. TXT "v=DKIM1; k=rsa; p=..." with the public key of what signs',
    )


def _tags(key: _Key) -> dict[str, str]:
    try:
        return parse_tags(key.records[0]) if len(key.records) == 1 else {}
    except TagError:
        return {}


def _is_usable(key: _Key) -> bool:
    try:
        choose_key(key.records)
    except KeyRecordError:
        return False
    return True


def _missing(selector: str, domain: str) -> Finding:
    return fault(
        "dkim.missing",
        Severity.MEDIUM,
        f"there is no key at {selector}._domainkey.{domain}",
        "what is signed with this selector does not pass",
        f'publish: {selector}._domainkey.{domain}. TXT "v=DKIM1; k=rsa; p=..." with the public key of what signs',
    )


def _no_key(domain: str, message: str) -> Finding:
    return fault(
        "dkim.none",
        Severity.MEDIUM,
        message,
        "without signatures, mail that is forwarded fails DMARC, and others cannot tell yours from a forgery",
        f'let your server sign, and publish: SELECTOR._domainkey.{domain}. TXT "v=DKIM1; k=rsa; p=..."',
    )
