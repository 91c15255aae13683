"""Bombs and declarations in reports: refused early, in bounded memory and time (RELIABILITY case 40)."""

from __future__ import annotations

import gzip
import io
import json
import random
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from itertools import chain, repeat

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from report_samples import NEW, OLD, TLS_JSON, gzipped, mail, zipped, zipped_files

from postlatch.senderauth.reports import AggregateReport, ReportError, TlsReport, inflate, read_report
from postlatch.senderauth.reports.aggregate import parse_aggregate
from postlatch.senderauth.reports.tlsrpt import parse_tls
from postlatch.senderauth.reports.unpack import MAX_MESSAGE

MIB = 2**20


def noise(size: int) -> bytes:
    """XML that is long, well-formed so far and does not compress well."""
    return b"<feedback>" + random.Random(1).randbytes(size // 2).hex().encode()


def refused(message: bytes, sentence: str, most: int = 40 * MIB) -> None:
    """A ReportError with that sentence, and not more than ``most`` octets of memory on the way."""
    tracemalloc.start()
    try:
        with pytest.raises(ReportError, match=sentence):
            read_report(message)
        assert tracemalloc.get_traced_memory()[1] < most
    finally:
        tracemalloc.stop()


def test_a_gzip_bomb_is_stopped_by_its_ratio_long_before_it_is_large() -> None:
    bomb = gzip.compress(b"<feedback>" + b" " * (300 * MIB), 9)
    assert len(bomb) < MIB
    refused(mail(bomb), "more than 200 times its size", 8 * MIB)


def test_a_zip_bomb_is_stopped_by_its_ratio() -> None:
    bomb = zipped(b"<feedback>" + b" " * (45 * MIB))
    refused(mail(bomb, "application/zip", "r.zip"), "more than 200 times its size", 8 * MIB)


def test_a_zip_that_says_how_large_it_gets_is_refused_at_once() -> None:
    bomb = zipped(b"<feedback>" + b" " * (51 * MIB))
    refused(mail(bomb, "application/zip", "r.zip"), "more than 50 MiB", 2 * MIB)


def test_a_zip_that_lies_about_its_size_is_stopped_all_the_same() -> None:
    bomb = bytearray(zipped(b"<feedback>" + b" " * (51 * MIB)))
    entry = bomb.rindex(b"PK\x01\x02")
    struct.pack_into("<L", bomb, entry + 24, 1000)
    refused(mail(bytes(bomb), "application/zip", "r.zip"), "more than 200 times its size", 8 * MIB)


def test_what_inflates_slowly_but_for_ever_is_stopped_by_its_size() -> None:
    data = gzip.compress(noise(53 * MIB), 1)
    assert len(data) * 200 > 53 * MIB
    with pytest.raises(ReportError, match="more than 50 MiB"):
        for _ in inflate.contents(data):
            pass


def test_memory_does_not_grow_with_the_length_of_the_report() -> None:
    text = b"<error>" + b"long " * 13_000 + b"</error>"
    place = OLD.index(b"<date_range>")
    tracemalloc.start()
    report = parse_aggregate(chain([OLD[:place]], repeat(text, 800), [OLD[place:]]))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(text) * 800 > 49 * MIB
    assert len(report.errors) == 20
    assert peak < 2 * MIB


def test_a_zip_in_a_zip_is_refused() -> None:
    refused(mail(zipped(zipped(OLD), "inner.zip"), "application/zip", "r.zip"), "compressed twice")
    refused(mail(zipped(zipped(OLD), "inner.xml"), "application/zip", "r.zip"), "compressed twice")
    refused(mail(zipped(gzipped(OLD), "inner.xml"), "application/zip", "r.zip"), "compressed twice")
    refused(mail(gzipped(gzipped(OLD))), "compressed twice")
    refused(mail(gzipped(zipped(OLD))), "compressed twice")


def test_a_zip_of_several_files_or_of_none_is_refused() -> None:
    refused(mail(zipped_files({"a.xml": OLD, "b.xml": OLD}), "application/zip", "r.zip"), "zip file of 2 files")
    refused(mail(zipped_files({}), "application/zip", "r.zip"), "zip file of 0 files")


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "a/b.xml", "..\\x.xml", ".."])
def test_a_zip_with_a_path_is_refused(name: str) -> None:
    refused(mail(zipped(OLD, name), "application/zip", "r.zip"), "named like a path")


