"""A message from standard input: line ends, the header's recipients, and what must not leave with it."""

from __future__ import annotations

# Headers are split here without the rooms of the relay: this program starts for every mail of cron and PHP.
_TO = (b"to", b"cc", b"bcc")
_RESENT = (b"resent-to", b"resent-cc", b"resent-bcc")
_BLIND = frozenset({b"bcc", b"resent-bcc"})
MAX_RECIPIENT_FIELD = 1_048_576  # octets: more than any program writes


def unix_to_wire(data: bytes, *, ignore_dots: bool) -> bytes:
    """CR LF line ends. A NUL is dropped and a lone CR ends a line: SMTP has neither, and cron's output has both."""
    data = data.replace(b"\0", b"").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    if not ignore_dots:
        data = _up_to_dot(data)
    if data and not data.endswith(b"\n"):
        data += b"\n"
    return data.replace(b"\n", b"\r\n")


def _up_to_dot(data: bytes) -> bytes:
    if data == b"." or data.startswith(b".\n"):
        return b""
    end = data.find(b"\n.\n")
    if end >= 0:
        return data[: end + 1]
    return data[:-1] if data.endswith(b"\n.") else data


class Message:
    """A header as raw fields, and a body that nobody looks at."""

    def __init__(self, data: bytes) -> None:
        self.fields: list[tuple[bytes, bytes]] = []
        rest = data
        while rest and not rest.startswith(b"\r\n"):
            field, rest = _next_field(rest)
            name, colon, _ = field.partition(b":")
            name = name.rstrip(b" \t")
            if not colon or not name or any(c <= 32 or c >= 127 for c in name):
                rest = field + rest  # no field: what follows is the body, also without an empty line
                break
            self.fields.append((name.lower(), field))
        self.body = rest[2:] if rest.startswith(b"\r\n") else rest

    def has(self, name: bytes) -> bool:
        """Is there a field of this name, in lower case?"""
        return any(found == name for found, _ in self.fields)

    def recipients(self) -> list[str]:
        """All addresses in To, Cc and Bcc; of a message that is sent on, in its Resent fields (RFC 5322 section 3.6.6)."""
        from email.utils import getaddresses  # noqa: PLC0415  (only for -t: it takes a while to load)

        names = _RESENT if any(name in _RESENT for name, _ in self.fields) else _TO
        texts = []
        for name, field in self.fields:
            if name in names:
                value = field.partition(b":")[2][:MAX_RECIPIENT_FIELD]
                texts.append(value.decode("utf-8", "replace").replace("\r\n", "").strip())
        found = [address for _, address in getaddresses(texts) if address]
        return list(dict.fromkeys(found))

    def without_blind(self) -> None:
        """Bcc goes to nobody, whoever named the recipients."""
        self.fields = [(name, field) for name, field in self.fields if name not in _BLIND]

    def add_first(self, name: str, value: str) -> None:
        """A field in front."""
        self.fields.insert(0, (name.lower().encode(), f"{name}: {value}\r\n".encode()))

    def octets(self) -> bytes:
        """The whole message again."""
        return b"".join(field for _, field in self.fields) + b"\r\n" + self.body


def _next_field(data: bytes) -> tuple[bytes, bytes]:
    """The first line with those that continue it, and the rest."""
    at = 0
    while True:
        end = data.find(b"\r\n", at)
        if end < 0:
            return data, b""
        at = end + 2
        if data[at : at + 1] not in {b" ", b"\t"}:
            return data[:at], data[at:]


def quoted(name: str) -> str:
    """A display name for a From field, on one line; not ASCII: as an encoded word (RFC 2047)."""
    text = "".join(c if c.isprintable() else " " for c in name)
    if text.isascii():
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    import base64  # noqa: PLC0415

    words, piece = [], ""
    for c in text:
        if len((piece + c).encode()) > 45:  # an encoded word has at most 75 characters
            words.append(piece)
            piece = ""
        piece += c
    return " ".join(f"=?utf-8?B?{base64.b64encode(word.encode()).decode()}?=" for word in [*words, piece])
