"""What TLS a mail host must give: the chain of proofs that DANE needs, and how it goes together with MTA-STS and settings."""

from __future__ import annotations

import asyncio
from ipaddress import ip_address

import pytest

from postlatch.delivery.contract import TlsPolicy
from postlatch.delivery.mta_sts import StsMode, StsPolicy
from postlatch.delivery.mx import MailHost
from postlatch.delivery.secure_dns import Proven
from postlatch.delivery.tls_policies import Judged, StsFound, TlsPolicies
from postlatch.delivery.tls_seen import TlsSession
from postlatch.model.dns import DnsError
from postlatch.testing.clock import FakeClock

DOMAIN, HOST = "site.example", "mx.site.example"
TLSA = f"_25._tcp.{HOST}"
FIT = "3 1 1 " + "ab" * 32
OPPORTUNISTIC, REQUIRED, VERIFY = TlsPolicy.OPPORTUNISTIC, TlsPolicy.REQUIRED, TlsPolicy.VERIFY
NO_POLICY = StsFound()
Answers = dict[tuple[str, str], Proven | None]

SECURE: Answers = {
    (DOMAIN, "MX"): Proven((f"10 {HOST}.",), True, name=DOMAIN),
    (HOST, "A"): Proven(("11.22.33.44",), True, name=HOST),
    (HOST, "AAAA"): Proven((), True, name=HOST),
    (TLSA, "TLSA"): Proven((FIT,), True, name=TLSA),
}


