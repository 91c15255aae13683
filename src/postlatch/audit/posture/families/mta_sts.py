"""MTA-STS: senders are told that this domain's mail hosts have TLS with a certificate that verifies. RFC 8461."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from postlatch.audit.posture.asking import ask
from postlatch.audit.posture.subject import Subject, Tools
from postlatch.audit.posture.values import Check, State, check, fault, judged, several, unknown
from postlatch.audit.values import Finding, Severity
from postlatch.model.fetch import FetchError

_RECORD: Final = ("mta-sts.record", "MTA-STS record")
_POLICY: Final = ("mta-sts.policy", "MTA-STS policy")
_MOST: Final = 65_536  # octets of a policy, section 3.3
_MOST_AGE: Final = 31_557_600  # section 3.2
_SHORT_AGE: Final = 604_800  # "weeks or more" is what section 3.2 has in mind
_MOST_LINES: Final = 1_000
_LIMIT: Final = 10.0  # seconds
_WHY: Final = "who stands between a sender and you can make them talk without TLS, and read the mail"


class _Policy(NamedTuple):
    mode: str
    mx: tuple[str, ...]
    age: int | None
    version: str


async def check_mta_sts(subject: Subject, tools: Tools) -> list[Check]:
    """The record, and the policy if there is one."""
    domain = subject.domain
    if subject.hosts.null:
        return [check(*_RECORD, State.INFO, "the domain takes no mail")]
    found = await ask(tools.resolver.txt(f"_mta-sts.{domain}"))
    if found.failed:
        return [unknown(*_RECORD, f"_mta-sts.{domain} TXT: {found.failed}")]
    records = [text for text in found.records if _is_record(text)]
    if not records:
        missing = fault("mta-sts.missing", Severity.LOW, f"{domain} has no MTA-STS", _WHY, _publish(subject))
        return [check(*_RECORD, State.ABSENT, missing.message, [missing])]
    record = judged(*_RECORD, records[0][:200].decode("ascii", "replace"), _record_faults(records, domain))
    return [record, *await _policy(subject, tools)]


def _is_record(text: bytes) -> bool:
    return text[:8] == b"v=STSv1;" or text.split(b";", 1)[0].rstrip(b" \t") == b"v=STSv1"


def _record_faults(records: Sequence[bytes], domain: str) -> list[Finding]:
    fix = f'publish one record: _mta-sts.{domain}. TXT "v=STSv1; id=20260101T000000;"'
    if len(records) > 1:
        return [fault("mta-sts.several", Severity.MEDIUM, "there are several MTA-STS records", "senders use none of them", fix)]
    parts = [part.strip().partition(b"=") for part in records[0].split(b";")[1:20]]
    ids = [value.strip() for name, _, value in parts if name.strip() == b"id"]
    if len(ids) != 1 or not ids[0].isalnum() or not ids[0].isascii() or len(ids[0]) > 32:
        message = "the record has no valid id: 1 to 32 letters and digits"
        return [fault("mta-sts.id", Severity.MEDIUM, message, "senders take it for no record (RFC 8461 section 3.1)", fix)]
    return []


def _publish(subject: Subject) -> str:
    hosts = "".join(f"mx: {host.name}, " for host in subject.hosts.hosts[:3])
    return (
        f'publish: _mta-sts.{subject.domain}. TXT "v=STSv1; id=1;" and, at https://mta-sts.{subject.domain}'
        f"/.well-known/mta-sts.txt, the lines version: STSv1, mode: testing, {hosts}max_age: 604800; later mode: enforce"
    )


async def _policy(subject: Subject, tools: Tools) -> list[Check]:
    url = f"https://mta-sts.{subject.domain}/.well-known/mta-sts.txt"
    if tools.fetcher is None:
        return [unknown(*_POLICY, "nothing may be connected to, so the policy was not fetched")]
    broken = "senders find a record and no policy, so nothing is protected (RFC 8461 section 3.3)"
    try:
        answer = await tools.fetcher.get(url, timeout=_LIMIT, limit=_MOST)
    except FetchError as error:
        message = f"{url} could not be fetched: {error}"
        return [
            judged(
                *_POLICY,
                "",
                [
                    fault(
                        "mta-sts.fetch", Severity.MEDIUM, message, broken, "let a web server with a valid certificate serve it"
                    )
                ],
            )
        ]
    if answer.status != 200:
        message = f"{url} answers with status {answer.status}"
        return [
            judged(
                *_POLICY,
                "",
                [fault("mta-sts.status", Severity.MEDIUM, message, broken, "serve the policy there, without a redirect")],
            )
        ]
    policy = _read(answer.body)
    faults = _policy_faults(policy, answer.content_type)
    checks = [judged(*_POLICY, f"mode {policy.mode}", faults)]
    if policy.mode in {"enforce", "testing"}:
        checks += [_hosts(subject, policy), _age(policy)]
    return checks


def _read(body: bytes) -> _Policy:
    """The first of each field counts (section 3.2)."""
    fields: dict[str, str] = {}
    patterns: list[str] = []
    for line in body[:_MOST].decode("utf-8", "replace").splitlines()[:_MOST_LINES]:
        name, _, value = line.partition(":")
        name, value = name.strip(), value.strip()
        if name == "mx":
            patterns.append(value.lower().rstrip("."))
        else:
            fields.setdefault(name, value)
    text = fields.get("max_age", "")
    age = int(text) if text.isascii() and text.isdigit() and len(text) <= 10 else None
    return _Policy(fields.get("mode", ""), tuple(patterns[:100]), age, fields.get("version", ""))


def _policy_faults(policy: _Policy, content_type: str) -> list[Finding]:
    faults = []
    if policy.version != "STSv1" or policy.mode not in {"enforce", "testing", "none"}:
        faults.append(
            fault(
                "mta-sts.malformed",
                Severity.MEDIUM,
                "the policy does not say version: STSv1 and mode: enforce, testing or none",
                "senders take it for no policy (RFC 8461 section 3.2)",
                "begin it with the lines version: STSv1 and mode: enforce",
            )
        )
    elif policy.mode != "enforce":
        faults.append(
            fault(
                "mta-sts.not-enforced",
                Severity.LOW,
                f"the policy's mode is {policy.mode}",
                "senders deliver without TLS all the same",
                "when the TLS reports show no failures, set mode: enforce and change the id of the record",
            )
        )
    if content_type.partition(";")[0].strip().lower() != "text/plain":
        faults.append(
            fault(
                "mta-sts.type",
                Severity.LOW,
                f"the policy's content type is {content_type[:60] or 'not said'}",
                "some senders refuse it (RFC 8461 section 3.2)",
                "serve it as text/plain",
            )
        )
    return faults


def _hosts(subject: Subject, policy: _Policy) -> Check:
    name, title = "mta-sts.mx", "MTA-STS names the mail hosts"
    hosts = subject.hosts
    if hosts.failed:
        return unknown(name, title, hosts.failed)
    named = hosts.names or tuple(host.name for host in hosts.hosts)
    outside = [host for host in dict.fromkeys(named) if not any(_matches(pattern, host) for pattern in policy.mx)]
    faults = []
    if outside:
        faults.append(
            fault(
                "mta-sts.mx",
                Severity.HIGH if policy.mode == "enforce" else Severity.MEDIUM,
                f"the policy does not name {several(outside)}",
                "senders must not deliver to a host that it does not name (RFC 8461 section 4.1)",
                "add: " + ", ".join(f"mx: {host}" for host in outside[:3]),
            )
        )
    return judged(name, title, several(policy.mx), faults)


def _matches(pattern: str, host: str) -> bool:
    """``*.`` stands for exactly one label (section 4.1)."""
    return pattern == host or (pattern.startswith("*.") and host.partition(".")[2] == pattern[2:])


def _age(policy: _Policy) -> Check:
    name, title = "mta-sts.age", "MTA-STS: how long senders remember"
    faults = []
    if policy.age is None or policy.age > _MOST_AGE:
        faults.append(
            fault(
                "mta-sts.age",
                Severity.MEDIUM,
                "max_age is no number up to 31557600",
                "senders take it for no policy",
                "max_age: 604800",
            )
        )
    elif policy.age < _SHORT_AGE:
        faults.append(
            fault(
                "mta-sts.short-age",
                Severity.LOW,
                f"max_age is {policy.age} seconds",
                "who can block the policy for that long has undone it",
                "max_age: 604800 (a week) or more",
            )
        )
    return judged(name, title, f"{policy.age} seconds", faults)
