"""The commands of the client. Nothing is put on the wire that could be read as more than the one command it is.

What a stranger may have chosen (addresses, ENVID, ORCPT) is checked here again, although the server engine has parsed it: the
next hop trusts us, so a CR LF or a space that slipped through would be a command or a parameter of ours (bpo-43124).
"""

from __future__ import annotations

import base64
import re
from typing import Final

from postlatch.model.address import Address
from postlatch.model.envelope import REQUIRED
from postlatch.smtp.client_capabilities import Capabilities
from postlatch.smtp.client_pipeline import Command, Step
from postlatch.smtp.client_replies import Outcome, escape
from postlatch.smtp.client_states import Awaits
from postlatch.smtp.client_transaction import Recipient, Transaction

_WIDE: Final = "\xa0-\ud7ff\ue000-\U0010ffff"  # non-ASCII without C1 controls and surrogates
_PATH: Final = re.compile(
    rf'(?:[!#-;=?-~{_WIDE}]++|"(?:[ !#-\[\]-~{_WIDE}]|\\[ -~])*+")'  # a local part: no bare space, quote or angle bracket
    rf"(?:@[!#-;=?-~{_WIDE}]++)?"
)
_VALUE: Final = re.compile(rf"[!-<>-~{_WIDE}]++")  # esmtp-value, RFC 5321 section 4.1.2 and RFC 6531 section 3.3
_HOSTNAME: Final = re.compile(r"[!-~]{1,255}")
_MECHANISM: Final = re.compile(r"[A-Z0-9_-]{1,20}")
_NOTIFY: Final = ("NEVER", "SUCCESS", "FAILURE", "DELAY")

BAD_SENDER: Final = Outcome(501, "5.1.7", "the sender address cannot be sent: it is no single mailbox")
BAD_RECIPIENT: Final = Outcome(501, "5.1.3", "the recipient address cannot be sent: it is no single mailbox")
BAD_PARAMETER: Final = Outcome(
    501, "5.6.0", "a parameter of the message cannot be sent: it holds characters that are not permitted"
)
NO_SMTPUTF8: Final = Outcome(550, "5.6.7", "the next hop does not take internationalised addresses or headers (SMTPUTF8)")

NO_REQUIRETLS: Final = Outcome(550, "5.7.30", "REQUIRETLS is needed for this message, and the next hop does not offer it")


