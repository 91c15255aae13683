"""What a random client sends: commands and their mutations, dialogues, bodies and chunks, and how the octets are cut."""

from __future__ import annotations

import base64

from hostile_relay import CANARY
from hypothesis import strategies as st
from session_model import Kind, Talk, Unit

from postlatch.testing.running import ACCOUNT, PASSWORD

SENDERS = ("alice@example.com", f"{CANARY}@canary.test", "", "bob@example.com", '"alice"@example.com', "a@branch.example")
RECIPIENTS = (
    "alice@example.com",
    "BOB@Example.COM",
    "nobody@example.com",
    "victim@canary.test",
    f"{CANARY}@elsewhere.example",
    "known@branch.example",
    "unknown@branch.example",
    "postmaster@example.com",
    "victim@[203.0.113.9]",
    "a@sub.example.com",
    "a@exampleXcom",
)
# Addresses that some server once took for another: refused, or passed on as what they are to who may send anywhere.
ROUTES = (
    "victim%canary.test@example.com",
    "canary.test!victim@example.com",
    "@example.com:victim@canary.test",
    '"victim@canary.test"@example.com',
    "victim@canary.test@example.com",
    "victim",
    "alice@example.com.",
    "|alice@example.com",
    "alice@example.com>,<victim@canary.test",
)
LINES = tuple(f"{word}\r\n".encode() for word in (f"NOOP {CANARY}", "HELP", f"VRFY {CANARY}", f"EXPN {CANARY}"))
JUNK_SEEDS = (
    *(f"MAIL FROM:<{sender}> SIZE=100 BODY=8BITMIME".encode() for sender in SENDERS),
    *(f"RCPT TO:<{recipient}> NOTIFY=NEVER".encode() for recipient in (*RECIPIENTS, *ROUTES)),
    b"RSET",
    b"NOOP " + CANARY.encode(),
    b"VRFY alice",
    b"XCLIENT ADDR=192.0.2.17",
    b"",
)
# With octets behind them these words mean something else, so a mutation that makes one of them is put aside.
_LOADED = frozenset(
    b"EHLO HELO STARTTLS AUTH DATA BDAT QUIT GET POST PUT HEAD CONNECT OPTIONS DELETE PATCH TRACE PRI PROXY EXPN".split()
)
_MUTATION = st.one_of(
    st.sampled_from(
        [b"\0", b"\r", b"\x1b[31m", b"\xff", b"<", b">", b'"', b"\\", b"@", b" ", b":", b"%", b"\t", b"\xe2\x80\xa8"]
    ),
    st.binary(min_size=1, max_size=3).map(lambda data: data.replace(b"\n", b"\r")),
)
FRAGMENTS = (b"", b".", b"..", b"text", CANARY.encode(), b"\xc3\xa9", b"MAIL FROM:<a@b>", b"DATA", b". ", b"x" * 70)
FAULTS = (b"\n", b"\r", b"\0", b"\n.\n", b"\n.\r\n", b"\r.\r\n", b"\r\n.\n", b"\r\r\n", b"\r\n.\r", b"\r\n\0.\r\n")
_HEADERS = (
    b"From: <alice@example.com>\r\n",
    b"From: <alice@example.com>\r\nFrom: <evil@canary.test>\r\n",
    b"From: <evil@canary.test>\r\n",
    b"Subject: none\r\n",
    b"",
)


def line(word: str, argument: str = "", *, text: str | None = None) -> Unit:
    """A command line."""
    shown = word if text is None else f"{word} {text}"
    return Unit(Kind.LINE, f"{shown}\r\n".encode(), word, argument)


def mail(sender: str) -> Unit:
    """MAIL."""
    return line("MAIL", sender, text=f"FROM:<{sender}>")


def rcpt(recipient: str) -> Unit:
    """RCPT."""
    return line("RCPT", recipient, text=f"TO:<{recipient}>")


PLAIN_LINES = st.one_of(
    st.sampled_from(SENDERS).map(mail),
    st.sampled_from(RECIPIENTS).map(rcpt),
    st.sampled_from(RECIPIENTS).map(rcpt),
    st.sampled_from(RECIPIENTS[:2]).map(rcpt),
    st.just(line("RSET")),
    st.sampled_from(LINES).map(lambda data: Unit(Kind.LINE, data, data[:4].decode())),
)


