"""DMARC's judgement: is an identifier that SPF or DKIM showed to be genuine aligned with the author's domain? RFC 9989, 5.3.

Look-ups of one message, at most 51: 8 for the author's walk, 1 for whether the domain exists, and 7 for each of at most six
further identifiers (SPF's and five signatures'), since these lie below the author's organisational domain and share its walk.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from postlatch.model.dns import Resolver
from postlatch.senderauth.dkim.text import printable
from postlatch.senderauth.dmarc.parse import Record
from postlatch.senderauth.dmarc.walk import Answers, Policy, ask, discover, is_askable, normal, walk
from postlatch.senderauth.results import Disposition, DkimResult, DmarcResult, Result, SpfResult

MAX_SIGNERS: Final = 5  # domains of signatures whose tree is walked
_ONE_LOWER: Final = {Disposition.REJECT: Disposition.QUARANTINE, Disposition.QUARANTINE: Disposition.NONE}
_SECTION: Final = "(RFC 9989 section 4.4)"


def none_for(reason: str, from_domain: str = "") -> DmarcResult:
    """DMARC does not apply, for example because the message has no author's domain or more than one (section 5.3.1)."""
    return _result(Result.NONE, printable(from_domain, 253), reason)


async def check_dmarc(
    resolver: Resolver, *, from_domain: str, spf: SpfResult, dkim: Sequence[DkimResult], policy: Policy | None = None
) -> DmarcResult:
    """Judge a message with one author. ``spf`` is that of MAIL FROM, or of HELO only if the sender is ``<>`` (section 4.4.2
    and RFC 7208 section 2.4). ``policy`` is what ``discover`` found for the same domain, if that was asked before."""
    if policy is None:
        policy = await discover(resolver, from_domain)
    if policy.problem is not None:
        return evaluate(policy, spf=spf, dkim=dkim, org_of={})
    answers: Answers = dict(policy.answers)
    identifiers = to_walk(policy, spf, dkim)
    await ask(resolver, identifiers, answers)
    return evaluate(policy, spf=spf, dkim=dkim, org_of={name: walk(name, answers).organizational for name in identifiers})


def to_walk(policy: Policy, spf: SpfResult, dkim: Sequence[DkimResult]) -> list[str]:
    """The identifiers whose alignment only a walk of their own can show; none for what cannot be aligned anyway."""
    spf_domains = [] if policy.record.strict_spf else _needing(policy, [spf])
    dkim_domains = [] if policy.record.strict_dkim else _needing(policy, dkim)
    return list(dict.fromkeys((*spf_domains, *dkim_domains[:MAX_SIGNERS])))


def _needing(policy: Policy, results: Sequence[SpfResult | DkimResult]) -> list[str]:
    # What passed comes first: signatures that cannot be checked must not use up the walks of those that can.
    found = [
        normal(result.domain) for wanted in (Result.PASS, Result.TEMPERROR) for result in results if result.result is wanted
    ]
    return list(dict.fromkeys(domain for domain in found if domain != policy.from_domain and _could_align(policy, domain)))


def _could_align(policy: Policy, domain: str) -> bool:
    """An organisational domain ends every name that it is that of."""
    org = policy.organizational
    return org is not None and f".{domain}".endswith(f".{org}") and is_askable(domain)


def evaluate(policy: Policy, *, spf: SpfResult, dkim: Sequence[DkimResult], org_of: Mapping[str, str | None]) -> DmarcResult:
    """Pure. ``org_of`` has the organisational domains of ``to_walk``; None where the DNS did not answer."""
    if policy.problem is not None:
        return _result(policy.problem, policy.from_domain, policy.reason)
    spf_states = _states(policy, [spf], strict=policy.record.strict_spf, org_of=org_of)
    dkim_states = _states(policy, dkim, strict=policy.record.strict_dkim, org_of=org_of)
    spf_aligned, dkim_aligned = True in spf_states, True in dkim_states
    if spf_aligned or dkim_aligned:
        how = " and ".join(name for name, aligned in (("SPF", spf_aligned), ("DKIM", dkim_aligned)) if aligned)
        return _found(policy, Result.PASS, f"{how} passed for an aligned domain {_SECTION}", spf_aligned, dkim_aligned)
    if None in spf_states or None in dkim_states:
        why = "an identifier that may be aligned could not be checked: the DNS did not answer (RFC 9989 section 5.3.6)"
        return _found(policy, Result.TEMPERROR, why)
    if policy.asked_for is None:
        why = "whether the author's domain exists is not known: the DNS did not answer (RFC 9989 section 5.3.6)"
        return _found(policy, Result.TEMPERROR, why)
    return _found(policy, Result.FAIL, f"neither SPF nor DKIM passed for an aligned domain {_SECTION}")


def _states(
    policy: Policy, results: Sequence[SpfResult | DkimResult], *, strict: bool, org_of: Mapping[str, str | None]
) -> set[bool | None]:
    """Of each identifier: True is aligned and passed, None might be, False is not."""
    states: set[bool | None] = set()
    for result in results:
        if result.result is Result.PASS:
            states.add(_aligned(policy, normal(result.domain), strict=strict, org_of=org_of))
        elif result.result is Result.TEMPERROR:
            # Without a domain nothing is known of it; with one it counts only if it might have been aligned.
            unknown = not result.domain or _aligned(policy, normal(result.domain), strict=strict, org_of=org_of) is not False
            states.add(None if unknown else False)
    return states


def _aligned(policy: Policy, domain: str, *, strict: bool, org_of: Mapping[str, str | None]) -> bool | None:
    if not domain or domain == policy.from_domain:
        return bool(domain)
    if strict:
        return False
    if policy.organizational is None:
        return None if _shares_a_parent(policy.from_domain, domain) else False
    if not _could_align(policy, domain) or domain not in org_of:
        return False
    org = org_of[domain]
    return None if org is None else org == policy.organizational


def _shares_a_parent(one: str, other: str) -> bool:
    return one.rpartition(".")[2] == other.rpartition(".")[2]


def _found(
    policy: Policy,
    result: Result,
    reason: str,
    spf_aligned: bool = False,
    dkim_aligned: bool = False,
) -> DmarcResult:
    asked_for = effective(policy.record, policy.asked_for or Disposition.NONE)
    return DmarcResult(
        result=result,
        disposition=asked_for if result is Result.FAIL else Disposition.NONE,
        from_domain=policy.from_domain,
        policy_domain=policy.domain,
        spf_aligned=spf_aligned,
        dkim_aligned=dkim_aligned,
        reason=reason,
        policy=asked_for,
        testing=policy.record.testing,
    )


def effective(record: Record, asked_for: Disposition) -> Disposition:
    """``t=y`` asks for one level less (section 4.7, ``t``)."""
    return _ONE_LOWER.get(asked_for, asked_for) if record.testing else asked_for


def _result(result: Result, from_domain: str, reason: str) -> DmarcResult:
    return DmarcResult(result, Disposition.NONE, from_domain, "", spf_aligned=False, dkim_aligned=False, reason=reason)