class SecureAnswers:
    """Answers from a table: None is a failure, what is absent does not exist, securely."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self.asked: list[tuple[str, str]] = []

    async def proven(self, name: str, kind: str) -> Proven:
        self.asked.append((name, kind))
        answer = self._answers.get((name, kind), Proven((), True, exists=False))
        if answer is None:
            raise DnsError("SERVFAIL", temporary=True)
        return answer


class OnePolicy:
    """The same for every domain."""

    def __init__(self, found: StsFound) -> None:
        self._found = found

    async def policy(self, domain: str) -> StsFound:
        del domain
        return self._found


def sts(mode: StsMode, *mx: str) -> StsFound:
    return StsFound(StsPolicy(mode, mx, 86_400))


def judge(
    answers: Answers | None,
    found: StsFound = NO_POLICY,
    level: TlsPolicy = OPPORTUNISTIC,
    host: str = HOST,
    domain: str = DOMAIN,
) -> Judged:
    async def run() -> Judged:
        secure = SecureAnswers(answers) if answers is not None else None
        policies = TlsPolicies(FakeClock(), secure=secure, sts=OnePolicy(found), tell=None)
        [judged] = await policies.judge(domain, [MailHost(host, (ip_address("11.22.33.44"),))], level)
        return judged

    return asyncio.run(run())


def changed(**how: Proven | None) -> Answers:
    keys = {"mx": (DOMAIN, "MX"), "a": (HOST, "A"), "aaaa": (HOST, "AAAA"), "tlsa": (TLSA, "TLSA"), "cname": (HOST, "CNAME")}
    return {**SECURE, **{keys[name]: answer for name, answer in how.items()}}


def is_dane(judged: Judged) -> bool:
    return judged.demand is not None and bool(judged.demand.tlsa)


def test_a_chain_that_is_proved_from_mx_to_tlsa_demands_dane() -> None:
    judged = judge(SECURE)
    assert judged.tls is VERIFY
    assert judged.demand is not None
    assert [str(record) for record in judged.demand.tlsa] == [FIT]
    assert judged.demand.sni == HOST
    assert judged.demand.names == (HOST, DOMAIN)
    assert judged.demand.mx_proved
    assert (judged.applied.kind, judged.applied.lines) == ("tlsa", (FIT,))


@pytest.mark.parametrize(
    "answers",
    [
        None,
        changed(mx=Proven((f"10 {HOST}.",), False)),
        changed(mx=Proven(("10 other.example.",), True)),
        changed(mx=None),
        changed(a=Proven(("11.22.33.44",), False, name=HOST)),
        changed(aaaa=Proven((), False, name=HOST)),
        changed(a=None, aaaa=None),
        changed(tlsa=Proven((FIT,), False)),
        changed(tlsa=Proven((), True)),
    ],
    ids=["no-resolver", "mx", "mx-elsewhere", "mx-fails", "a", "aaaa", "addresses-fail", "tlsa-insecure", "no-tlsa"],
)
def test_one_link_that_is_not_proved_means_no_dane(answers: Answers | None) -> None:
    judged = judge(answers)
    assert not is_dane(judged)
    assert (judged.tls, judged.refused) == (OPPORTUNISTIC, False)


def test_a_tlsa_look_up_that_fails_forbids_the_host() -> None:
    judged = judge(changed(tlsa=None))
    assert (judged.refused, judged.result, judged.applied.kind) == (True, "dnssec-invalid", "tlsa")
    assert judge(changed(tlsa=None), sts(StsMode.ENFORCE, HOST)).refused


def test_the_tlsa_records_of_an_insecure_host_are_not_even_asked_for() -> None:
    async def run() -> list[tuple[str, str]]:
        secure = SecureAnswers(changed(a=Proven(("11.22.33.44",), False, name=HOST)))
        policies = TlsPolicies(FakeClock(), secure=secure, sts=None, tell=None)
        await policies.judge(DOMAIN, [MailHost(HOST, ())], OPPORTUNISTIC)
        return secure.asked

    assert not any(kind == "TLSA" for _, kind in asyncio.run(run()))


def test_an_implicit_mx_is_proved_by_its_absence() -> None:
    answers: Answers = {
        (DOMAIN, "MX"): Proven((), True),
        (DOMAIN, "A"): Proven(("11.22.33.44",), True, name=DOMAIN),
        (DOMAIN, "AAAA"): Proven((), True, name=DOMAIN),
        (f"_25._tcp.{DOMAIN}", "TLSA"): Proven((FIT,), True),
    }
    assert is_dane(judge(answers, host=DOMAIN))


def test_an_alias_is_asked_behind_and_then_by_its_own_name() -> None:
    behind = "real.elsewhere.example"
    alias = {"a": Proven(("11.22.33.44",), True, name=behind), "aaaa": Proven((), True, name=behind)}
    both = changed(**alias)
    both["_25._tcp." + behind, "TLSA"] = Proven(("3 1 1 " + "cd" * 32,), True)
    judged = judge(both)
    assert judged.demand is not None
    assert judged.demand.sni == behind
    assert judged.demand.names == (behind, HOST, DOMAIN)
    own = judge(changed(**alias))
    assert own.demand is not None
    assert own.demand.sni == HOST


def test_an_alias_out_of_a_signed_zone_keeps_the_records_of_its_own_name() -> None:
    insecure = {"a": Proven(("11.22.33.44",), False, name="real.example"), "aaaa": Proven((), False, name="real.example")}
    assert is_dane(judge(changed(**insecure, cname=Proven(("real.example.",), True))))
    assert not is_dane(judge(changed(**insecure, cname=Proven(("real.example.",), False))))


def test_records_of_which_none_is_of_use_demand_encryption_alone_and_mta_sts_still_counts() -> None:
    useless = changed(tlsa=Proven(("0 0 1 " + "ab" * 32,), True))
    judged = judge(useless)
    assert (judged.tls, is_dane(judged), judged.applied.problem) == (REQUIRED, False, "tlsa-invalid")
    assert judge(useless, sts(StsMode.ENFORCE, HOST)).tls is VERIFY
    assert judge(useless, sts(StsMode.TESTING, HOST)).tls is REQUIRED
    assert judge(useless, sts(StsMode.ENFORCE, "other.example")).refused


def test_dane_goes_before_mta_sts() -> None:
    for found in (sts(StsMode.ENFORCE, "other.example"), sts(StsMode.TESTING, HOST), sts(StsMode.NONE)):
        assert is_dane(judge(SECURE, found))
        assert not judge(SECURE, found).refused


def test_an_enforced_policy_wants_the_name_in_the_certificate_and_refuses_other_hosts() -> None:
    judged = judge(None, sts(StsMode.ENFORCE, "*.site.example"))
    assert judged.tls is VERIFY
    assert judged.demand is not None
    assert judged.demand.by_san
    assert judged.demand.mx_proved
    assert not judged.demand.tested
    other = judge(None, sts(StsMode.ENFORCE, "other.example"))
    assert (other.refused, other.result) == (True, "validation-failure")


def test_a_tested_policy_changes_nothing_but_what_is_told() -> None:
    judged = judge(None, sts(StsMode.TESTING, HOST))
    assert judged.tls is OPPORTUNISTIC
    assert judged.demand is not None
    assert judged.demand.tested
    other = judge(None, sts(StsMode.TESTING, "other.example"))
    assert (other.refused, other.tls, other.applied.problem) == (False, OPPORTUNISTIC, "validation-failure")


@pytest.mark.parametrize("level", [OPPORTUNISTIC, REQUIRED, VERIFY])
def test_what_the_configuration_demands_is_never_weakened(level: TlsPolicy) -> None:
    strict = [OPPORTUNISTIC, REQUIRED, VERIFY]
    founds = [
        StsFound(),
        sts(StsMode.NONE),
        sts(StsMode.TESTING, HOST),
        sts(StsMode.TESTING, "x.example"),
        sts(StsMode.ENFORCE, HOST),
    ]
    for answers in (None, SECURE, changed(tlsa=Proven(("0 0 1 " + "ab" * 32,), True))):
        for found in founds:
            judged = judge(answers, found, level)
            assert strict.index(judged.tls) >= strict.index(level)
            assert level is not VERIFY or judged.demand is None or not judged.demand.tested


def test_an_address_literal_has_no_policy() -> None:
    judged = judge(SECURE, sts(StsMode.ENFORCE, "other.example"), host="[11.22.33.44]", domain="[11.22.33.44]")
    assert (judged.tls, judged.refused, judged.demand) == (OPPORTUNISTIC, False, None)


def test_each_connection_is_told_with_its_policy_and_with_what_was_wrong_with_that() -> None:
    told: list[TlsSession] = []

    async def run(found: StsFound) -> None:
        policies = TlsPolicies(FakeClock(), secure=None, sts=OnePolicy(found), tell=told.append)
        await policies.judge(DOMAIN, [MailHost(HOST, ())], OPPORTUNISTIC)
        policies.note(TlsSession(DOMAIN, HOST, "11.22.33.44", ""))
        policies.note(TlsSession(DOMAIN, HOST, "11.22.33.44", "", "certificate-expired", "x"))
        policies.note(TlsSession("unknown.example", HOST, "11.22.33.44", ""))

    asyncio.run(run(StsFound(None, "sts-policy-fetch-error", "no connection")))
    assert [(one.applied.kind, one.result, one.reason) for one in told] == [
        ("sts", "sts-policy-fetch-error", "no connection"),
        ("sts", "certificate-expired", "x"),
        ("no-policy-found", "", ""),
    ]
