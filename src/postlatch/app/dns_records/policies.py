"""DMARC, MTA-STS and TLS-RPT: what others are to do, and where they are to tell what they saw. RFC 9989, 8461, 8460."""

from __future__ import annotations

from collections.abc import Iterator

from postlatch.app.dns_records import tags, wanted
from postlatch.app.dns_records.hosts import unknown
from postlatch.app.dns_records.published import Found, Published
from postlatch.app.dns_records.rows import Row, Status, listed, printable, sentences
from postlatch.app.dns_records.transport import certificate_fault
from postlatch.app.dns_records.wanted import Site
from postlatch.senderauth.dmarc.parse import report_addresses
from postlatch.senderauth.results import Result

_POLICIES = ("none", "quarantine", "reject")


def dmarc_rows(site: Site, published: Published) -> Iterator[Row]:
    """The policy of the domain, and the consent of those who are to get the reports."""
    name = f"_dmarc.{site.domain}"
    found = published.at(name, "TXT")
    policy = published.dmarc
    if found.failure or policy is None:
        yield unknown(name, "TXT", found if found.failure else Found(failure="there was no answer in time"))
        return
    chosen = tags.choose(found.records, "DMARC1")
    if not chosen.records and policy.problem is Result.TEMPERROR:
        yield unknown(name, "TXT", Found(failure=policy.reason))
    elif not chosen.records and policy.inherited and policy.problem is None:
        asked = policy.asked_for.value if policy.asked_for is not None else "what it says of subdomains"
        parent = printable(policy.domain, 253)
        why = f"The record of {parent} holds here too, with the policy {asked}. One of its own may stay away."
        yield Row(name, "TXT", Status.OPTIONAL, why, wanted.dmarc(site))
    else:
        yield _dmarc(site, name, found, chosen)
    yield from _consents(site, published)


def _dmarc(site: Site, name: str, found: Found, chosen: tags.Chosen) -> Row:
    want = wanted.dmarc(site)
    if not chosen.records and not chosen.meant:
        why = (
            "There is no DMARC record: forged mail in your name is not refused, and large providers ask for one. Begin with "
            "p=none, which changes nothing and lets others report."
        )
        return Row(name, "TXT", Status.MISSING, sentences(why, _no_reports(site)), want, found.records)
    if not chosen.records:
        why = f'{listed(chosen.meant, 1)} is no DMARC record: it must begin with exactly "v=DMARC1;". Nobody follows it.'
        return Row(name, "TXT", Status.WRONG, why, want, chosen.meant, chosen.meant)
    if len(chosen.records) > 1:
        why = f"There are {len(chosen.records)} DMARC records, and with more than one none counts. Keep one of them."
        keep = next((text for text in chosen.records if not _fault(text)), chosen.records[0])
        remove = tuple(text for text in chosen.records if text != keep)
        return Row(name, "TXT", Status.WRONG, why, keep, chosen.records, remove)
    record = chosen.records[0]
    fault = _fault(record)
    if fault:
        why = f"The DMARC record is faulty: {fault} Receivers ignore it, or the part with the fault."
        policy = _values(record)[0].get("p", "").lower()
        want = wanted.dmarc(site, policy) if policy in _POLICIES else want
        return Row(name, "TXT", Status.WRONG, why, want, chosen.records, chosen.records)
    return _whole_dmarc(site, name, record)


def _no_reports(site: Site) -> str:
    return "" if site.dmarc_reports else "With an address in [reports] dmarc, reports are asked for as well."


def _fault(record: str) -> str:
    """What is wrong with a record: a receiver ignores what it does not understand, and its owner must not."""
    values, broken = _values(record)
    if broken:
        return f"{broken}."
    if "p" not in values:
        return "it has no p=, which says what is to be done with mail that fails: none, quarantine or reject."
    checks = {"p": _POLICIES, "sp": _POLICIES, "np": _POLICIES, "adkim": ("r", "s"), "aspf": ("r", "s"), "t": ("y", "n")}
    for tag, allowed in checks.items():
        if tag in values and values[tag].lower() not in allowed:
            return f"{tag}={printable(values[tag], 40)} is not one of {', '.join(allowed)}."
    for tag in ("rua", "ruf"):
        faulty = [uri for uri in values.get(tag, "").split(",") if uri.strip() and not report_addresses(uri)[1]]
        if faulty or values.get(tag) == "":
            return f'{tag}={printable(",".join(faulty), 100)} is no address for reports: write "mailto:reports@example.com".'
    return ""


