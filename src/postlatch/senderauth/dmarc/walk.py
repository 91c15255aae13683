"""The tree walk of RFC 9989 section 4.10: which record applies to an author's domain, and which is its organisational domain.

Which names a walk asks is known from the start, so it asks them all at once; ``psd`` then decides how far up the answers count.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from postlatch.model.dns import DnsError, Resolver
from postlatch.senderauth.dkim.text import printable
from postlatch.senderauth.dmarc.parse import Record, parse_record
from postlatch.senderauth.results import Disposition, Result

MAX_QUERIES: Final = 8  # of one walk
_LONG_NAME: Final = 8  # labels; such a name is shortened to one less for its second query
_MAX_NAME: Final = 253 - len("_dmarc.")


class Answer(NamedTuple):
    """What a name's ``_dmarc`` said: a record or none, or why that is not known (``failed``)."""

    record: Record | None = None
    failed: str = ""


Answers = dict[str, Answer]


class Policy(NamedTuple):
    """What applies to an author's domain.

    ``problem`` is None if ``record`` (of ``domain``) applies, else none, temperror or permerror, with ``reason``.
    ``organizational`` is None if a part of the tree did not answer: then only equal names are known to be aligned.
    ``asked_for`` is the record's p, sp or np for mail of exactly this domain, before ``t``; None: it depends on whether the
    domain exists, and the DNS did not say. ``answers`` spares a later walk of the same message the same questions.
    """

    from_domain: str
    problem: Result | None
    reason: str
    domain: str = ""
    record: Record = Record()
    organizational: str | None = None
    asked_for: Disposition | None = Disposition.NONE
    answers: Mapping[str, Answer] = {}

    @property
    def inherited(self) -> bool:
        """The record is that of a parent."""
        return self.domain != self.from_domain


def normal(domain: str) -> str:
    """Names compare in lower case and without a final dot."""
    return domain.lower().removesuffix(".")


def is_askable(domain: str) -> bool:
    """A name that can be asked in the DNS, with ``_dmarc.`` before it; nothing in it means something to a resolver's parser."""
    labels = domain.split(".")
    plain = domain.isascii() and all(label.replace("-", "").replace("_", "0").isalnum() for label in labels)
    return plain and len(domain) <= _MAX_NAME and all(len(label) <= 63 for label in labels)


def targets(domain: str) -> list[str]:
    """The names that a walk from ``domain`` asks, itself first: at most eight (steps 1, 4 and 7)."""
    labels = domain.split(".")
    first_parent = max(1, len(labels) - (_LONG_NAME - 1))
    return [domain, *(".".join(labels[i:]) for i in range(first_parent, len(labels)))]


async def ask(resolver: Resolver, domains: Iterable[str], answers: Answers) -> None:
    """Walk from each of these domains at once; names that ``answers`` has already are not asked again."""
    names = list(dict.fromkeys(name for domain in domains for name in targets(domain) if name not in answers))
    if len(names) == 1:  # no task for what needs none
        answers[names[0]] = await _answer(resolver, names[0])
    elif names:
        found = await asyncio.gather(*(_answer(resolver, name) for name in names))
        answers.update(zip(names, found, strict=True))


async def _answer(resolver: Resolver, name: str) -> Answer:
    try:
        return Answer(parse_record(await resolver.txt(f"_dmarc.{name}")))
    except DnsError as error:
        return Answer(failed=f"the DNS gave no answer for _dmarc.{printable(name)} TXT") if error.temporary else Answer()


class Walk(NamedTuple):
    """What one walk found. ``records`` from the longest name to the shortest; ``failed`` is why the tree is not known."""

    start: str
    records: tuple[tuple[str, Record], ...]
    failed: str

    @property
    def organizational(self) -> str | None:
        """Section 4.10.2; None if unknown because a name did not answer."""
        if self.failed:
            return None
        for domain, record in self.records:
            if record.psd == "n":
                return domain
            if record.psd == "y" and domain != self.start:
                return _one_label_longer(self.start, domain)
        return self.records[-1][0] if self.records else self.start

    def applicable(self) -> tuple[str, Record] | None:
        """The record of the author's domain, of its organisational domain, or of the public suffix (section 4.10.1)."""
        wanted = (self.start, self.organizational)
        for domain, record in self.records:
            if domain in wanted or record.psd == "y":
                return domain, record
        return None


def walk(start: str, answers: Mapping[str, Answer]) -> Walk:
    """Read a walk from what its names answered: it ends at the first record that says ``psd``, whatever there is above."""
    records: list[tuple[str, Record]] = []
    failed = ""
    for name in targets(start):
        answer = answers[name]
        failed = failed or answer.failed
        if answer.record is not None:
            records.append((name, answer.record))
            if answer.record.psd != "u":
                break
    return Walk(start, tuple(records), failed)


def _one_label_longer(name: str, parent: str) -> str:
    return ".".join(name.split(".")[-(parent.count(".") + 2) :])


async def discover(resolver: Resolver, from_domain: str) -> Policy:
    """The policy for mail whose one author is of ``from_domain`` (lower-case A-labels): at most nine look-ups."""
    domain, shown = normal(from_domain), printable(normal(from_domain), 253)
    if domain.startswith("["):
        return Policy(shown, Result.NONE, "the author's address has no domain, only an IP address")
    if not is_askable(domain):
        return Policy(
            shown, Result.PERMERROR, "the author's domain is no name that the DNS could know (RFC 1035 section 2.3.4)"
        )
    answers: Answers = {}
    await ask(resolver, (domain,), answers)
    return await _policy(resolver, walk(domain, answers), answers)


async def _policy(resolver: Resolver, walked: Walk, answers: Answers) -> Policy:
    domain, own = walked.start, answers[walked.start]
    if own.failed or (walked.failed and own.record is None):
        return Policy(domain, Result.TEMPERROR, f"{walked.failed} (RFC 9989 section 5.3.6)", answers=answers)
    found = walked.applicable()
    if found is None:
        return Policy(domain, Result.NONE, "no DMARC record applies to the author's domain (RFC 9989 section 4.10.1)")
    policy_domain, record = found
    if not record.usable:
        reason = (
            f"the DMARC record of {policy_domain} has no valid p, or a faulty sp or np, and no rua (RFC 9989 section 4.10.1)"
        )
        return Policy(domain, Result.NONE, reason)
    asked_for = record.p if policy_domain == domain else await _for_subdomain(resolver, domain, record)
    return Policy(domain, None, "", policy_domain, record, walked.organizational, asked_for, answers)


async def _for_subdomain(resolver: Resolver, domain: str, record: Record) -> Disposition | None:
    existing, absent = (record.policy_for_subdomain(exists=exists) for exists in (True, False))
    if existing is absent:
        return existing
    try:
        await resolver.a(domain)  # any type would do: a name does not exist if the answer is NXDOMAIN (section 3.2.13)
    except DnsError as error:
        return None if error.temporary else absent
    return existing
