"""The relay grant: the one thing that lets mail leave for a domain that is not ours. It cannot be made, copied or kept.

The model is trio's ``NoPublicConstructor``. Python cannot stop code that sets out to forge an object; it can make sure that
nobody does so by accident and that every place that mints is found by a search for one name.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import NoReturn

from postlatch.model.address import Address
from postlatch.model.envelope import Destination, GrantReason
from postlatch.policy.snapshot import Snapshot


class GrantError(Exception):
    """A grant was used twice or for something else, or a notification was asked for that must not be sent."""


class _Sealed(type):
    """The metaclass of a class that cannot be called."""

    def __call__(cls, *_args: object, **_kwargs: object) -> NoReturn:
        raise TypeError(f"{cls.__name__} has no public constructor: ask decide_recipient")


class RelayGrant(metaclass=_Sealed):
    """Permission for one recipient of one transaction. Made by the policy alone, redeemed once by the spool.

    ``ref`` names the account, right, relay domain or notification kind. It compares by identity and cannot be changed.
    """

    __slots__ = ("_unused", "reason", "recipient", "ref", "snapshot_version", "transaction")

    reason: GrantReason
    ref: str
    transaction: object
    recipient: Address
    snapshot_version: int
    _unused: list[None]

    def redeem(self, transaction: object, recipient: Address) -> None:
        """Use the grant up. GrantError unless both are the very objects it was made for and this is the first time."""
        if transaction is not self.transaction or recipient is not self.recipient:
            raise GrantError("this grant is for another transaction or recipient")
        try:
            self._unused.pop()  # atomic, so that two threads cannot both succeed
        except IndexError:
            raise GrantError("this grant has been redeemed") from None

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"a RelayGrant cannot be changed: {name}")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"a RelayGrant cannot be changed: {name}")

    def __copy__(self) -> NoReturn:
        raise TypeError("a RelayGrant cannot be copied")

    def __deepcopy__(self, _memo: object) -> NoReturn:
        raise TypeError("a RelayGrant cannot be copied")

    def __reduce_ex__(self, _protocol: object) -> NoReturn:
        raise TypeError("a RelayGrant cannot be pickled")

    def __init_subclass__(cls) -> NoReturn:
        raise TypeError("RelayGrant cannot be subclassed")

    def __repr__(self) -> str:
        return f"<RelayGrant {self.reason} {self.ref!r} for {self.recipient.text!r}>"


def mint_grant(reason: GrantReason, ref: str, transaction: object, recipient: Address, snapshot_version: int) -> RelayGrant:
    """Make a grant. Named in this file and in decide.py, and nowhere else: a test looks."""
    if not ref:
        raise GrantError("a grant names who answers for it")
    grant = object.__new__(RelayGrant)
    set_once = object.__setattr__
    set_once(grant, "reason", GrantReason(reason))
    set_once(grant, "ref", ref)
    set_once(grant, "transaction", transaction)
    set_once(grant, "recipient", recipient)
    set_once(grant, "snapshot_version", snapshot_version)
    set_once(grant, "_unused", [None])
    return grant


class NotificationKind(StrEnum):
    """The closed list of mail of our own (DESIGN section 1). A kind without a constructor below cannot be sent."""

    DSN = "dsn"
    DELAY = "delay"
    ALERT = "alert"
    REPORT_RECEIPT = "report_receipt"
    DMARC_REPORT = "dmarc_report"
    TLS_REPORT = "tls_report"
    ABUSE_REPORT = "abuse_report"
    BULLETIN = "bulletin"
    LEARNING = "learning"
    TEST = "test"


@dataclass(frozen=True, slots=True)
class Notification:
    """Mail of our own that may be sent. ``sender`` None is the null reverse-path."""

    kind: NotificationKind
    sender: Address | None
    recipient: Address
    grant: RelayGrant


def notify_dsn(
    snapshot: Snapshot, transaction: object, failed: GrantReason | None, sender: Address | None, *, verified: bool = False
) -> Notification:
    """A delivery status notification, to the envelope sender of mail that an account or a right has sent. RFC 3464.

    ``failed`` is the reason of the recipient that failed. GrantError for a stranger's mail, whose sender may be forged
    (backscatter), unless it is ``verified``: DMARC passed, and SPF for MAIL FROM in the author's domain. Never for mail of our
    own, and the null sender (RFC 5321 section 6.1).
    """
    if verified and failed in (None, GrantReason.RELAY_DOMAIN) and sender is not None:
        return _notification(NotificationKind.DSN, snapshot, transaction, None, sender)
    return _to_sender(NotificationKind.DSN, snapshot, transaction, failed, sender)


def notify_delay(snapshot: Snapshot, transaction: object, failed: GrantReason | None, sender: Address | None) -> Notification:
    """A notice that delivery takes longer; to whom is as for ``notify_dsn``."""
    return _to_sender(NotificationKind.DELAY, snapshot, transaction, failed, sender)


def notify_alert(snapshot: Snapshot, transaction: object, recipient: Address, configured: Collection[Address]) -> Notification:
    """An alert to one of the ``configured`` recipients; GrantError for any other."""
    return _to_configured(NotificationKind.ALERT, snapshot, transaction, recipient, configured)


def notify_test(snapshot: Snapshot, transaction: object, recipient: Address, configured: Collection[Address]) -> Notification:
    """A test message to one of the ``configured`` recipients; GrantError for any other."""
    return _to_configured(NotificationKind.TEST, snapshot, transaction, recipient, configured)


def notify_dmarc_report(
    snapshot: Snapshot,
    transaction: object,
    recipient: Address,
    domain: str,
    asked: Collection[Address],
    permitted: Collection[str],
) -> Notification:
    """An aggregate report about ``domain``, to one of the addresses that its record ``asked`` for. RFC 9990 section 4.

    GrantError for any other address; for one of another domain that is not among the ``permitted``, which have confirmed that
    they take reports about this one, or a record could have reports sent to a victim; and for one at an address literal.
    """
    if recipient not in asked:
        raise GrantError("the domain's record does not ask for reports to this address")
    if recipient.is_literal or (recipient.domain != domain and recipient.domain not in permitted):
        raise GrantError("this address is elsewhere and has not confirmed that it takes reports about the domain")
    return _from_postmaster(NotificationKind.DMARC_REPORT, snapshot, transaction, recipient)


def notify_tls_report(
    snapshot: Snapshot, transaction: object, recipient: Address, domain: str, asked: Collection[Address]
) -> Notification:
    """A report on TLS towards ``domain``, to one of the addresses that its record ``asked`` for. RFC 8460 section 3.

    GrantError for any other address, for one at an address literal, and about a domain of ours. An address elsewhere need not
    confirm anything: the standard has nothing for that. One report a day about a domain that mail of ours went to is all that
    its record can bring about.
    """
    if snapshot.classify(domain) is not Destination.FOREIGN:
        raise GrantError("the domain is one of ours: nobody is told how we reach ourselves")
    if recipient not in asked:
        raise GrantError("the domain's record does not ask for reports to this address")
    if recipient.is_literal:
        raise GrantError("no report goes to an address literal")
    return _from_postmaster(NotificationKind.TLS_REPORT, snapshot, transaction, recipient)


def _to_sender(
    kind: NotificationKind, snapshot: Snapshot, transaction: object, failed: GrantReason | None, sender: Address | None
) -> Notification:
    if failed not in (GrantReason.ACCOUNT, GrantReason.NETWORK):
        raise GrantError("only mail of an account or a right is reported to its sender: any other sender may be forged")
    if sender is None:
        raise GrantError("the null sender gets no report")
    return _notification(kind, snapshot, transaction, None, sender)


def _to_configured(
    kind: NotificationKind, snapshot: Snapshot, transaction: object, recipient: Address, configured: Collection[Address]
) -> Notification:
    if all(recipient.key != known.key for known in configured):
        raise GrantError("this recipient is not in the configuration")
    return _from_postmaster(kind, snapshot, transaction, recipient)


def _from_postmaster(kind: NotificationKind, snapshot: Snapshot, transaction: object, recipient: Address) -> Notification:
    domain = snapshot.first_domain or snapshot.hostname
    postmaster = Address("postmaster", domain, f"postmaster@{domain}")
    return _notification(kind, snapshot, transaction, postmaster, recipient)


def _notification(
    kind: NotificationKind, snapshot: Snapshot, transaction: object, sender: Address | None, recipient: Address
) -> Notification:
    grant = mint_grant(GrantReason.NOTIFICATION, kind.value, transaction, recipient, snapshot.version)
    return Notification(kind, sender, recipient, grant)
