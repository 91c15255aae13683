"""What the ways through a configuration mean, in words."""

from __future__ import annotations

from postlatch.audit.lint.postfix.configuration import Configuration, Passage
from postlatch.audit.lint.postfix.tables import LookupFails, Unreadable
from postlatch.audit.lint.postfix.walk import End
from postlatch.audit.lint.reading import shown
from postlatch.audit.lint.survey import CLOSED, Address, Answer
from postlatch.audit.values import Finding, Severity, Verdict

_SAFE = "permit_mynetworks, permit_sasl_authenticated, reject_unauth_destination"
_LIST = "smtpd_relay_restrictions"


def judge(configuration: Configuration, address: Address, *, asked: bool) -> Answer:
    """Whether a client of that address could relay through any service, and why."""
    if address.version == 6 and address.ipv4_mapped is not None:
        # Postfix knows such a client by its IPv4 address.
        return judge(configuration, address.ipv4_mapped, asked=asked) if asked else CLOSED
    if (answer := _by_qmqp(configuration, address)) is not None:
        return answer
    passages = list(configuration.passages(address, asked=asked))
    proved = [passage for passage in passages if not passage.way.assumed]
    if proved:
        because = reason(proved[0])
        if len(proved) > 1:
            because += "; and so do " + ", ".join(passage.service.service.place for passage in proved[1:6])
        return Answer(Verdict.OPEN, because, _where(proved[0]), finding_of(proved[0]))
    if passages:
        return Answer(Verdict.UNKNOWN, "", _where(passages[0]), finding_of(passages[0]))
    return CLOSED


def _where(passage: Passage) -> str:
    return shown(passage.way.recipient.rpartition("@")[2], 100) or "elsewhere.example"


def _by_qmqp(configuration: Configuration, address: Address) -> Answer | None:
    for service in configuration.services:
        if service.command != "qmqpd" or not configuration.reaches(service, address):
            continue
        try:
            pattern = configuration.qmqp_clients(service).host(address, lambda: "unknown")
        except (Unreadable, LookupFails):
            continue
        if pattern is not None:
            finding = Finding(
                "postfix.qmqpd",
                Severity.CRITICAL,
                f"qmqpd_authorized_clients has {pattern}: its clients relay without any other check",
                "QMQP has no restrictions: who may connect may send anywhere",
                "qmqpd_authorized_clients = ADDRESSES OF YOUR OWN QMQP CLIENTS",
                service.file,
                service.line,
            )
            because = f"service {service.place} is qmqpd, and qmqpd_authorized_clients has {pattern}"
            return Answer(Verdict.OPEN, because, "elsewhere.example", finding)
    return None


def reason(passage: Passage) -> str:
    """Why, in words that end a sentence."""
    way, smtpd = passage.way, passage.service
    told = f"service {smtpd.service.place} accepts it: " + "; ".join(_ended(passage, end) for end in way.ends)
    if way.notes:
        told += " (" + "; ".join(way.notes) + ")"
    if way.said:
        told += f", said with {' and '.join(way.said)}"
    if not way.recipient.startswith("someone@elsewhere.example"):
        told += f", to {shown(way.recipient, 100)}"
    if passage.by:
        told = f"{smtpd.where(passage.by)} lets it claim another address, and then {told}"
    return told


def _ended(passage: Passage, end: End) -> str:
    where = passage.service.where(end.parameter)
    if not passage.service.parameters.get(end.parameter).strip():
        return f"{where} is empty"
    if not end.restriction:
        return f"{where} ends without refusing it"
    if end.restriction == "permit_mynetworks":
        return f"{where} has permit_mynetworks, and {end.words}"
    if end.place:
        return f"{where} has {end.restriction}, which says {shown(end.words, 60)} ({end.place})"
    return f"{where} has {end.restriction}"


