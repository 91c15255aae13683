"""Names in a Maildir store: the folder of a mailbox and the file of a message. https://cr.yp.to/proto/maildir.html"""

from __future__ import annotations

import re

from postlatch.model.address import Address
from postlatch.model.ids import format_id

REMOTE = "maildir"  # what the journal names as the next hop

_SAFE = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789._+-")
_HOST_UNSAFE = re.compile(r"[^A-Za-z0-9.-]")


def mailbox_path(root: str, mailbox: Address) -> str:
    """``<root>/<domain>/<localpart>``, whatever the local part holds: it never climbs out, hides or collides."""
    return f"{root}/{safe_name(mailbox.domain)}/{safe_name(mailbox.local)}"


def safe_name(text: str) -> str:
    """``text`` in lower case as one path component. Distinct texts give distinct names.

    Octets outside ``a-z 0-9 . _ + -``, and a dot at the start, become ``%HH``, so ``.``, ``..`` and an absolute path cannot
    come out of it. A text of 64 octets (a local part) gives at most 192.
    """
    octets = text.lower().encode("utf-8", "surrogatepass")
    name = "".join(chr(octet) if octet in _SAFE else f"%{octet:02X}" for octet in octets)
    if not name:
        return "%"
    return f"%2E{name[1:]}" if name.startswith(".") else name


def file_name(message_id: int, number: int, received_at: float, hostname: str) -> str:
    """The file name of one message in one mailbox: unique, and the same again if this delivery is repeated.

    That it repeats is the point: after a crash between delivery and its record the second attempt finds its own file and
    nobody gets the message twice. ``M``, ``Q`` and ``R`` are the fields of the Maildir convention for what makes it unique.
    """
    seconds, fraction = divmod(max(received_at, 0.0), 1)
    host = _HOST_UNSAFE.sub("_", hostname)
    return f"{int(seconds)}.M{int(fraction * 1_000_000):06d}Q{format_id(message_id)}R{number}.{host}"