def test_a_zip_that_is_encrypted_damaged_or_unusual_is_refused() -> None:
    good = zipped(OLD)
    entry = good.rindex(b"PK\x01\x02")

    def changed(place: int, form: str, value: int) -> bytes:
        copy = bytearray(good)
        struct.pack_into(form, copy, place, value)
        return mail(bytes(copy), "application/zip", "r.zip")

    refused(changed(entry + 8, "<H", 1), "encrypted")
    refused(changed(entry + 10, "<H", 12), "unusual compression")
    refused(changed(entry + 16, "<L", 7), "damaged")
    refused(changed(entry + 42, "<L", 2**32 - 1), "damaged")
    refused(changed(entry + 20, "<L", 2**31), "damaged")
    for end in (0, 4, 30, len(good) // 2, len(good) - 1):
        if end > 3:
            refused(mail(good[:end], "application/zip", "r.zip"), "damaged")


def test_a_gzip_of_very_many_members_is_refused() -> None:
    refused(mail(gzip.compress(b" ") * 101 + gzipped(OLD)), "more than 100 members")


def test_a_message_that_is_too_large_is_refused_before_it_is_gathered() -> None:
    taken: list[int] = []

    def endless() -> object:
        while True:
            taken.append(1)
            yield b"x" * MIB

    with pytest.raises(ReportError, match="larger than 10 MiB"):
        read_report(endless())  # type: ignore[arg-type]
    assert len(taken) == MAX_MESSAGE // MIB + 1


LAUGHS = b"""<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY a "lol"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">
<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;"><!ENTITY d "&c;&c;&c;&c;&c;&c;&c;&c;&c;&c;">]><feedback>&d;</feedback>"""
EXTERNAL = (
    b'<?xml version="1.0"?><!DOCTYPE f [<!ENTITY x SYSTEM "file:///etc/passwd">]><feedback><version>&x;</version></feedback>'
)
REMOTE = b'<?xml version="1.0"?><!DOCTYPE feedback SYSTEM "http://127.0.0.1:1/evil.dtd"><feedback/>'
PARAMETER = b'<!DOCTYPE f [<!ENTITY % p SYSTEM "file:///dev/zero"> %p;]><feedback/>'


@pytest.mark.parametrize("xml", [LAUGHS, EXTERNAL, REMOTE, PARAMETER])
@pytest.mark.parametrize("size", [1, 5, 10_000])
def test_a_document_type_or_an_entity_is_refused_however_it_is_cut(xml: bytes, size: int) -> None:
    with pytest.raises(ReportError, match="declares a document type or an entity"):
        parse_aggregate(xml[i : i + size] for i in range(0, len(xml), size))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32-le"])
def test_a_declaration_does_not_hide_in_another_encoding(encoding: str) -> None:
    refused(mail(LAUGHS.decode().encode(encoding), "text/xml", "r.xml"), "UTF-16|neither XML nor JSON")


def test_an_entity_that_nobody_declared_is_refused() -> None:
    refused(mail(b"<feedback>&xxe;</feedback>", "text/xml", "r.xml"), "not well-formed")


def test_one_endless_tag_or_comment_is_stopped() -> None:
    for start, filling in ((b"<feedback a='", b"x"), (b"<feedback><!-- ", b"x"), (b"<feedback><a ", b"b='' ")):
        with pytest.raises(ReportError, match="tag or comment"):
            parse_aggregate(start + filling * 64_000 if i == 0 else filling * 64_000 for i in range(100))


def test_a_long_text_is_no_tag_and_is_cut() -> None:
    xml = OLD.replace(b"google.com</org_name>", b"g" * 5 * MIB + b"</org_name>")
    pieces = [xml[i : i + 65536] for i in range(0, len(xml), 65536)]
    assert len(parse_aggregate(pieces).reporter) == 500


def test_deep_elements_and_very_many_elements_are_refused() -> None:
    with pytest.raises(ReportError, match="deep"):
        parse_aggregate([b"<feedback>" + b"<a>" * 100])
    with pytest.raises(ReportError, match="deep"):
        parse_aggregate([b"<feedback>" + b'<a xmlns="x">' * 100])
    with pytest.raises(ReportError, match="elements"):
        parse_aggregate([b"<feedback>", *[b"<a/>" * 10_000] * 201])


def nested(opening: bytes, depth: int) -> bytes:
    return b'{"x":' + opening * depth


@pytest.mark.parametrize("data", [nested(b"[", 100_000), nested(b'{"a":', 100_000), b'{"a":[' + b"[]," * 1_000_000])
def test_json_that_is_deep_or_has_very_many_values_is_refused_before_it_is_parsed(data: bytes) -> None:
    with pytest.raises(ReportError, match=r"deep|objects and lists"):
        parse_tls([data])


@pytest.mark.parametrize("data", [b'{"' + b'\\"' * 1_500_000, b'{"a":"' + b"\\" * 3_000_000])
def test_json_strings_that_do_not_end_take_no_time(data: bytes) -> None:
    with pytest.raises(ReportError, match="not valid JSON"):
        parse_tls([data])


def test_json_that_is_too_large_is_refused() -> None:
    with pytest.raises(ReportError, match="larger than 4 MiB"):
        parse_tls([b"{"] + [b" " * MIB] * 5)


def test_parts_that_are_deep_or_very_many_are_refused() -> None:
    deep = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (i, i) for i in range(50))
    refused(deep, "parts in parts")
    many = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\nx\r\n" * 500
    refused(many, "more than 100 parts")
    refused(b"X: " + b"y" * 70_000 + b"\r\n\r\n", "header of more than")


