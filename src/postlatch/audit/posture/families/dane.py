"""DANE: the DNS says which certificate a mail host must show. RFC 7672, RFC 6698, RFC 7671."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from postlatch.audit.posture.families.places import choose
from postlatch.audit.posture.hosts import MailHost
from postlatch.audit.posture.subject import Subject, Tools
from postlatch.audit.posture.values import Check, State, check, fault, judged, several
from postlatch.audit.posture.wire.line import Place
from postlatch.audit.posture.wire.sight import Sight
from postlatch.audit.values import Finding, Severity
from postlatch.model.dns import DnsError

_RECORDS: Final = ("dane.records", "DANE records")
_MATCH: Final = ("dane.match", "DANE: the certificate that is shown")
_ROLLOVER: Final = ("dane.rollover", "DANE: the next certificate")
_MOST: Final = 20  # records of one host
_TRUST_ANCHOR: Final = 2
_HASHES: Final = {1: "sha256", 2: "sha512"}


class Tlsa(NamedTuple):
    """One record. ``usage`` 3: the certificate itself; 2: one that vouches for it."""

    usage: int
    selector: int
    matching: int
    data: str

    @property
    def usable(self) -> bool:
        """By mail servers (RFC 7672 section 3.1)."""
        return self.usage in {2, 3} and self.selector in {0, 1} and self.matching in {0, 1, 2}


class _Host(NamedTuple):
    """What was found. ``insecure``: there are records, and nothing proves them."""

    name: str
    records: tuple[Tlsa, ...] = ()
    insecure: bool = False
    failed: str = ""
    signed: bool = False
    sight: Sight | None = None


async def check_dane(subject: Subject, tools: Tools) -> list[Check]:
    """For each mail host, on the port of mail servers."""
    if subject.hosts.null or not subject.hosts.hosts:
        return [check(*_RECORDS, State.INFO, "there are no mail hosts")]
    found = await asyncio.gather(*(_host(host, subject, tools) for host in subject.hosts.hosts))
    records = _records(found, subject.request.smtp_port)
    having = [host for host in found if host.records and not host.insecure]
    return [records, _match(having), _rollover(having)] if having else [records]


async def _host(host: MailHost, subject: Subject, tools: Tools) -> _Host:
    port = subject.request.smtp_port
    try:
        answer = await tools.prover.proven(f"_{port}._tcp.{host.name}", "TLSA")
    except DnsError as error:
        return _Host(host.name, failed=str(error))
    records = tuple(one for text in answer.records[:_MOST] if (one := read_tlsa(text)) is not None)
    if not records or not answer.secure:
        return _Host(host.name, records, insecure=not answer.secure, signed=answer.secure)
    return _Host(host.name, records, signed=True, sight=await _sight(host, subject, tools))


async def _sight(host: MailHost, subject: Subject, tools: Tools) -> Sight | None:
    address = choose(host.addresses, tools)
    if tools.sightings is None or address is None:
        return None
    return await tools.sightings.see(Place(host.name, address, subject.request.smtp_port))


def read_tlsa(text: str) -> Tlsa | None:
    """One record as in a zone file; None if it is none."""
    parts = text.split(None, 3)
    if len(parts) != 4 or not all(part.isascii() and part.isdigit() and len(part) <= 3 for part in parts[:3]):
        return None
    data = "".join(parts[3].split()).lower()
    whole = bool(data) and len(data) <= 20_000 and not data.strip("0123456789abcdef")
    return Tlsa(int(parts[0]), int(parts[1]), int(parts[2]), data) if whole else None


def _records(found: Sequence[_Host], port: int) -> Check:
    faults = [_broken(host, port) for host in found if host.failed]
    faults += [_unproven(host) for host in found if host.insecure and host.records]
    faults += [finding for host in found if not host.insecure for finding in _unusable(host)]
    having = [host.name for host in found if host.records and not host.insecure]
    without = [host.name for host in found if not host.records and not host.failed]
    if not faults and not having:
        missing = _missing(without[0], port, signed=any(host.signed for host in found))
        return check(*_RECORDS, State.ABSENT, "no mail host has DANE records", [missing])
    if having and without:
        faults.append(_missing(without[0], port, signed=True))
    return judged(*_RECORDS, f"proved by DNSSEC for {several(having)}", faults)


def _broken(host: _Host, port: int) -> Finding:
    return fault(
        "dane.no-answer",
        Severity.MEDIUM,
        f"_{port}._tcp.{host.name} TLSA is not answered: {host.failed}",
        "if it is so for everybody, senders with DANE do not deliver to this host (RFC 7672 section 2.1.2)",
        "let the name servers of the zone answer for TLSA, also that there is none; check the signatures",
    )


def _unproven(host: _Host) -> Finding:
    return fault(
        "dane.unproven",
        Severity.LOW,
        f"the DANE records of {host.name} are not proved by DNSSEC",
        "senders ignore them (RFC 7672 section 2.1.1)",
        "sign the zone and have its DS record published; if it is, ask a resolver that validates, with --resolver",
    )


def _unusable(host: _Host) -> list[Finding]:
    bad = [one for one in host.records if not one.usable]
    if not bad:
        return []
    shown = several(f"{one.usage} {one.selector} {one.matching}" for one in bad)
    return [
        fault(
            "dane.unusable",
            Severity.LOW if len(bad) < len(host.records) else Severity.MEDIUM,
            f"mail servers cannot use these DANE records of {host.name}: {shown}",
            "usages 0 and 1 are for the web; such records protect no mail (RFC 7672 section 3.1.3)",
            f"publish 3 1 1 records: {host.name} shows its own key",
        )
    ]


def _missing(name: str, port: int, *, signed: bool) -> Finding:
    how = "" if signed else "sign the zone with DNSSEC, then "
    return fault(
        "dane.missing",
        Severity.LOW,
        f"{name} has no DANE records",
        "who stands between a sender and you can make them talk without TLS, and read the mail",
        f"{how}publish: _{port}._tcp.{name}. TLSA 3 1 1 SHA-256-OF-THE-KEY",
    )


def _match(hosts: Sequence[_Host]) -> Check:
    faults, unseen, good = [], [], []
    for host in hosts:
        usable = [one for one in host.records if one.usable]
        if host.sight is None or not host.sight.leaf:
            why = host.sight.failure if host.sight is not None else "no connection was made"
            unseen.append(f"{host.name} ({why})")
            if host.sight is not None and host.sight.failure is not None and host.sight.failure.no_tls:
                faults.append(_wrong(host, "it has no STARTTLS"))
            continue
        shown = _shown(host.sight)
        hits = [one for one in usable if _hits(one, shown)]
        if hits:
            good.append(host.name)
        elif any(one.usage == _TRUST_ANCHOR for one in usable) and len(shown) == 1:
            unseen.append(f"{host.name} (its chain is encrypted: TLS 1.3 alone)")
        elif usable:
            faults.append(_wrong(host, "none of its DANE records fits the certificate that it shows"))
    detail = f"fits: {several(good)}" + (f"; not seen: {several(unseen)}" if unseen else "")
    return judged(*_MATCH, detail, faults, seen=not unseen)


def _wrong(host: _Host, what: str) -> Finding:
    expected = _digest(_key(_shown(host.sight)[0]), 1) if host.sight is not None and host.sight.leaf else "..."
    port = host.sight.place.port if host.sight is not None else 25
    return fault(
        "dane.mismatch",
        Severity.HIGH,
        f"{host.name}: {what}",
        "senders with DANE do not deliver to it (RFC 7672 section 2.2)",
        f"publish: _{port}._tcp.{host.name}. TLSA 3 1 1 {expected}",
    )


def _shown(sight: Sight) -> tuple[bytes, ...]:
    """The leaf, then what came with it. The chain was seen in another handshake: it counts only if it is the same leaf's."""
    if sight.chain[:1] == (sight.leaf,):
        return sight.chain
    return (sight.leaf,)


