"""The classes of expected answers in the catalogue, as predicates over what was heard; and what this relay may add to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from vector_values import OURS, Case

from postlatch.model.envelope import Role


class Heard(NamedTuple):
    """The answer to one command. ``code`` 0: none came, because the server had hung up (``closed``) or was silent."""

    verb: str  # in upper case; ``.`` for the end of a message
    path: str  # what stands between the brackets of MAIL and RCPT
    code: int
    enhanced: str
    text: str
    closed: bool

    @property
    def accepts(self) -> bool:
        """A positive answer."""
        return 200 <= self.code < 400

    @property
    def refuses(self) -> bool:
        """A negative answer, or the end."""
        return self.code >= 400 or self.closed


def _is(codes: str, enhanced: str = "", verbs: str = "") -> Callable[[Heard], bool]:
    """A predicate: one of the codes, one of the enhanced codes (if any are named), to one of the commands (if any are)."""
    wanted, details, commands = set(map(int, codes.split())), set(enhanced.split()), set(verbs.split())
    return lambda heard: (
        heard.code in wanted and (not details or heard.enhanced in details) and (not commands or heard.verb in commands)
    )


def _never(_: Heard) -> bool:
    return False  # it cannot be decided by a reply, or there is no such thing here


CLASSES: Mapping[str, Callable[[Heard], bool]] = {
    "RELAY_DENIED": _is("550 551 553 554", "5.7.1", "MAIL RCPT ETRN"),
    "RELAY_DENIED_TEMP": _is("451 454", "4.7.1", "MAIL RCPT"),
    "SYNTAX": _is("500 501 553", "5.1.3 5.1.7 5.5.2 5.6.7"),
    "NO_SUCH_USER": _is("550", "5.1.1 5.1.2", "RCPT"),
    "SENDER_REJECTED": _is("550 553", "5.7.1 5.1.8", "MAIL RCPT"),
    "HELO_REJECTED": _is("550 501 504", "", "EHLO HELO"),
    "LOCAL_ONLY": lambda heard: heard.verb == "RCPT" and heard.code == 250 and heard.path in OURS,
    "BAD_SEQUENCE": _is("503", "5.5.1"),
    "NO_VALID_RCPT": _is("554 503", "5.5.1"),
    "NOT_IMPLEMENTED": _is("500 502 504 555"),
    "AUTH_REQUIRED": _is("530", "5.7.0"),
    "AUTH_FAILED": lambda heard: heard.verb == "AUTH" and _is("535 501 454", "5.7.8 5.5.2 5.5.4 4.7.0")(heard),
    "ENCRYPTION_REQUIRED": lambda heard: (heard.code, heard.enhanced) in {(538, "5.7.11"), (504, "5.5.4"), (530, "5.7.0")},
    "DISCONNECT": lambda heard: heard.code in {421, 521} or heard.closed,
    "PROTO_SYNC": _is("554", "5.5.0"),
    "NO_STRAY_REPLY": lambda heard: heard.verb == "UNASKED" and heard.code == 0 and not heard.closed,
    "ETRN_REFUSED": _is("458 459"),
    "DSN_TO_SENDER_ONLY": lambda heard: heard.verb == "RCPT" and heard.code == 250 and heard.path in OURS,
    "PORT_CLOSED": _never,  # looked at where the sockets are
    "QMTP_D": _never,
    "INSUFFICIENT_AUTHORIZATION": _is("550", "5.7.0"),
    "CONFIG_CLEAN": _never,
    "NO_AUTH_ON_MX": lambda heard: heard.verb == "OFFER" and "AUTH" not in heard.text,
    "TEMP_BLOCK": _is("450 454 421"),
    "UNIFORM_252": _is("252"),
    "SIZE_REJECTED": _is("552", "5.3.4"),
    "CONTENT_REJECTED": _is("554", "5.7.1", "."),
    "LOOP_REJECTED": _is("554", "5.4.6", "."),
    "TOO_MANY_RCPT": _is("452", "4.5.3"),
    "INFO": lambda heard: heard.code > 0,
    "DMARC_REJECT": _is("550", "5.7.1 5.7.26", "."),
    "QUARANTINE": _never,
    "AR_STRIPPED": _never,
    "CLIENT_ADDRESS_SEEN": _never,  # looked at in the message
}

# The header From against SPF, DKIM and DMARC is not in this version, and I05 is seen in the message: the invariants hold for
# them all the same.
UNDECIDED = frozenset({"H02", "H03", "H04", "I05"})
_SUBMISSION = frozenset({Role.SUBMISSION, Role.SUBMISSIONS})
_LOGS_IN = frozenset({"G08"})
_ABOUT_AUTH = frozenset({"G01", "G03", "G04", "G05", "G07", "G09"})
# HELO offers nothing: no pipelining, no parameters, no AUTH.
_HELO: Mapping[str, str] = {
    "D09": "PROTO_SYNC",
    "E05": "PROTO_SYNC DISCONNECT",
    "D08": "NOT_IMPLEMENTED",
    "J06": "NOT_IMPLEMENTED",
    "E13": "NOT_IMPLEMENTED",
    **dict.fromkeys(("G03", "G04", "G05", "G08"), "BAD_SEQUENCE"),
    "G01": "BAD_SEQUENCE",
    "E09": "BAD_SEQUENCE",
}


def accepted_classes(case: Case, role: Role, *, tls: bool, hello: str) -> frozenset[str]:
    """What answers pass: the vector's own classes, and what this listener says earlier, and to everybody."""
    classes = set(case.expected)
    if role in _SUBMISSION and not (tls and hello == "EHLO" and case.vector in _LOGS_IN):
        classes.add("AUTH_REQUIRED")
    if role is Role.RELAY:
        classes.add("RELAY_DENIED")  # whoever has no right is refused at MAIL, for every recipient
    if role not in _SUBMISSION and case.vector in _ABOUT_AUTH:
        classes.add("NOT_IMPLEMENTED")  # AUTH is 502 on mx and relay (DESIGN section 11)
    if case.vector == "E05":
        classes.add("RELAY_DENIED")  # of the three answers in the group, the one to RCPT
    if hello == "HELO" and case.vector in _HELO:
        classes.update(_HELO[case.vector].split())
    return frozenset(classes)


def passes(heard: Heard, classes: frozenset[str]) -> bool:
    """Is this one of the expected answers?"""
    return any(CLASSES[name](heard) for name in classes)
