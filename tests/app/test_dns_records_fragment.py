"""The fragment is a zone file: what is published from it is what was meant, whatever a zone held before."""

from __future__ import annotations

from ipaddress import ip_address

import dns.rdata
import pytest
from dns.rdtypes.ANY.TXT import TXT
from dns_records_support import DOMAIN, GOOD, HOST, KEY, SITE, V4, by_place, loaded, looked_at, mended, spoiled
from hypothesis import example, given, settings
from hypothesis import strategies as st

from postlatch.app.dns_records.fragment import STRING, quoted, record
from postlatch.app.dns_records.wanted import KeyRecord

LONG_KEY = KeyRecord(DOMAIN, "rsa", "v=DKIM1; k=rsa; p=" + "A" * 376, "active")


def read(text: str) -> tuple[bytes, ...]:
    """The strings of a TXT record as another zone parser reads them."""
    data = dns.rdata.from_text("IN", "TXT", text)
    assert isinstance(data, TXT)
    return data.strings


@given(st.binary(max_size=2000))
@example(b"")
@example(b'"\\;\n\r\t\x00\x7f\xff' * 100)
@example(b"\\" * 255 + b'"' * 256)
def test_any_text_is_read_back_in_strings_of_at_most_255_octets(text: bytes) -> None:
    written = quoted(text)
    assert written.isascii()
    assert written.isprintable()
    strings = read(written)
    assert b"".join(strings) == text
    assert all(len(string) <= STRING for string in strings)
    assert len(strings) == max(1, -(-len(text) // STRING))


@given(st.text(max_size=300), st.text(max_size=100))
def test_no_record_is_more_than_one_line(data: str, name: str) -> None:
    for kind in ("TXT", "MX", "CAA"):
        assert record(name, kind, data).isprintable()
        assert record(name, kind, data).isascii()


def test_a_bare_zone_gets_everything_and_is_right_then() -> None:
    own = (ip_address(V4),)
    site = SITE._replace(own=own, bound=own, versions=frozenset({4}))
    before = {
        "com": GOOD["com"],
        DOMAIN: {"NS": ["ns1.example.net."]},
        "44.33.22.11.in-addr.arpa": {"PTR": ["mail.example.com."]},
    }
    rows, text = looked_at(before, site)
    assert {row.status for row in rows} == {"missing", "optional", "ok", "wrong"}
    assert {(name, kind) for name, kind, _ in loaded(text)} == {
        (DOMAIN, "MX"),
        (HOST, "A"),
        (DOMAIN, "TXT"),
        ("s1._domainkey.example.com", "TXT"),
        ("_dmarc.example.com", "TXT"),
        ("_smtp._tls.example.com", "TXT"),
    }
    after, rest = looked_at(mended(before, text), site)
    assert {row.status for row in after} == {"ok", "optional"}, by_place(after)
    assert all(line.startswith(";") for line in rest.splitlines())
    everything, rest = looked_at({**mended(before, text, optional=True), "mta-sts.example.com": {"A": [V4]}}, site)
    assert by_place(everything) == {}
    assert rest == ""


def test_a_key_longer_than_a_string_is_split_and_read_as_one() -> None:
    _, text = looked_at(spoiled({}), SITE._replace(keys=(KEY, LONG_KEY)))
    [line] = [line for line in text.splitlines() if line.startswith("rsa._domainkey")]
    assert line.count('"') == 4
    assert loaded(text) == [("rsa._domainkey.example.com", "TXT", LONG_KEY.record)]


@pytest.mark.parametrize(
    "hostile",
    [
        "v=spf1 mx\nevil.example. 3600 IN A 192.0.2.1\n -all",
        'v=spf1 "\\" ?all',
        "v=spf1 \x00\x1b[31m é ?all",
        "v=spf1 " + "x" * 9000,
    ],
)
def test_what_a_zone_held_before_stays_on_its_own_line(hostile: str) -> None:
    rows, text = looked_at(spoiled({DOMAIN: {"TXT": [hostile]}}))
    assert by_place(rows)[(DOMAIN, "TXT")].status == "wrong"
    assert {name for name, _, _ in loaded(text)} <= {DOMAIN}
    assert all(line.isascii() and line.isprintable() for line in text.splitlines())
    for row in (row.as_json() for row in rows):
        texts = [row["name"], row["why"], row["publish"], *row["published"]]
        assert all(one.isascii() and one.isprintable() for one in texts), texts
        assert all(len(one) <= 500 for one in row["published"])


_PLACES = [(name, kind) for name, types in GOOD.items() for kind in types] + [
    (DOMAIN, "CNAME"),
    (HOST, "CNAME"),
    ("*.example.com", "MX"),
]
_PIECES = st.sampled_from(
    [
        "v=spf1",
        "v=DMARC1",
        "p=",
        ";",
        "rua=mailto:",
        "v=STSv1",
        "id=",
        "v=DKIM1",
        " ",
        ",",
        "-all",
        "include:",
        "3 1 1 ",
        "10 ",
        ".",
    ]
)
_TEXTS = st.lists(st.one_of(_PIECES, st.text(st.characters(codec="utf-8"), max_size=20)), max_size=12).map("".join)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from(_PLACES), st.lists(_TEXTS, min_size=1, max_size=3), max_size=5))
def test_whatever_is_published_gives_rows_and_a_fragment_that_loads(changes: dict[tuple[str, str], list[str]]) -> None:
    zone = spoiled({})
    for (name, kind), texts in changes.items():
        zone.setdefault(name, {})[kind] = texts
    rows, text = looked_at(zone)
    loaded(text)
    assert all(line.isascii() and line.isprintable() for line in text.splitlines())
    for row in (row.as_json() for row in rows):
        assert row["why"]
        texts = [row["name"], row["why"], row["publish"], *row["published"]]
        assert all(one.isascii() and one.isprintable() for one in texts), texts


def test_records_of_another_zone_are_comments() -> None:
    site = SITE._replace(hostname="mx.example.org")
    _, text = looked_at(
        {DOMAIN: GOOD[DOMAIN], "example.org": {"NS": ["ns1.example.net."]}}, site._replace(own=(ip_address(V4),))
    )
    assert "; in another zone: mx.example.org. 3600 IN A 11.22.33.44" in text.splitlines()
    assert {name for name, _, _ in loaded(text)} <= {DOMAIN} | {
        f"{label}.example.com" for label in ("s1._domainkey", "_dmarc", "_smtp._tls")
    }


def test_a_host_in_a_zone_of_its_own_is_not_of_the_domains_zone() -> None:
    site = SITE._replace(hostname="mx.net.example.com", own=(ip_address(V4),))
    zone = {DOMAIN: GOOD[DOMAIN], "net.example.com": {"NS": ["ns1.example.net."]}}
    _, text = looked_at(zone, site)
    assert "; in another zone: mx.net.example.com. 3600 IN A 11.22.33.44" in text.splitlines()
    _, text = looked_at({DOMAIN: GOOD[DOMAIN]}, site)
    assert "mx.net.example.com. 3600 IN A 11.22.33.44" in text.splitlines()


def test_a_subdomain_is_in_the_zone_of_its_parent() -> None:
    _, text = looked_at(GOOD, SITE._replace(domain="news.example.com", keys=()))
    assert text.startswith("; For news.example.com, in the zone example.com.")
    assert "news.example.com. 3600 IN MX 10 mail.example.com." in text.splitlines()