class Unsendable(ValueError):
    """What must not go on the wire; ``outcome`` is what becomes of the recipients that it concerns."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.text)
        self.outcome = outcome


def hello_line(verb: str, hostname: str) -> bytes:
    """EHLO, HELO or LHLO; ValueError if ``hostname`` is more than one word of printable ASCII."""
    if not _HOSTNAME.fullmatch(hostname):
        raise ValueError("the host name for EHLO is not a single word of printable ASCII")
    return f"{verb} {hostname}\r\n".encode("ascii")


def envelope(transaction: Transaction, offered: Capabilities) -> list[Command]:
    """The commands of the transaction; empty if there is nobody left to send to. Fills in the outcomes of the unsendable."""
    transaction.dsn = offered.dsn
    try:
        commands: list[Command] = [(Step(Awaits.MAIL, transaction), mail_line(transaction, offered))]
    except Unsendable as error:
        transaction.refuse(error.outcome)
        return []
    for index, recipient in enumerate(transaction.recipients):
        try:
            commands.append((Step(Awaits.RCPT, transaction, index), rcpt_line(recipient, offered)))
        except Unsendable as error:
            transaction.outcomes[index] = error.outcome
    if len(commands) == 1:
        return []
    if not transaction.probe:
        commands.append((Step(Awaits.DATA, transaction), b"DATA\r\n"))
    return commands


def wants_smtputf8(transaction: Transaction) -> bool:
    """True if anything of the message needs SMTPUTF8 or its client asked for it."""
    return (
        transaction.params.smtputf8
        or (transaction.sender is not None and transaction.sender.needs_smtputf8)
        or any(recipient.address.needs_smtputf8 for recipient in transaction.recipients)
    )


def mail_line(transaction: Transaction, offered: Capabilities) -> bytes:
    """MAIL with the parameters that are needed and offered; Unsendable concerns the whole message.

    An 8-bit body goes to a server without 8BITMIME as it is. RFC 6152 section 3 would have it encoded, which breaks signatures,
    or returned, which loses mail that every server of the last decades takes; Exim and qmail send it too.
    """
    params = transaction.params
    _check_offers(transaction, offered)
    utf8 = offered.smtputf8 and wants_smtputf8(transaction)
    words = [f"MAIL FROM:<{_path(transaction.sender, BAD_SENDER, utf8=utf8) if transaction.sender else ''}>"]
    if offered.size is not None:
        words.append(f"SIZE={transaction.size}")
    if offered.eight_bit_mime and (transaction.eight_bit or transaction.utf8_headers):
        words.append("BODY=8BITMIME")
    if utf8:
        words.append("SMTPUTF8")
    if offered.requiretls and params.require_tls == REQUIRED:
        words.append("REQUIRETLS")
    if offered.dsn:
        if params.ret:
            # RFC 8689 section 5: what is bounced of such a message is its header alone.
            words.append(f"RET={_value(params.ret if params.require_tls != REQUIRED else 'HDRS')}")
        if params.envid:
            words.append(f"ENVID={_value(params.envid)}")
    return f"{' '.join(words)}\r\n".encode()


def _check_offers(transaction: Transaction, offered: Capabilities) -> None:
    if transaction.params.require_tls == REQUIRED and transaction.sender is not None and not offered.requiretls:
        raise Unsendable(NO_REQUIRETLS)  # RFC 8689 section 4.2.1; of a bounce only section 5 speaks, and lets it go
    if offered.size and transaction.size > offered.size:
        text = f"the message has {transaction.size} octets and the next hop takes {offered.size}"
        raise Unsendable(Outcome(552, "5.3.4", escape(text)))
    if transaction.utf8_headers and transaction.params.smtputf8 and not offered.smtputf8:
        raise Unsendable(NO_SMTPUTF8)


def rcpt_line(recipient: Recipient, offered: Capabilities) -> bytes:
    """RCPT with the DSN parameters that its client gave, if DSN is offered; Unsendable concerns this recipient."""
    line = f"RCPT TO:<{_path(recipient.address, BAD_RECIPIENT, utf8=offered.smtputf8)}>"
    params = recipient.params
    if offered.dsn and (params.notify or params.orcpt):
        if params.notify:
            line += f" NOTIFY={_value(','.join(word for word in _NOTIFY if word in params.notify))}"
        if params.orcpt and (offered.smtputf8 or params.orcpt.isascii()):
            line += f" ORCPT={_value(params.orcpt)}"
    return f"{line}\r\n".encode()


def auth_line(mechanism: str, initial: bytes | None) -> bytes:
    """AUTH; ``initial`` is the first SASL message before base64. ValueError if the mechanism is no SASL name."""
    if not _MECHANISM.fullmatch(mechanism):
        raise ValueError("not the name of a SASL mechanism")
    if initial is None:
        return f"AUTH {mechanism}\r\n".encode("ascii")
    encoded = base64.b64encode(initial) or b"="  # RFC 4954 section 4: an empty response is not an absent one
    return f"AUTH {mechanism} ".encode("ascii") + encoded + b"\r\n"


def _path(address: Address, bad: Outcome, *, utf8: bool) -> str:
    text = address.text
    if not utf8 and not text.isascii():
        # Only the local part needs SMTPUTF8: a domain has an ASCII form of the same meaning (RFC 5891).
        local, at, _ = text.rpartition("@")
        if not (at and local.isascii()):
            raise Unsendable(NO_SMTPUTF8)
        text = f"{local}@{address.domain}"
    if not _PATH.fullmatch(text):
        raise Unsendable(bad)
    return text


def _value(text: str) -> str:
    if not _VALUE.fullmatch(text):
        raise Unsendable(BAD_PARAMETER)
    return text
