"""TLS on every port: versions, suites, and what the handshake shows. RFC 8996, RFC 9325, RFC 7525, NCSC-NL's guidelines."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from postlatch.audit.posture.families.certificate import certificate_checks
from postlatch.audit.posture.families.places import look
from postlatch.audit.posture.subject import Subject, Tools
from postlatch.audit.posture.values import Check, State, check, fault, judged, several, unknown
from postlatch.audit.posture.wire import suites
from postlatch.audit.posture.wire.hello import NAMES, SSL3, TLS10, TLS11, TLS12, TLS13
from postlatch.audit.posture.wire.sight import Heard, Outcome, Sight
from postlatch.audit.values import Finding, Severity

_OFFERED: Final = ("tls.offered", "TLS is offered")
_GOOD_PRIME: Final = 2048

Faults = Iterable[Finding]


async def check_tls(subject: Subject, tools: Tools) -> list[Check]:
    """All places together: one check says how many of them are right, and its findings name those that are not."""
    if tools.sightings is None:
        return [unknown(*_OFFERED, "nothing may be connected to")]
    if not subject.hosts.closely:
        why = subject.hosts.failed or "there are no mail hosts with addresses"
        return [unknown(*_OFFERED, why) if subject.hosts.failed else check(*_OFFERED, State.INFO, why)]
    sights = await look(subject, tools)
    if not sights:
        return [unknown(*_OFFERED, "no mail host has an address that may be connected to")]
    seen = [sight for sight in sights if sight.failure is None]
    checks = [_offered(sights, subject.request.smtp_port)]
    if not seen:
        return checks
    smtp = subject.request.smtp_port
    return [
        *checks,
        _each("tls.versions", "TLS versions", seen, _versions_text, lambda one: _versions(one, smtp), _versions_seen),
        _each("tls.ciphers", "TLS cipher suites", seen, _suite_text, lambda one: _ciphers(one, smtp), _ciphers_seen),
        _each("tls.forward-secrecy", "Forward secrecy", seen, _suite_text, _secrecy, _secrecy_seen),
        _each("tls.order", "Order of the cipher suites", seen, _order_text, _order, _order_seen),
        _each("tls.key-exchange", "Key exchange", seen, _prime_text, _prime, _prime_seen),
        _each("tls.compression", "No TLS compression", seen, lambda _: "not used", _compression, _all_versions_seen),
        _each("tls.renegotiation", "Secure renegotiation", seen, lambda _: "secure", _renegotiation, _all_versions_seen),
        _client_renegotiation(seen),
        *certificate_checks(seen, tools.clock.now(), smtp),
    ]


def _each(
    name: str,
    title: str,
    sights: Sequence[Sight],
    text: Callable[[Sight], str],
    faults: Callable[[Sight], Faults],
    is_seen: Callable[[Sight], bool],
) -> Check:
    """One check over all places."""
    found = [finding for sight in sights for finding in faults(sight)]
    unseen = [sight.place.text for sight in sights if not is_seen(sight)]
    shown = several((f"{sight.place.text}: {text(sight)}" for sight in sights if is_seen(sight)), 3)
    detail = "; ".join(part for part in (shown, f"not seen at {several(unseen)}" if unseen else "") if part)
    return judged(name, title, detail, found, seen=not unseen)


def _offered(sights: Sequence[Sight], smtp: int) -> Check:
    faults, unseen = [], []
    # If nobody at all listens there, it may be that port 25 is blocked on the way: many providers do that.
    blocked = all(sight.failure is not None and sight.failure.refused for sight in sights if sight.place.port == smtp)
    for sight in sights:
        failure, place = sight.failure, sight.place
        if failure is None:
            continue
        if failure.no_tls:
            faults.append(
                fault(
                    "tls.missing",
                    Severity.HIGH,
                    f"{place.text}: {failure}",
                    "all mail, and every password, goes over the wire for anybody to read",
                    "give the server a certificate and let it offer STARTTLS",
                )
            )
        elif failure.refused and place.port == smtp and not blocked:
            faults.append(
                fault(
                    "tls.nobody",
                    Severity.MEDIUM,
                    f"{place.text}: {failure}",
                    "senders lose time at this host, and mail is late",
                    "let the mail server listen there, or take the host out of the MX records",
                )
            )
        else:
            perhaps = ", or the port is blocked on the way" if failure.refused else ""
            unseen.append(f"{place.text} ({failure}{perhaps})")
    shown = several(sight.place.text for sight in sights if sight.failure is None)
    detail = "; ".join(part for part in (shown, f"not seen: {several(unseen)}" if unseen else "") if part)
    return judged(*_OFFERED, detail, faults, seen=not unseen)


# Versions


def _versions_text(sight: Sight) -> str:
    return ", ".join(NAMES[version] for version in sight.accepted) or "none"


def _versions(sight: Sight, smtp: int) -> Faults:
    place, accepted = sight.place.text, sight.accepted
    if SSL3 in accepted:
        yield fault("tls.ssl3", Severity.MEDIUM, f"{place} takes SSL 3.0", "it is broken (RFC 7568)", "switch SSL 3.0 off")
    old = [NAMES[version] for version in (TLS10, TLS11) if version in accepted]
    if old:
        on_smtp = sight.place.port == smtp
        why = "a sender that has nothing else would send without TLS" if on_smtp else "a mail program has better for years"
        yield fault(
            "tls.old-versions",
            Severity.LOW if on_smtp else Severity.MEDIUM,
            f"{place} takes {' and '.join(old)}",
            f"both are deprecated (RFC 8996); {why}",
            "take TLS 1.2 and 1.3 only (Postfix: smtpd_tls_protocols = >=TLSv1.2)",
        )
    known_none = not {TLS12, TLS13} & set(accepted) and all(sight.is_no(sight.versions[v]) for v in (TLS12, TLS13))
    if known_none and accepted:
        yield fault(
            "tls.no-modern",
            Severity.HIGH,
            f"{place} takes neither TLS 1.2 nor 1.3",
            "careful senders cannot use it",
            "update it",
        )
    elif TLS12 in accepted and sight.is_no(sight.versions[TLS13]):
        yield fault("tls.no-13", Severity.INFO, f"{place} has no TLS 1.3", "it is safer and faster", "switch it on")


def _versions_seen(sight: Sight) -> bool:
    answers = sight.versions.values()
    return bool(sight.accepted) and all(one.outcome is Outcome.ACCEPTED or sight.is_no(one) for one in answers)


def _all_versions_seen(sight: Sight) -> bool:
    return bool(sight.accepted) and all(sight.versions[v].outcome is not Outcome.UNSEEN for v in (TLS10, TLS11, TLS12))


# Suites

_HOW_BAD: Final = {
    "NULL": (Severity.HIGH, Severity.HIGH, "the mail goes over the wire in the clear"),
    "EXPORT": (Severity.HIGH, Severity.HIGH, "anybody can break it in hours"),
    "anonymous": (Severity.LOW, Severity.HIGH, "nobody can know which server it is"),
    "RC4": (Severity.MEDIUM, Severity.MEDIUM, "it is broken (RFC 7465)"),
    "3DES": (Severity.LOW, Severity.MEDIUM, "its blocks are too small for long connections (SWEET32)"),
}


def _suite_text(sight: Sight) -> str:
    best = sight.versions[sight.accepted[-1]].hello if sight.accepted else None
    return suites.name_of(best.suite) if best is not None else "none"


def _ciphers(sight: Sight, smtp: int) -> Faults:
    for family, (on_smtp, elsewhere, why) in _HOW_BAD.items():
        taken = [heard.hello for heard in sight.weak.get(family, ()) if heard.hello is not None]
        if not taken:
            continue
        names = several(dict.fromkeys(suites.name_of(hello.suite) for hello in taken))
        yield fault(
            f"tls.cipher-{family.lower()}",
            on_smtp if sight.place.port == smtp else elsewhere,
            f"{sight.place.text} takes {family} suites ({names})",
            why,
            f"switch them off (OpenSSL: {_OFF[family]})",
        )


_OFF: Final = {"NULL": "!eNULL", "EXPORT": "!EXPORT", "anonymous": "!aNULL", "RC4": "!RC4", "3DES": "!3DES:!DES:!IDEA"}


def _is_settled(sight: Sight, heard: Heard) -> bool:
    return heard.outcome is Outcome.ACCEPTED or sight.is_no(heard)


def _ciphers_seen(sight: Sight) -> bool:
    """A server with TLS 1.3 alone has no weak suites."""
    if not sight.old:
        return _versions_seen(sight)
    asked = [sight.weak.get(family, []) for family in _HOW_BAD]
    return all(bool(answers) and all(_is_settled(sight, one) for one in answers) for answers in asked)


def _secrecy(sight: Sight) -> Faults:
    """A server that prefers such a suite, or has nothing else, loses all recorded mail with its key."""
    chosen = [sight.versions[v].hello for v in sight.old]
    static = [suites.name_of(hello.suite) for hello in chosen if hello is not None and hello.suite in suites.STATIC]
    taken = [heard.hello for heard in sight.weak.get("static", ()) if heard.hello is not None]
    why = "who gets the server's key one day can read all mail that was recorded before (RFC 9325 section 4.1)"
    fix = "switch them off (OpenSSL: !kRSA)"
    if static:
        message = f"{sight.place.text} chooses suites without forward secrecy ({several(dict.fromkeys(static))})"
        yield fault("tls.no-forward-secrecy", Severity.MEDIUM, message, why, "offer ECDHE suites, and prefer them")
    elif taken:
        names = several(dict.fromkeys(suites.name_of(hello.suite) for hello in taken))
        yield fault(
            "tls.static-suites",
            Severity.LOW,
            f"{sight.place.text} also takes suites without forward secrecy ({names})",
            why,
            fix,
        )


def _secrecy_seen(sight: Sight) -> bool:
    if not sight.old:
        return _versions_seen(sight)
    answers = sight.weak.get("static", [])
    return bool(answers) and all(_is_settled(sight, one) for one in answers)


def _order_text(sight: Sight) -> str:
    first, second = _choices(sight)
    if first is None or second is None:
        return "TLS 1.3 has none that is weak"
    return "the server's" if first == second else "the client's, and all are good"


def _choices(sight: Sight) -> tuple[int | None, int | None]:
    """The suite that it chose, and the one when that was offered last."""
    first = sight.versions[sight.old[-1]].hello if sight.old else None
    second = sight.reordered.hello
    return first.suite if first is not None else None, second.suite if second is not None else None


def _order(sight: Sight) -> Faults:
    first, second = _choices(sight)
    # Whose order it is does not matter if all that it takes is good (RFC 9325 section 4.2).
    weak = any(heard.hello for answers in sight.weak.values() for heard in answers)
    if None not in {first, second} and first != second and weak:
        yield fault(
            "tls.client-order",
            Severity.LOW,
            f"{sight.place.text} takes the client's order of suites, weak ones too",
            "a client that asks for weak suites first gets them",
            "let the server choose (Postfix: tls_preempt_cipherlist = yes), or take good suites only",
        )


def _order_seen(sight: Sight) -> bool:
    return sight.reordered.hello is not None if sight.old else _versions_seen(sight)


def _prime_text(sight: Sight) -> str:
    hello = sight.finite_field.hello
    return f"a group of {hello.prime} bits" if hello is not None else "no finite-field groups"


def _prime(sight: Sight) -> Faults:
    hello = sight.finite_field.hello
    if hello is not None and 0 < hello.prime < _GOOD_PRIME:
        yield fault(
            "tls.weak-dh",
            Severity.MEDIUM,
            f"{sight.place.text} exchanges keys with a group of {hello.prime} bits",
            "groups of less than 2048 bits can be broken (RFC 9325 section 4.1)",
            "use the groups of RFC 7919, of 2048 bits or more, or ECDHE alone",
        )


def _prime_seen(sight: Sight) -> bool:
    if not sight.old:
        return _versions_seen(sight)
    hello = sight.finite_field.hello
    return hello.prime > 0 if hello is not None else sight.is_no(sight.finite_field)


# What the handshake shows


def _compression(sight: Sight) -> Faults:
    if any(heard.hello is not None and heard.hello.compression for heard in sight.versions.values()):
        yield fault(
            "tls.compression",
            Severity.MEDIUM,
            f"{sight.place.text} compresses within TLS",
            "what is encrypted can be guessed from its length (CRIME; RFC 9325 section 3.3)",
            "switch compression off (Postfix: tls_ssl_options = NO_COMPRESSION)",
        )


def _renegotiation(sight: Sight) -> Faults:
    hellos = [sight.versions[v].hello for v in sight.old]
    if any(hello is not None and not hello.secure_renegotiation for hello in hellos):
        yield fault(
            "tls.insecure-renegotiation",
            Severity.MEDIUM,
            f"{sight.place.text} does not know secure renegotiation",
            "who stands between can put words before those of the client (CVE-2009-3555, RFC 5746)",
            "update the TLS library of the server",
        )


def _client_renegotiation(sights: Sequence[Sight]) -> Check:
    name, title = "tls.client-renegotiation", "No renegotiation by the client"
    old = [sight.place.text for sight in sights if sight.old or not _versions_seen(sight)]
    if not old:
        return judged(name, title, "TLS 1.3 has none", [])
    why = f"not tried at {several(old)}: it needs a whole handshake of TLS 1.2, with a second one in it"
    return unknown(name, title, why)
