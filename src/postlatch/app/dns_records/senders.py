"""SPF and DKIM: what others check to know that mail is ours. RFC 7208, RFC 6376."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from postlatch.app.dns_records import spf, wanted
from postlatch.app.dns_records.hosts import unknown
from postlatch.app.dns_records.published import Found, Published, key_name, outgoing
from postlatch.app.dns_records.rows import Row, Status, listed, printable, sentences
from postlatch.app.dns_records.wanted import KeyRecord, Site
from postlatch.delivery.guard import is_public
from postlatch.model.envelope import IPAddress
from postlatch.senderauth.dkim.key import KeyRecordError, choose_key
from postlatch.senderauth.results import Result, SpfResult

_MANY_LOOKUPS = 9  # of 10 (RFC 7208 section 4.6.4): the next provider's include is one too many


def spf_rows(site: Site, published: Published) -> Iterator[Row]:
    """The domain's own record, and the one of the host name, by which bounces are checked."""
    found = published.at(site.domain, "TXT")
    if found.failure:
        yield unknown(site.domain, "TXT", found)
    else:
        yield _domain_spf(site, published, found)
    if site.hostname != site.domain and not site.smarthost:
        yield _host_spf(site, published)


def _domain_spf(site: Site, published: Published, found: Found) -> Row:
    records = tuple(text for text in found.records if spf.is_spf(text))
    if not records:
        return _no_spf(site, published, tuple(text for text in found.records if spf.meant_as_spf(text)))
    if len(records) > 1:
        why = (
            f"There are {len(records)} SPF records, and only one may be there: with more, the result is an error for all mail "
            "of this domain (RFC 7208 section 3.2). Put what they permit into one, and remove the others."
        )
        return Row(site.domain, "TXT", Status.WRONG, why, spf.merged(records), records, records)
    return _one_spf(site, published, records[0])


def _no_spf(site: Site, published: Published, meant: tuple[str, ...]) -> Row:
    status = Status.WRONG if meant else Status.MISSING
    why = (
        'What is published is no SPF record: it must begin with "v=spf1 ", without quotation marks of its own.'
        if meant
        else "There is no SPF record, so nobody can tell whether mail of this domain is yours; large providers then refuse it."
    )
    if site.smarthost:
        why = sentences(why, _ask_provider(site))
        return Row(site.domain, "TXT", status, why, "", meant, meant)
    named = {address.version for address in published.addresses(site.hostname)}
    # An address whose kind of record is missing is to be published for the host, and so is permitted by mx.
    beside = tuple(
        one for one in _outside(site, published) if one.version in named and one not in published.addresses(site.hostname)
    )
    return Row(site.domain, "TXT", status, why, wanted.spf(site, beside), meant, meant)


def _ask_provider(site: Site) -> str:
    return (
        f"Your mail leaves by {site.smarthost}: ask its provider what to include, and publish it like "
        '"v=spf1 mx include:NAME-THAT-THE-PROVIDER-TELLS-YOU -all".'
    )


def _outside(site: Site, published: Published) -> tuple[IPAddress, ...]:
    """Public addresses that mail leaves by."""
    return tuple(address for address in outgoing(site, published) if is_public(address))


def _one_spf(site: Site, published: Published, record: str) -> Row:
    results = [(address, result) for address, result in published.spf.ours if is_public(address)]
    stranger = published.spf.stranger

    def row(status: Status, why: str, publish: str = "") -> Row:
        return Row(site.domain, "TXT", status, why, publish, (record,), (record,) if publish else ())

    broken = next((result for _, result in results if result.result is Result.PERMERROR), None)
    if stranger is not None and stranger.result is Result.PERMERROR:
        broken = broken or stranger
    if broken is not None:
        at = f" The fault is at {printable(broken.mechanism, 60)}." if broken.mechanism else ""
        why = (
            f"The record is in error, so it protects nobody: {_reason(broken)}{at} Mend it; replace it by this one only if "
            "nobody but this relay sends mail of the domain."
        )
        return row(Status.WRONG, why, "" if site.smarthost else wanted.spf(site))
    if stranger is None or any(result.result is Result.TEMPERROR for _, result in [*results, (None, stranger)]):
        return row(Status.UNKNOWN, "The DNS could not be asked for everything that the record names: try again.")
    if stranger.result is Result.PASS:
        by = f" by {printable(stranger.mechanism, 60)}" if stranger.mechanism else ""
        ended = spf.closed(record) if spf.qualifier(record) in {"all", "+all"} else ""
        return row(
            Status.WRONG, f"The record permits everybody{by}, so every forged mail passes. It should end with -all.", ended
        )
    if site.smarthost:
        return _with_smarthost(site, record, row(Status.OK, _hints(record, stranger, results)))
    failing = [address for address, result in results if result.result is not Result.PASS]
    if failing:
        host = wanted.spf_host(site) if set(failing) <= set(published.addresses(site.hostname)) else ""
        why = (
            f"The record does not permit {listed(failing)}, from where this relay sends: its mail fails SPF, and receivers "
            "refuse it or call it spam. Permit it."
        )
        return row(Status.WRONG, why, spf.amended(_strict(record, stranger), failing, host))
    if stranger.result is Result.NEUTRAL:
        why = (
            "The record says nothing about anybody else (it ends without all, or with ?all), so forged mail is not told from "
            "yours. It should end with -all."
        )
        return row(Status.WRONG, why, _strict(record, stranger))
    return row(Status.OK, _hints(record, stranger, results))


def _strict(record: str, stranger: SpfResult) -> str:
    """With ``-all`` where the record left everybody else undecided; a redirect decides elsewhere and stays."""
    undecided = stranger.result is Result.NEUTRAL and "redirect=" not in record.lower()
    return spf.closed(record) if undecided else record


