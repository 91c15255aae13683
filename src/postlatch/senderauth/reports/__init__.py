"""Reports of others about our domains, and ours about theirs: DMARC aggregate reports (RFC 9990), TLS-RPT (RFC 8460)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from postlatch.senderauth.reports.aggregate import parse_aggregate
from postlatch.senderauth.reports.tlsrpt import parse_tls
from postlatch.senderauth.reports.unpack import Format, unpack
from postlatch.senderauth.reports.values import AggregateReport, ReportError, TlsReport

__all__ = ["AggregateReport", "ReportError", "TlsReport", "read_report"]


def read_report(message: bytes | Iterable[bytes], rest: Callable[[], None] | None = None) -> AggregateReport | TlsReport:
    """The report in a raw message. ReportError, with a sentence, if there is none that can be read: never anything else.

    ``rest`` is called every 64 KiB of the report, some milliseconds of work: for a thread that others wait for.
    """
    unpacked = unpack(message)
    pieces = unpacked.pieces if rest is None else _resting(unpacked.pieces, rest)
    return parse_aggregate(pieces) if unpacked.format is Format.XML else parse_tls(pieces)


def _resting(pieces: Iterator[bytes], rest: Callable[[], None]) -> Iterator[bytes]:
    for piece in pieces:
        yield piece
        rest()
