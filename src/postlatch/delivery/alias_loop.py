"""A name whose aliases lead nowhere: a CNAME chain that loops, or is too long for any resolver. RFC 1034 section 3.6.2."""

from __future__ import annotations

from postlatch.model.dns import DnsError


class AliasLoop(DnsError):
    """Certain, like NXDOMAIN: whoever asks again gets the same chain until its owner repairs it."""

    def __init__(self) -> None:
        super().__init__("the name's aliases loop", temporary=False)