def _hits(one: Tlsa, shown: Sequence[bytes]) -> bool:
    among = shown[:1] if one.usage != _TRUST_ANCHOR else shown[1:] or shown
    return any(one.data == _digest(_key(der) if one.selector == 1 else der, one.matching) for der in among)


def _digest(data: bytes, matching: int) -> str:
    return hashlib.new(_HASHES[matching], data).hexdigest() if matching in _HASHES else data.hex()


def _key(der: bytes) -> bytes:
    try:
        return x509.load_der_x509_certificate(der).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except Exception:  # noqa: BLE001 - a stranger chose these octets: what cannot be read has no key
        return b""


def _rollover(hosts: Sequence[_Host]) -> Check:
    """A certificate is changed without a gap if the record of the next one, or of who signs it, stands there already."""
    alone = [host.name for host in hosts if len({one for one in host.records if one.usable}) < 2 and not _by_anchor(host)]
    faults = []
    if alone:
        faults.append(
            fault(
                "dane.one-record",
                Severity.INFO,
                f"{several(alone)} has one DANE record alone",
                "when the key changes before the record has, mail does not arrive (RFC 7671 section 8.1)",
                "publish the record of the next key beside it, before the certificate is renewed; or keep the key",
            )
        )
    return judged(*_ROLLOVER, "two records, or the authority's: the next certificate is prepared", faults)


def _by_anchor(host: _Host) -> bool:
    return any(one.usage == _TRUST_ANCHOR for one in host.records)
