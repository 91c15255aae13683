"""Gzip (RFC 1952) and zip, inflated piece by piece: how much came out of how little is looked at before more is made.

A zip is read by hand: of its features a report needs one stored or deflated member, and everything else is refused before
anything is inflated.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Generator, Iterator
from typing import Final, NamedTuple

from postlatch.senderauth.reports.values import ReportError

MAX_OCTETS: Final = 50 * 1024 * 1024  # that come out
MAX_RATIO: Final = 200  # octets out for one in; deflate itself could do 1,032
_FREE: Final = 64 * 1024  # octets out that no ratio is asked of
_STEP: Final = 64 * 1024
_MAX_MEMBERS: Final = 100  # of a gzip file

GZIP: Final = b"\x1f\x8b"
ZIP: Final = b"PK\x03\x04"
_END: Final = b"PK\x05\x06"
_ENTRY: Final = b"PK\x01\x02"
_LONGEST_COMMENT: Final = 65_535
_ENCRYPTED: Final = 1
_STORED: Final = 0
_DEFLATED: Final = 8
_DAMAGED: Final = "the attachment is a damaged zip file"


def contents(data: bytes) -> Iterator[bytes]:
    """What ``data`` holds, inflated if it is compressed, in pieces of at most 64 KiB. ReportError: a bomb, or damaged."""
    if data.startswith(GZIP):
        yield from _not_again(_gzip(data))
    elif data.startswith((ZIP, _END)):
        yield from _not_again(_zip(data))
    else:
        yield from _pieces(data, 0, len(data))


def _not_again(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Refuses a gzip or a zip inside: no report needs that, and the caps would have to hold over all layers."""
    head = b""
    for piece in pieces:
        if len(head) < len(ZIP):
            head += piece[: len(ZIP)]
            if head.startswith((GZIP, ZIP)):
                raise ReportError("the attachment is compressed twice")
        yield piece


class _Meter:
    """Counts what goes in and what comes out. ReportError where that is too much."""

    def __init__(self) -> None:
        self._taken = 0
        self._made = 0

    def count(self, taken: int, made: int) -> None:
        """So many octets more."""
        self._taken += taken
        self._made += made
        if self._made > MAX_OCTETS:
            raise ReportError(f"the attachment inflates to more than {MAX_OCTETS // 2**20} MiB")
        if self._made > max(_FREE, MAX_RATIO * self._taken):
            raise ReportError(f"the attachment inflates to more than {MAX_RATIO} times its size")


def _gzip(data: bytes) -> Iterator[bytes]:
    meter, position = _Meter(), 0
    for _ in range(_MAX_MEMBERS):
        position = yield from _inflated(data, position, len(data), 31, meter)
        if not data.startswith(GZIP, position):
            return  # the end, or padding, which gzip passes over as well
    raise ReportError(f"the attachment is a gzip file of more than {_MAX_MEMBERS} members")


def _inflated(data: bytes, start: int, end: int, form: int, meter: _Meter) -> Generator[bytes, None, int]:
    """One compressed stream; returns where it ended. ``form``: zlib's ``wbits``."""
    inflater = zlib.decompressobj(wbits=form)
    position, waiting = start, b""
    while not inflater.eof:
        if not waiting:
            waiting = data[position : min(position + _STEP, end)]
            position += len(waiting)
        try:
            made = inflater.decompress(waiting, _STEP)
        except zlib.error:
            raise ReportError("the attachment's compressed data is damaged") from None
        if not waiting and not made:
            raise ReportError("the attachment's compressed data ends in the middle")
        left = inflater.unconsumed_tail
        meter.count(len(waiting) - len(left) - len(inflater.unused_data), len(made))
        waiting = left
        if made:
            yield made
    return position - len(inflater.unused_data)


class _Member(NamedTuple):
    """The one file of a zip: where its data is, and how it is kept."""

    start: int
    end: int
    method: int
    check: int


def _zip(data: bytes) -> Iterator[bytes]:
    member = _only_member(data)
    if member.method == _STORED:
        pieces = _pieces(data, member.start, member.end)
    elif member.method == _DEFLATED:
        pieces = _inflated(data, member.start, member.end, -15, _Meter())
    else:
        raise ReportError("the attachment is a zip file with an unusual compression: only deflate is read")
    check = 0
    for piece in pieces:
        check = zlib.crc32(piece, check)
        yield piece
    if check != member.check:
        raise ReportError(_DAMAGED)


def _pieces(data: bytes, start: int, end: int) -> Generator[bytes, None, int]:
    for position in range(start, end, _STEP):
        yield data[position : min(position + _STEP, end)]
    return end


def _only_member(data: bytes) -> _Member:
    """From the end record by way of the central directory, which alone says how many files there are."""
    end = data.rfind(_END, max(0, len(data) - _LONGEST_COMMENT - 22))
    if end < 0 or end + 22 > len(data):
        raise ReportError(_DAMAGED)
    _, _, here, members, _, directory, _ = struct.unpack_from("<4H2LH", data, end + 4)
    if members != 1 or here != 1:
        raise ReportError(f"the attachment is a zip file of {members} files: a report is one")
    if not data.startswith(_ENTRY, directory) or directory + 46 > end:
        raise ReportError(_DAMAGED)
    entry = struct.unpack_from("<6H3L5H2L", data, directory + 4)
    flags, method, check, packed, size, name_length = entry[2], entry[3], *entry[6:10]
    local = entry[15]
    _check_name(data[directory + 46 : directory + 46 + name_length])
    if flags & _ENCRYPTED:
        raise ReportError("the attachment is an encrypted zip file")
    if size > MAX_OCTETS:
        raise ReportError(f"the attachment inflates to more than {MAX_OCTETS // 2**20} MiB")
    if not data.startswith(ZIP, local) or local + 30 > directory:
        raise ReportError(_DAMAGED)
    name_length, extra_length = struct.unpack_from("<2H", data, local + 26)
    start = local + 30 + name_length + extra_length
    if start + packed > directory:
        raise ReportError(_DAMAGED)
    return _Member(start, start + packed, method, check)


def _check_name(name: bytes) -> None:
    """Nothing is ever written under it; a name that wants to be elsewhere is no report's all the same."""
    if b"/" in name or b"\\" in name or b"\0" in name or name in (b"", b".", b".."):
        raise ReportError("the attachment is a zip file whose member is named like a path")
    if name.lower().endswith((b".zip", b".gz")):
        raise ReportError("the attachment is compressed twice")