@st.composite
def junk(draw: st.DrawFn) -> Unit:
    """A line with a few octets put in, taken out or replaced."""
    data = draw(st.sampled_from(JUNK_SEEDS))
    for _ in range(draw(st.integers(0, 3))):
        place, cut, new = draw(st.integers(0, len(data))), draw(st.integers(0, 2)), draw(_MUTATION)
        data = data[:place] + new + data[place + cut :]
    if data.partition(b" ")[0].upper() in _LOADED or data.startswith((b"\x16\x03", b"\n")):
        data = b"X" + data
    return Unit(Kind.JUNK, data + b"\r\n")


def _content(pieces: list[bytes], header: bytes, fault: bytes) -> bytes:
    body = b"\r\n".join(pieces)
    place = body.find(b"\r\n")
    return header + b"\r\n" + body[: place + 2] + fault + body[place + 2 :]


CONTENT = st.builds(
    _content,
    st.lists(st.sampled_from(FRAGMENTS), max_size=6),
    st.sampled_from((_HEADERS[0], *_HEADERS)),
    st.sampled_from((*(b"",) * 40, *FAULTS)),
)


def body(content: bytes) -> Unit:
    """Behind 354, dot-stuffed, with its end."""
    if not content.endswith(b"\r\n"):
        content += b"\r\n"
    stuffed = content.replace(b"\r\n.", b"\r\n..")
    return Unit(Kind.BODY, (b"." if stuffed.startswith(b".") else b"") + stuffed + b".\r\n", content=content)


def chunk(content: bytes, *, last: bool) -> Unit:
    """BDAT and its octets."""
    data = b"BDAT %d%b\r\n%b" % (len(content), b" LAST" if last else b"", content)
    return Unit(Kind.CHUNK, data, "BDAT", content=content, last=last)


CHUNKS = st.builds(
    lambda content, last: chunk(content, last=last),
    st.one_of(CONTENT, st.sampled_from([b"a\r", b"\nb", b"", b".\r\n", *FAULTS])),
    st.booleans(),
)


def _b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


LOGINS = st.sampled_from(
    [
        ("right", f"AUTH PLAIN {_b64(f'{chr(0)}{ACCOUNT}{chr(0)}{PASSWORD}')}"),
        ("right", f"auth plain {_b64(f'{chr(0)}{ACCOUNT}{chr(0)}{PASSWORD}')}"),
        ("wrong", f"AUTH PLAIN {_b64(f'{chr(0)}{ACCOUNT}{chr(0)}{CANARY}')}"),
        ("wrong", f"AUTH PLAIN {_b64(f'bob@example.com{chr(0)}{ACCOUNT}{chr(0)}{PASSWORD}')}"),
        ("wrong", f"AUTH PLAIN {_b64(CANARY)}"),
        ("ask", "AUTH PLAIN"),
        ("ask", "AUTH LOGIN"),
        ("ask", "AUTH SCRAM-SHA-256"),
        ("junk", f"AUTH PLAIN {CANARY}!"),
        ("junk", f"AUTH {CANARY}"),
        ("junk", "AUTH CRAM-MD5"),
        ("junk", "AUTH"),
    ]
).map(lambda login: Unit(Kind.AUTH, f"{login[1]}\r\n".encode(), "AUTH", login[0]))
# To whatever challenge: none of these logs anybody in, and each ends the dialogue (LOGIN is asked twice: see `answer`).
RESPONSES = st.sampled_from(
    [("junk", b"*"), ("junk", b"!" + CANARY.encode()), ("wrong", b"//79"), ("junk", b"\0"), ("wrong", b""), ("junk", b"AA=A")]
).map(lambda answer: Unit(Kind.RESPONSE, answer[1] + b"\r\n", "RESPONSE", answer[0]))


