"""What the checks find: plain values that the policy, the journal, Authentication-Results and ``postlatch verify`` share.

Every text that a stranger chose is printable ASCII of bounded length here already: who prints it need not escape it again.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Result(StrEnum):
    """RFC 8601 section 2.7. SPF uses all but ``policy``; DKIM none, pass, fail, policy, neutral, temperror and permerror."""

    NONE = "none"
    PASS = "pass"  # noqa: S105 - no password
    FAIL = "fail"
    SOFTFAIL = "softfail"
    NEUTRAL = "neutral"
    POLICY = "policy"
    TEMPERROR = "temperror"
    PERMERROR = "permerror"


class SpfResult(NamedTuple):
    """One check of RFC 7208 section 4. ``domain`` was asked (lower-case A-labels); ``scope`` is ``mfrom`` or ``helo``.

    ``explanation`` is what the domain's owner says of a fail. ``mechanism`` decided, as it stands in the record (``""``: none
    did); ``lookups`` are the terms that cost a DNS look-up; ``reason`` is a sentence of ours that names the RFC's section.
    """

    result: Result
    domain: str
    scope: str
    explanation: str | None = None
    mechanism: str = ""
    lookups: int = 0
    reason: str = ""


class DkimResult(NamedTuple):
    """One signature. ``domain`` is its d= (lower-case A-labels), ``identity`` its i=, ``signature`` the first characters of b=.

    ``body_hash`` is the bh= as it stands in the signature, for the journal: a signature that is replayed keeps it. ``testing``:
    the key's owner is only trying (t=y).
    """

    result: Result
    domain: str
    selector: str
    algorithm: str
    reason: str
    identity: str = ""
    signature: str = ""
    body_hash: str = ""
    testing: bool = False


class ArcResult(NamedTuple):
    """The whole chain: ``none``, ``pass`` or ``fail``. ``sealers`` are the d= of the seals, the oldest first.

    ``results`` is the newest ARC-Authentication-Results, as text without comments: to believe it one has to trust the newest
    sealer alone. ``oldest_pass`` is the oldest instance since which the message is unchanged, 0 for the first (RFC 8617 5.2).
    """

    result: Result
    instance: int
    reason: str
    sealers: tuple[str, ...] = ()
    results: str = ""
    oldest_pass: int | None = None


class Disposition(StrEnum):
    """What a DMARC policy asks for, and what was done."""

    NONE = "none"
    QUARANTINE = "quarantine"
    REJECT = "reject"


class DmarcResult(NamedTuple):
    """RFC 9989. ``from_domain`` is the author's, ``policy_domain`` that of the record that applies (``""``: there is none).

    ``policy`` is what applies as published (p, sp or np, after ``t``); ``disposition`` what is to be done with this message by
    it, before local overrides. ``spf_aligned`` and ``dkim_aligned`` are true where an aligned identifier passed.
    """

    result: Result
    disposition: Disposition
    from_domain: str
    policy_domain: str
    spf_aligned: bool
    dkim_aligned: bool
    reason: str
    policy: Disposition = Disposition.NONE
    testing: bool = False


class Authentication(NamedTuple):
    """All that was found out about one message. ``spf`` is that of MAIL FROM, or of HELO for ``<>``."""

    spf: SpfResult
    dkim: tuple[DkimResult, ...]
    arc: ArcResult
    dmarc: DmarcResult
    spf_helo: SpfResult | None = None