def test_ten_mebibytes_of_boundaries_take_a_moment_and_no_memory() -> None:
    body = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"\r\n--bb" * (MAX_MESSAGE // 6 - 100)
    refused(body, "more than 10000 boundaries")


SAMPLES = (gzipped(OLD), zipped(OLD), gzipped(NEW), gzipped(TLS_JSON), OLD, NEW, TLS_JSON)
READERS: tuple[Callable[[bytes], object], ...] = (
    read_report,
    lambda data: read_report(mail(data)),
    lambda data: parse_aggregate([data]),
    lambda data: parse_tls([data]),
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(SAMPLES), st.data())
def test_damaged_reports_are_reports_or_refused_and_nothing_else(sample: bytes, data: st.DataObject) -> None:
    damaged = bytearray(sample)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(damaged) - 1))
        damaged[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=4))
    for read in READERS:
        check(read, bytes(damaged))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_any_octets_are_a_report_or_refused(data: bytes) -> None:
    for read in READERS:
        check(read, data)


def check(read: Callable[[bytes], object], data: bytes) -> None:
    try:
        report = read(data)
    except ReportError as error:
        report = error
    if isinstance(report, ReportError):
        assert str(report).isascii()
        assert str(report).isprintable()
        return
    assert isinstance(report, AggregateReport | TlsReport)
    shown = json.dumps(report, default=str)
    assert shown.isascii()
    assert len(report.reporter) <= 500


def test_the_standard_library_reads_the_same_zip() -> None:
    with zipfile.ZipFile(io.BytesIO(zipped(OLD))) as archive:
        assert archive.read(archive.namelist()[0]) == b"".join(inflate.contents(zipped(OLD)))