def group(talk: Talk) -> st.SearchStrategy[list[Unit]]:
    """What a client that waits where it must may send now at once."""
    if talk.dialogue:
        return RESPONSES.map(lambda unit: [unit])
    last = st.one_of(
        st.just(line("DATA")),
        st.just(line("DATA")),
        st.just(line("EHLO", text=f"{CANARY}.example")),
        st.just(line("HELO", text=f"{CANARY}.example")),
        st.just(line("STARTTLS")),
        st.just(line("QUIT")),
        LOGINS,
        LOGINS,
    )
    if not talk.in_data:
        # Without EHLO nothing may be sent behind anything, and BDAT has its octets behind it.
        if talk.greeted != "EHLO":
            return st.one_of(PLAIN_LINES, junk(), last, last).map(lambda unit: [unit])
        anything = st.one_of(PLAIN_LINES, PLAIN_LINES, PLAIN_LINES, junk(), CHUNKS)
        return st.builds(lambda units, end: [*units, *end], st.lists(anything, max_size=5), st.lists(last, max_size=1))
    whole = CONTENT.map(body)
    if talk.greeted != "EHLO":
        return whole.map(lambda unit: [unit])
    follow = st.lists(st.one_of(PLAIN_LINES, junk()), max_size=3)
    return st.builds(lambda first, units: [first, *units], whole, follow)


def secured(talk: Talk) -> list[Unit]:
    """The way to where AUTH is offered, if this listener offers it."""
    hello = line("EHLO", text="client.example")
    return [hello] if talk.secure else [hello, line("STARTTLS"), hello]


def ready(talk: Talk) -> list[Unit]:
    """The shortest way of this client to a recipient, as far as it is permitted: so that deep states are not rare."""
    return [
        *secured(talk),
        *([Unit(Kind.AUTH, f"AUTH PLAIN {_b64(f'{chr(0)}{ACCOUNT}{chr(0)}{PASSWORD}')}\r\n".encode(), "AUTH", "right")]),
        mail("alice@example.com" if talk.role.value != "mx" else "a@canary.test"),
        rcpt("alice@example.com"),
        rcpt("victim@canary.test"),
    ]


def cuts(data: bytes) -> st.SearchStrategy[list[bytes]]:
    """Whole, octet by octet, or in a few pieces."""
    inside = st.sets(st.integers(1, max(1, len(data) - 1)), max_size=5)
    pieces = inside.map(
        lambda places: [data[a:b] for a, b in zip([0, *sorted(places)], [*sorted(places), len(data)], strict=True)]
    )
    octets = st.just([data[i : i + 1] for i in range(len(data))])
    return st.one_of(st.just([data]), pieces, pieces, octets)


def rude(talk: Talk) -> st.SearchStrategy[tuple[bytes, int]]:
    """What ends a session between two commands: octets of one segment, and the code of the last words (0: none at all)."""
    behind = st.sampled_from([b"NOOP\r\n", b"MAIL FROM:<a@canary.test>\r\n", b"x", b"\r\n"])
    jump = st.sampled_from([b"EHLO a.example\r\n", b"HELO a.example\r\n"])
    choices = [
        st.builds(lambda first, second: (first + second, 554), jump, behind),
        st.sampled_from([b"NOOP\n", b"\n", b"MAIL FROM:<a@canary.test>\nRCPT TO:<b@canary.test>\r\n", b"BDAT 5\n"]).map(
            lambda data: (data, 500)
        ),
        st.sampled_from([b"GET / HTTP/1.1\r\n", b"POST /ZQXV HTTP/1.0\r\nHost: a\r\n\r\n"]).map(lambda data: (data, 554)),
        st.just((b"NOOP " + b"ZQXV" * 2000 + b"\r\n", 500)),
        st.just((b"x" * 20_000, 500)),
        st.sampled_from([b"BDAT\r\n", b"BDAT x LAST\r\n", b"BDAT -1\r\n", b"BDAT 5 FIRST\r\n"]).map(lambda data: (data, 501)),
    ]
    if not talk.secure:
        choices += [
            st.just((b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03", 554)),
            behind.map(lambda second: (b"STARTTLS\r\n" + second, 0)),
        ]
    return st.one_of(choices)