def _values(record: str) -> tuple[dict[str, str], str]:
    """The tags of a DMARC record, whose names have no case (RFC 9989), and what is wrong with the list."""
    found, broken = tags.read(record)
    return {name.lower(): value for name, value in found.items()}, broken


def _whole_dmarc(site: Site, name: str, record: str) -> Row:
    found, _ = _values(record)
    rua, _ = report_addresses(found.get("rua", ""))
    if site.dmarc_reports and site.dmarc_reports.lower() not in {address.lower() for address in rua}:
        added = f"mailto:{wanted.uri_address(site.dmarc_reports)}"
        publish = record.replace(f"rua={found['rua']}", f"rua={found['rua']},{added}") if found.get("rua") else ""
        publish = publish or f"{record.rstrip('; ')}; rua={added}"
        why = (
            f"[reports] dmarc waits for reports at {site.dmarc_reports}, and this record does not ask for any to be sent "
            "there. Add the address."
        )
        return Row(name, "TXT", Status.WRONG, why, publish, (record,), (record,))
    return Row(name, "TXT", Status.OK, sentences(_next_step(site, found, reported=bool(rua)), _old(found)), "", (record,))


def _next_step(site: Site, found: dict[str, str], *, reported: bool) -> str:
    policy = found["p"].lower()
    if found.get("t", "").lower() == "y":
        return "t=y: receivers apply the next weaker policy while you try. Remove it once the reports show only your own mail."
    if policy == "none" and not reported:
        return "p=none and no rua=: it changes nothing and nobody tells you anything. Add an address for reports."
    if policy == "none":
        return (
            "p=none changes nothing yet. When the reports (postlatch reports) show for some weeks that all of your own mail "
            "passes, go on to p=quarantine, and after some more to p=reject."
        )
    unsigned = (
        ""
        if any(key.state == "active" and key.domain == site.domain for key in site.keys)
        else ("This relay does not sign for the domain: mail that others forward is refused by this policy. Make DKIM keys.")
    )
    if policy == "quarantine":
        return sentences(
            "Mail that fails is put aside by receivers. When nothing of yours is among it, go on to p=reject.", unsigned
        )
    return sentences("Mail that fails is refused by receivers: forgers cannot use your name.", unsigned)


def _old(found: dict[str, str]) -> str:
    return "pct= is no longer in use (RFC 9989) and can be removed." if "pct" in found else ""


def _consents(site: Site, published: Published) -> Iterator[Row]:
    """Nobody gets reports about others whom they did not agree to (RFC 9990)."""
    policy = published.dmarc
    about = policy.domain if policy is not None and policy.domain else site.domain
    for receiver, destination in published.destinations.items():
        shown = printable(receiver, 253)
        name = f"{printable(about, 253)}._report._dmarc.{shown}"
        if destination.temporary:
            yield unknown(name, "TXT", Found(failure=destination.reason))
        elif not destination.allowed:
            ask = f"Ask whoever runs {shown} to publish it, or name another address in rua=."
            why = f"{shown} does not say that it takes reports about {about}, so nobody sends any there."
            why = sentences(why, "Publish it." if receiver in site.ours else ask)
            yield Row(name, "TXT", Status.MISSING, why, "v=DMARC1")


def sts_rows(site: Site, published: Published) -> Iterator[Row]:
    """MTA-STS: that others must deliver with TLS and a certificate that they trust."""
    name = f"_mta-sts.{site.domain}"
    found = published.at(name, "TXT")
    url = f"https://mta-sts.{site.domain}/.well-known/mta-sts.txt"
    note = (f"the file to serve at {url}:", *(f"  {line}" for line in wanted.sts_policy(site)))
    chosen = tags.choose(found.records, "STSv1")
    if found.failure:
        yield unknown(name, "TXT", found)
    elif not chosen.records and not chosen.meant:
        why = (
            f"With it others deliver under TLS only, and check your certificate. First serve the policy file at {url} (it is "
            "in the fragment), then publish the record. Mail works without it."
        )
        yield Row(name, "TXT", Status.OPTIONAL, why, wanted.sts(site), note=note)
    else:
        yield _sts(site, published, name, chosen, url)._replace(note=note)