def _with_smarthost(site: Site, record: str, good: Row) -> Row:
    if spf.only_local(record):
        why = f"The record permits your own hosts only, so mail fails SPF. {_ask_provider(site)}"
        return good._replace(status=Status.WRONG, why=why)
    why = f"Compare with what the provider of {site.smarthost} tells you to include: this relay cannot know it."
    return good._replace(why=sentences(good.why, why))


def _hints(record: str, stranger: SpfResult, results: Sequence[tuple[IPAddress, SpfResult]]) -> str:
    passed = f"It permits {listed(address for address, _ in results)}, from where this relay sends." if results else ""
    soft = (
        "It ends with ~all: others should doubt what comes from elsewhere, and need not refuse it. Once nothing of yours fails "
        "any more, -all is clearer."
        if stranger.result is Result.SOFTFAIL
        else ""
    )
    lookups = max([stranger.lookups, *(result.lookups for _, result in results)])
    near = f"It needs {lookups} of the 10 look-ups that are permitted." if lookups >= _MANY_LOOKUPS else ""
    empty = "" if passed or soft or near or "all" in record.lower() else "It is there."
    return sentences(passed, soft, near, empty) or "It is there."


def _reason(result: SpfResult) -> str:
    text = printable(result.reason, 300).strip()
    return text if text.endswith(".") else f"{text}."


def _host_spf(site: Site, published: Published) -> Row:
    """RFC 7208 section 2.4: a bounce has no sender, and is checked by the name in EHLO."""
    name, found = site.hostname, published.at(site.hostname, "TXT")
    records = tuple(text for text in found.records if spf.is_spf(text))
    if found.failure:
        return unknown(name, "TXT", found)
    if not records:
        why = "For bounces, which have no sender: receivers check the host name instead. Mail works without it."
        return Row(name, "TXT", Status.OPTIONAL, why, "v=spf1 a -all")
    bad = [result for address, result in published.spf.helo if _says_no(address, result)]
    if bad:
        why = f"The host's own SPF record does not permit this relay, so its bounces are refused: {_reason(bad[0])}"
        return Row(name, "TXT", Status.WRONG, why, "v=spf1 a -all", records, records)
    return Row(name, "TXT", Status.OK, "Bounces of this relay pass SPF.", "", records)


def _says_no(address: IPAddress, result: SpfResult) -> bool:
    return is_public(address) and result.result in {Result.FAIL, Result.SOFTFAIL, Result.PERMERROR}


def dkim_rows(site: Site, published: Published) -> Iterator[Row]:
    """The key of each selector that is, was or will be in use."""
    keys = [key for key in site.keys if key.domain == site.domain]
    if not any(key.state != "removable" for key in keys):
        why = (
            f"This relay has no key for {site.domain}, so it does not sign its mail, and mail that is forwarded is not known "
            f"as yours. Make keys with: postlatch dkim keygen {site.domain}"
        )
        yield Row(f"_domainkey.{site.domain}", "TXT", Status.OPTIONAL, why)
    for key in keys:
        if key.state in _NO_KEY:
            yield _key(key, published)
        elif published.at(key_name(key.selector, key.domain), "TXT").records:
            why = "This key is out of use for good: the record may be removed."
            yield Row(key_name(key.selector, key.domain), "TXT", Status.OK, why, "", (key.record,))


_NO_KEY = {
    "new": "Publish this key: it signs once it is seen on all name servers of the domain.",
    "published": "This key was published and is gone again. Publish it: it is to sign soon.",
    "active": "Mail is signed with this key, and nobody can look it up: every signature fails. Publish it now.",
    "retired": (
        "This key signs no more, but mail that it signed is still under way and fails without the record. Publish it again "
        "until postlatch dkim list says that it may go."
    ),
}


def _key(key: KeyRecord, published: Published) -> Row:
    name = key_name(key.selector, key.domain)
    found = published.at(name, "TXT")

    def row(status: Status, why: str) -> Row:
        remove = tuple(text for text in found.records if text != key.record) if status is Status.WRONG else ()
        return Row(name, "TXT", status, why, key.record, found.records, remove)

    if found.failure:
        return unknown(name, "TXT", found)
    if not found.records:
        return row(Status.MISSING, _NO_KEY[key.state])
    try:
        there = choose_key([text.encode("ascii", "backslashreplace") for text in found.records])
        ours = choose_key([key.record.encode()])
    except KeyRecordError as error:
        quotes = "Quotation marks or backslashes were pasted with it." if _quoted(found, key) else ""
        why = sentences(
            f"Signatures with this key fail: {printable(str(error), 300)}.", quotes, "Publish the record as it is here."
        )
        return row(Status.WRONG, why)
    if there.public != ours.public:
        why = f"Another key than ours is published here, so every signature with {key.selector} fails. Publish ours."
        return row(Status.WRONG, why)
    if there.testing and not ours.testing:
        why = "The key is right, but t=y calls it a trial, and receivers may ignore its signatures. Remove t=y."
        return row(Status.WRONG, why)
    if key.state == "retired":
        return row(Status.OK, "This key signs no more; keep the record until postlatch dkim list says that it may go.")
    return row(Status.OK, "Others can check what this key signs.")


def _quoted(found: Found, key: KeyRecord) -> bool:
    """A provider's form took what is around the text in a zone file for a part of it."""
    if key.record in found.records:
        return False
    plain = (text.replace('"', "").replace("\\", "").replace(" ", "") for text in found.records)
    return key.record.replace(" ", "") in plain
