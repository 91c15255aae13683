"""How much of the DNS one check may ask for (RFC 7208 section 4.6.4)."""

from __future__ import annotations

from typing import Final

from postlatch.senderauth.results import Result
from postlatch.senderauth.spf.problem import CheckError

MAX_TERMS: Final = 10
MAX_VOIDS: Final = 2
MAX_NAMES: Final = 10  # of one MX or PTR answer


class Budget:
    """Counts the terms that cause look-ups, and those of them whose look-ups found nothing.

    The RFC limits "the number of terms for which DNS queries return" nothing: a term is void once, however many of its names
    are. An ``mx`` whose five hosts have no AAAA record does not stop an IPv6 client's check.
    """

    def __init__(self) -> None:
        self.terms = 0
        self._voids = 0
        self._void_here = False
        self._closed = False

    def start_term(self) -> None:
        """A term that needs look-ups begins; CheckError if it is the 11th."""
        self.count()
        self._void_here = False

    def count(self) -> None:
        """A look-up counts as one of the ten."""
        if self._closed:
            return
        if self.terms >= MAX_TERMS:
            raise CheckError(Result.PERMERROR, f"the record needs more than {MAX_TERMS} DNS look-ups (RFC 7208 section 4.6.4)")
        self.terms += 1

    def void(self) -> None:
        """The term's look-up found nothing; CheckError if that is so of a third term."""
        if self._closed or self._void_here:
            return
        self._void_here = True
        self._voids += 1
        if self._voids > MAX_VOIDS:
            raise CheckError(
                Result.PERMERROR, f"more than {MAX_VOIDS} terms name what is not in the DNS (RFC 7208 section 4.6.4)"
            )

    def close(self) -> None:
        """The result stands: what the explanation asks for is not counted (section 4.6.4)."""
        self._closed = True
