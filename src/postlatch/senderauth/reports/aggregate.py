"""DMARC aggregate reports: RFC 9990, and the older format of RFC 7489 appendix C, which many still send.

Read as a stream: what is kept is bounded by the rows and texts that are kept, however long the document. A document type, and
with it every entity (XXE, billion laughs), is refused before the parser sees it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final
from xml.parsers import expat

from postlatch.model.address import AddressError, parse_domain
from postlatch.senderauth.reports.values import (
    MAX_COUNT,
    MAX_ROWS,
    MAX_TEXT,
    AggregateReport,
    AuthResult,
    ReportError,
    Row,
    address,
    moment,
    number,
    printable,
)

MAX_ELEMENTS: Final = 2_000_000
_MAX_DEPTH: Final = 20
_MAX_MARKUP: Final = 256 * 1024  # octets of one tag or comment: the parser keeps it whole, and reads it again with each piece
_MAX_AUTH: Final = 100  # results of one row (RFC 9990 section 3.1.3)
_MAX_REASONS: Final = 20
_MAX_ERRORS: Final = 20
_LONGEST_NAME: Final = 300  # characters: what is longer is no domain
_DECLARATIONS: Final = (b"<!DOCTYPE", b"<!ENTITY", b"<!doctype", b"<!entity")
_ENCODINGS: Final = frozenset({"utf-8", "utf8", "us-ascii", "ascii", "iso-8859-1", "windows-1252"})
_DISPOSITIONS: Final = frozenset({"none", "pass", "quarantine", "reject"})
_POLICY: Final = frozenset({"p", "sp", "np", "adkim", "aspf", "fo", "pct", "t", "testing", "discovery_method"})
_RECORD: Final = ("feedback", "record")
_EVALUATED: Final = (*_RECORD, "row", "policy_evaluated")
_REASON: Final = (*_EVALUATED, "reason")
_AUTH: Final = ((*_RECORD, "auth_results", "dkim"), (*_RECORD, "auth_results", "spf"))
_Path = tuple[str, ...]


def parse_aggregate(pieces: Iterable[bytes]) -> AggregateReport:
    """Read a report. ReportError says what is wrong with it, whatever the octets are."""
    reader = _Reader()
    tail = b""
    for piece in pieces:
        joined = tail + piece
        if not tail and b"\0" in piece[:4]:
            raise ReportError("the report is in UTF-16 or UTF-32: write UTF-8")  # in which the marks would not be seen
        if any(mark in joined for mark in _DECLARATIONS):
            raise _declared()
        tail = joined[-16:]
        reader.feed(piece)
    reader.close()
    return reader.report()


def _declared() -> ReportError:
    return ReportError("the report declares a document type or an entity: no report needs one, and it is refused")


class _Reader:
    """The parser's events, gathered into a report."""

    def __init__(self) -> None:
        parser = expat.ParserCreate(namespace_separator=" ")
        parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
        parser.XmlDeclHandler = self._declaration
        parser.StartDoctypeDeclHandler = self._refuse
        parser.EntityDeclHandler = self._refuse
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._characters
        self._parser = parser
        self._fed = 0
        self._elements = 0
        self._namespace = ""
        self._path: _Path = ()
        self._unknown = 0  # how deep in what is not the report's own
        self._text: list[str] = []
        self._length = 0
        self._head: dict[_Path, str] = {}
        self._errors: list[str] = []
        self._record: dict[_Path, str] = {}
        self._auth: list[dict[str, str]] = []
        self._reasons: list[dict[str, str]] = []
        self._rows: list[Row] = []
        self._left_out = self._left_out_messages = 0

    def feed(self, piece: bytes) -> None:
        """One piece of the document."""
        self._parse(piece, last=False)
        self._fed += len(piece)
        if self._fed - self._parser.CurrentByteIndex > _MAX_MARKUP + len(piece):
            raise ReportError(f"the report has a tag or comment of more than {_MAX_MARKUP} octets")

    def close(self) -> None:
        """There is no more."""
        self._parse(b"", last=True)

    def _parse(self, piece: bytes, *, last: bool) -> None:
        try:
            self._parser.Parse(piece, last)
        except expat.ExpatError as error:
            raise ReportError(f"the report is not well-formed XML: {printable(str(error), 100)}") from None
        except (ValueError, LookupError):  # of a decoder
            raise ReportError("the report is in an encoding that cannot be read") from None

    # The parser's events

    def _declaration(self, _version: str, encoding: str | None, _standalone: int) -> None:
        if encoding is not None and encoding.lower() not in _ENCODINGS:
            raise ReportError(f"the report is in the encoding {printable(encoding, 40)}: write UTF-8")

    def _refuse(self, *_: object) -> None:
        raise _declared()

    def _start(self, name: str, _attributes: dict[str, str]) -> None:
        self._elements += 1
        if self._elements > MAX_ELEMENTS:
            raise ReportError(f"the report has more than {MAX_ELEMENTS} elements")
        namespace, _, local = name.rpartition(" ")
        if not self._path:
            self._root(namespace, local)
        elif self._unknown or namespace != self._namespace:
            self._unknown += 1  # an extension (RFC 9990 section 5)
            self._check_depth()
            return
        self._path = (*self._path, local)
        self._check_depth()
        self._text.clear()
        self._length = 0
        if self._path == _RECORD:
            self._record, self._auth, self._reasons = {}, [], []
        elif self._path in _AUTH:
            self._auth.append({"method": local})
        elif self._path == _REASON:
            self._reasons.append({})

    def _check_depth(self) -> None:
        if len(self._path) + self._unknown > _MAX_DEPTH:
            raise ReportError(f"the report has elements more than {_MAX_DEPTH} deep")

    def _root(self, namespace: str, local: str) -> None:
        if local != "feedback":
            raise ReportError(f"the report's XML is a <{printable(local, 40)}>, not a DMARC <feedback>")
        self._namespace = namespace

    def _characters(self, text: str) -> None:
        if not self._unknown and self._length < 2 * MAX_TEXT:
            self._text.append(text[: 2 * MAX_TEXT])
            self._length += len(text)

    def _end(self, _name: str) -> None:
        if self._unknown:
            self._unknown -= 1
            return
        text, path = "".join(self._text).strip(), self._path
        self._text.clear()
        self._length = 0
        self._path = path[:-1]
        if path == _RECORD:
            self._finish_record()
        elif text:
            self._keep(path, text)

    def _keep(self, path: _Path, text: str) -> None:
        parent, name = path[:-1], path[-1]
        if parent in _AUTH:
            if len(self._auth) <= _MAX_AUTH:
                self._auth[-1].setdefault(name, text)
        elif parent == _REASON:
            if len(self._reasons) <= _MAX_REASONS:
                self._reasons[-1].setdefault(name, text)
        elif path[:2] == _RECORD:
            if len(path) <= len(_EVALUATED) + 1:
                self._record.setdefault(path[2:], text)
        elif path == ("feedback", "report_metadata", "error"):
            if len(self._errors) < _MAX_ERRORS:
                self._errors.append(printable(text))
        elif len(path) <= 4 and len(self._head) < 100:
            self._head.setdefault(path[1:], text)

    # What they come to

    def _finish_record(self) -> None:
        row = self._row()
        count = number(self._record.get(("row", "count"), ""), MAX_COUNT) or 0
        if row is not None and len(self._rows) < MAX_ROWS:
            self._rows.append(row)
        elif row is None or row.messages:
            self._left_out += 1
            self._left_out_messages += count

    def _row(self) -> Row | None:
        """None if it says neither who nor how many."""
        said = self._record
        source = address(said.get(("row", "source_ip"), ""))
        count = number(said.get(("row", "count"), ""), MAX_COUNT)
        if source is None or count is None:
            return None
        evaluated = ("row", "policy_evaluated")
        disposition = said.get((*evaluated, "disposition"), "none").lower()
        return Row(
            source=source,
            messages=count,
            disposition=disposition if disposition in _DISPOSITIONS else printable(disposition, 40),
            dkim=said.get((*evaluated, "dkim"), "").lower() == "pass",
            spf=said.get((*evaluated, "spf"), "").lower() == "pass",
            header_from=_name(said.get(("identifiers", "header_from"), "")),
            envelope_from=_name(said.get(("identifiers", "envelope_from"), "")),
            envelope_to=_name(said.get(("identifiers", "envelope_to"), "")),
            reasons=tuple(filter(None, map(_reason, self._reasons[:_MAX_REASONS]))),
            auth=tuple(map(_auth, self._auth[:_MAX_AUTH])),
        )

    def report(self) -> AggregateReport:
        """The whole; ReportError if what must be there is not."""
        meta = "report_metadata"
        begin, end = (moment(self._head.get((meta, "date_range", which), "")) for which in ("begin", "end"))
        if begin is None or end is None or end < begin:
            raise ReportError("the report does not say which time it covers: date_range with begin and end")
        report_id = printable(self._head.get((meta, "report_id"), ""))
        reporter = printable(self._head.get((meta, "org_name"), ""))
        if not report_id or not reporter:
            raise ReportError("the report does not say who made it and under which id: org_name and report_id")
        policy = {path[1]: printable(text, 40) for path, text in self._head.items() if path[0] == "policy_published"}
        return AggregateReport(
            reporter=reporter,
            contact=printable(self._head.get((meta, "email"), "")),
            report_id=report_id,
            domain=_policy_domain(self._head.get(("policy_published", "domain"), "")),
            begin=begin,
            end=end,
            policy={tag: value for tag, value in policy.items() if tag in _POLICY},
            rows=tuple(self._rows),
            errors=tuple(self._errors),
            left_out=self._left_out,
            left_out_messages=self._left_out_messages,
        )


def _policy_domain(text: str) -> str:
    if not text:
        raise ReportError("the report does not say which domain it is about: policy_published with domain")
    try:
        return parse_domain(text[:_LONGEST_NAME].rstrip("."))
    except AddressError:
        raise ReportError(f"the report is about {printable(text, 100)}, which is no domain") from None


def _name(text: str) -> str:
    """A domain as a report gives it: not always a good one, and then shown as it is."""
    return printable(text.lower().rstrip("."), 255)


def _reason(said: dict[str, str]) -> str:
    kind, comment = printable(said.get("type", ""), 60), printable(said.get("comment", ""))
    return printable(f"{kind}: {comment}" if kind and comment else kind or comment)


def _auth(said: dict[str, str]) -> AuthResult:
    return AuthResult(
        method=said["method"],
        domain=_name(said.get("domain", "")),
        result=printable(said.get("result", "").lower(), 40),
        selector=printable(said.get("selector", ""), 255),
        scope=printable(said.get("scope", "").lower(), 40),
    )
