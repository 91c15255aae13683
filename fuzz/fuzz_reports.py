"""Reports of others: a report or a refusal, the same however cut, in bounded time, and only printable ASCII comes out.

Input: 8 octets of decisions, then what is read: a mail, an attachment of any packing, XML, or JSON.
"""

from __future__ import annotations

import base64
import gzip
import io
import json
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator

from harness import Bits, instrumented, pieces, run

with instrumented():
    from postlatch.senderauth.reports import AggregateReport, ReportError, TlsReport, read_report
    from postlatch.senderauth.reports.aggregate import parse_aggregate
    from postlatch.senderauth.reports.inflate import MAX_OCTETS, MAX_RATIO, contents
    from postlatch.senderauth.reports.tlsrpt import parse_tls

DECISIONS = 8
SLOW = 5.0  # seconds under instrumentation, for at most 64 KiB
_FREE = 128 * 1024  # octets: what no ratio is asked of, and one piece
Outcome = AggregateReport | TlsReport | str
Reader = Callable[[Iterable[bytes]], AggregateReport | TlsReport]


def one_input(data: bytes) -> None:
    """One input, as one of what it may be."""
    bits, text = Bits(data[:DECISIONS]), data[DECISIONS:]
    began = time.thread_time()  # of this thread: how busy the machine is decides nothing
    kind = bits.take(3)
    if kind == 0:
        alike(read_report, text, bits)
    elif kind == 1:
        alike(parse_aggregate, text, bits)
    elif kind == 2:
        alike(parse_tls, text, bits)
    elif kind == 3:
        bounded(text)
    else:
        packed = (gzip.compress(text, 1), zipped(text), text, text)[kind - 4]
        outcome(read_report, [mail(packed, ("application/gzip", "application/zip", "text/xml", "x/y; name=a.json")[kind - 4])])
    assert time.thread_time() - began < SLOW


def alike(reader: Reader, text: bytes, bits: Bits) -> None:
    """Whole and in pieces it comes to the same, unless it is refused, and then both are."""
    whole, cut = outcome(reader, [text]), outcome(reader, pieces(text, bits))
    assert isinstance(whole, str) == isinstance(cut, str)
    assert isinstance(whole, str) or whole == cut


def outcome(reader: Reader, parts: Iterable[bytes]) -> Outcome:
    """The report, or the sentence of a refusal."""
    try:
        found = reader(parts)
    except ReportError as error:
        sentence = str(error)
        assert sentence.isascii()
        assert sentence.isprintable()
        assert len(sentence) < 700
        return sentence
    shown = json.dumps(found, default=str, ensure_ascii=False)
    assert shown.isascii()
    assert shown.isprintable()
    return found


def bounded(text: bytes) -> None:
    """What comes out of an attachment is in proportion to it."""
    made = 0
    try:
        for piece in contents(text):
            made += len(piece)
            assert made <= MAX_OCTETS
            assert made <= max(len(text) * MAX_RATIO, _FREE)
    except ReportError:
        return


def zipped(content: bytes) -> bytes:
    """A zip of one file."""
    output = io.BytesIO()
    with zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("r.xml", content)
    return output.getvalue()


def mail(content: bytes, kind: str) -> bytes:
    """A message that is nothing but the attachment."""
    head = f"From: a@example.com\r\nContent-Type: {kind}\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    return head.encode() + base64.encodebytes(content)


_XML = b"""<?xml version="1.0"?><feedback xmlns="urn:ietf:params:xml:ns:dmarc-2.0"><version>1.0</version><report_metadata>
<org_name>r.example</org_name><email>a@r.example</email><report_id>1</report_id><date_range><begin>1</begin><end>2</end>
</date_range></report_metadata><policy_published><domain>example.com</domain><p>none</p><sp>none</sp></policy_published>
<record><row><source_ip>192.0.2.1</source_ip><count>3</count><policy_evaluated><disposition>none</disposition>
<dkim>pass</dkim><spf>fail</spf><reason><type>other</type><comment>&lt;c&#10;&gt;</comment></reason></policy_evaluated></row>
<identifiers><header_from>example.com</header_from></identifiers><auth_results><dkim><domain>example.com</domain>
<selector>s</selector><result>pass</result></dkim><spf><domain>example.com</domain><result>fail</result></spf></auth_results>
</record></feedback>"""
_JSON = (
    b'{"organization-name":"X","date-range":{"start-datetime":"2026-04-01T00:00:00Z","end-datetime":"2026-04-01T23:59:59Z"},'
    b'"report-id":"1","policies":[{"policy":{"policy-type":"sts","policy-domain":"example.com"},"summary":'
    b'{"total-successful-session-count":1,"total-failure-session-count":2},"failure-details":'
    b'[{"result-type":"certificate-expired","sending-mta-ip":"::1","failed-session-count":2}]}]}'
)
_PARTS = (
    b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nwords\r\n--b\r\n"
    b"Content-Type: text/xml;\r\n\tname*0=a; name*1=.xml\r\n\r\n" + _XML + b"\r\n--b--\r\n"
)


def seeds() -> Iterator[bytes]:
    """Each of what it may be, cut in two ways."""
    texts = {
        0: (mail(gzip.compress(_XML), "application/gzip"), mail(zipped(_XML), "application/zip"), _PARTS),
        1: (
            _XML,
            b'<!DOCTYPE f [<!ENTITY a "b">]><feedback>&a;</feedback>',
            b'<?xml version="1.0" encoding="iso-8859-1"?><feedback/>',
        ),
        2: (_JSON, b'{"a":[[[[[[[[[[[[[1]]]]]]]]]]]]]}'),
        3: (gzip.compress(b" " * 100_000), zipped(b"<a/>" * 30_000), gzip.compress(gzip.compress(b"x"))),
        4: (_XML,),
        5: (_XML,),
        6: (_XML,),
        7: (_JSON,),
    }
    for kind, several in texts.items():
        for text in several:
            for more in (0x08, 0x10):
                yield bytes((kind | more, 0x31, 0x77, 0x05, 0x99, 0, 0, 1)) + text


if __name__ == "__main__":
    run(one_input, seeds)