def finding_of(passage: Passage) -> Finding | None:
    """The finding for a way by which strangers pass: the list or table that lets them."""
    way = passage.way
    if way.assumed:
        return _doubt(passage)
    if passage.by:
        return _claim(passage)
    if way.notes:
        return _wide_domains(passage)
    end = _guilty(passage)
    if end.restriction == "permit_mynetworks":
        return _network(passage)
    return _table(passage, end) if end.place else _list(passage, end)


def _guilty(passage: Passage) -> End:
    """The list that should have stopped it: relay restrictions, or the recipient's where those are empty."""
    ends = passage.way.ends
    relay = next((end for end in ends if end.parameter == _LIST), End(_LIST, ""))
    if passage.service.parameters.get(_LIST).strip() or len(ends) < 2:
        return relay
    return next(end for end in ends if end.parameter != _LIST)


def _at(passage: Passage, parameter: str) -> tuple[str, int | None]:
    setting = passage.service.setting(parameter)
    if setting is not None:
        return setting.file, setting.line
    return passage.service.service.file, passage.service.service.line


def _doubt(passage: Passage) -> Finding:
    guilty = _guilty(passage)
    file, line = _at(passage, guilty.parameter)
    return Finding(
        "postfix.undecided",
        Severity.INFO,
        shown(f"service {passage.service.service.place} would relay if " + ", and ".join(passage.way.assumed), 400),
        "this is not in the configuration, so it cannot be decided from here",
        "put reject_unauth_destination before it in smtpd_relay_restrictions: then it does not matter",
        file,
        line,
    )


def _claim(passage: Passage) -> Finding:
    file, line = _at(passage, passage.by)
    return Finding(
        "postfix.xclient",
        Severity.CRITICAL,
        f"{passage.by} lets clients that are not yours claim any address or login",
        "by XCLIENT a client becomes one that may relay",
        f"{passage.by} = ADDRESSES OF YOUR OWN PROXIES, or empty",
        file,
        line,
    )


def _wide_domains(passage: Passage) -> Finding:
    file, line = _at(passage, "relay_domains")
    return Finding(
        "postfix.relay-domains",
        Severity.CRITICAL,
        shown(f"relay_domains takes domains of others for ours: {passage.way.notes[0]}", 300),
        "reject_unauth_destination refuses only what is not in relay_domains, so anybody can send to these domains",
        "relay_domains = THE DOMAINS THAT YOU ARE A RELAY FOR, each by its name",
        file,
        line,
    )


def _network(passage: Passage) -> Finding:
    file, line = _at(passage, "mynetworks")
    return Finding(
        "postfix.mynetworks",
        Severity.CRITICAL,
        "mynetworks has addresses of strangers, and permit_mynetworks lets them relay",
        "everybody with such an address can send to anybody, without a login",
        "mynetworks = 127.0.0.0/8 [::1]/128 AND YOUR OWN NETWORKS",
        file,
        line,
    )


def _table(passage: Passage, end: End) -> Finding:
    file, _, line = end.place.rpartition(":")
    at: tuple[str, int | None] = (file, int(line)) if line.isdigit() and "{" not in end.place else _at(passage, end.parameter)
    said = f" to {' and '.join(passage.way.said)}" if passage.way.said else ""
    return Finding(
        "postfix.access-permit",
        Severity.CRITICAL,
        shown(f"{end.restriction} in {passage.service.where(end.parameter)} says {end.words}{said}", 400),
        "OK in a relay or recipient restriction permits mail to any domain, and what it looks at is the sender's own choice",
        f"say DUNNO instead of {shown(end.words.partition(' ')[0] or 'nothing', 20)}, "
        "or put the look-up after reject_unauth_destination",
        *at,
    )


def _list(passage: Passage, end: End) -> Finding:
    file, line = _at(passage, end.parameter)
    says = f"has {end.restriction} for everybody" if end.restriction else "never refuses mail for the domains of others"
    return Finding(
        "postfix.relay-restrictions",
        Severity.CRITICAL,
        f"{end.parameter} {says} in service {passage.service.service.place}",
        "anybody can send to anybody: an open relay",
        f"{_LIST} = {_SAFE}",
        file,
        line,
    )