def _sts(site: Site, published: Published, name: str, chosen: tags.Chosen, url: str) -> Row:
    records = chosen.records or chosen.meant

    def row(status: Status, why: str, publish: str = "") -> Row:
        return Row(name, "TXT", status, why, publish, records, records if publish else ())

    if len(chosen.records) != 1:
        why = "Exactly one record that begins with v=STSv1; must be here; as it is, others act as if there were none."
        return row(Status.WRONG, why, wanted.sts(site))
    found, broken = tags.read(records[0])
    number = found.get("id", "")
    if broken or not (number.isascii() and number.isalnum() and len(number) <= 32):
        why = (
            f"The record is faulty: {broken or 'its id= must be 1 to 32 letters and digits'}. Others act as if there were none."
        )
        return row(Status.WRONG, why, wanted.sts(site))
    answers = [published.at(f"mta-sts.{site.domain}", kind) for kind in ("A", "AAAA")]
    if not any(answer.records for answer in answers):
        if failure := next((answer.failure for answer in answers if answer.failure), ""):
            return unknown(name, "TXT", Found(failure=failure))
        why = (
            f"mta-sts.{site.domain} has no address, so nobody can fetch the policy. Point it to a web server that serves {url}."
        )
        return row(Status.WRONG, why)
    if fault := certificate_fault(site):
        why = f"The policy asks others to check the certificate, and {fault}: with mode enforce they do not deliver."
        return row(Status.WRONG, f"{why} Get another certificate.")
    why = f"The policy file was not fetched: see that {url} names {site.hostname} (mx:)."
    return row(Status.OK, f"{why} Change id= whenever you change the file.")


def tls_rpt_rows(site: Site, published: Published) -> Iterator[Row]:
    """TLS-RPT: that others tell when TLS towards us fails."""
    name, want = f"_smtp._tls.{site.domain}", wanted.tls_rpt(site)
    found = published.at(name, "TXT")
    chosen = tags.choose(found.records, "TLSRPTv1")
    if found.failure:
        yield unknown(name, "TXT", found)
    elif not chosen.records and not chosen.meant:
        why = "With it others report once a day when TLS towards this relay failed."
        if want:
            yield Row(name, "TXT", Status.MISSING, f"{why} [reports] tls waits for these reports.", want)
        else:
            yield Row(name, "TXT", Status.OPTIONAL, f"{why} Set [reports] tls to an address of yours to use it.")
    else:
        yield _tls_rpt(site, name, chosen, want)


def _tls_rpt(site: Site, name: str, chosen: tags.Chosen, want: str) -> Row:
    records = chosen.records or chosen.meant

    def row(status: Status, why: str) -> Row:
        remove = records if status is Status.WRONG else ()
        return Row(name, "TXT", status, why, want if status is Status.WRONG else "", records, remove)

    if len(chosen.records) != 1:
        return row(Status.WRONG, "Exactly one record that begins with v=TLSRPTv1; must be here; as it is, nobody reports.")
    found, broken = tags.read(records[0])
    uris = [uri.strip() for uri in found.get("rua", "").split(",")]
    if broken or not all(uri.startswith("https://") or report_addresses(uri)[0] for uri in uris):
        why = broken or "its rua= must name addresses, like mailto:tls-reports@example.com, or https:// URLs"
        return row(Status.WRONG, f"The record is faulty: {why}. Nobody reports.")
    mailboxes = {address.lower() for uri in uris for address in report_addresses(uri)[0]}
    if site.tls_reports and site.tls_reports.lower() not in mailboxes:
        return row(
            Status.WRONG, f"[reports] tls waits for reports at {site.tls_reports}, and this record sends them elsewhere."
        )
    return row(Status.OK, "Others report when TLS fails.")
