"""What TLS towards one mail host must give, and by whose word: the values between `tls_policies`, targets and sessions."""

from __future__ import annotations

from typing import Final, NamedTuple

from postlatch.delivery.dane import Tlsa

# RFC 8460 section 4.4: the types of a policy.
NONE: Final = "no-policy-found"
STS: Final = "sts"
TLSA: Final = "tlsa"


class Applied(NamedTuple):
    """The policy that was applied to a mail host, as TLS reports tell it.

    ``problem`` and ``reason``: what was wrong with the policy itself, a result type of RFC 8460 section 4.3 with a sentence.
    """

    kind: str = NONE
    lines: tuple[str, ...] = ()
    mx: tuple[str, ...] = ()
    problem: str = ""
    reason: str = ""


NOTHING: Final = Applied()


class Demand(NamedTuple):
    """How the server must prove who it is, beyond what `TlsPolicy` says. Part of a target, so compared by value.

    ``tlsa``: by DANE, with ``names`` for DANE-TA and ``sni`` for the handshake. ``by_san``: by the names in its certificate's
    subjectAltName alone (RFC 8461 section 4.1). ``tested``: a failure is told and changes nothing (mode ``testing``).
    ``mx_proved``: the DNS could not have been forged to lead us to this host: RFC 8689 section 4.2.1 asks for that; ``unsure``:
    there may be a policy that proves it and could not be had now.
    """

    tlsa: tuple[Tlsa, ...] = ()
    names: tuple[str, ...] = ()
    sni: str = ""
    by_san: bool = False
    tested: bool = False
    mx_proved: bool = False
    unsure: bool = False
