"""SPF's macros: any text is a macro-string, a name or refused, and what it stands for is bounded and what a peer would compute.

Input: the text, the local part, the domain and the name of the client, a line each.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address

from harness import instrumented, run

with instrumented():
    from postlatch.senderauth.spf.identity import Identity, Letters
    from postlatch.senderauth.spf.macro import Macro, Part, expand_name, expand_text, parse_domain_spec, parse_explanation
    from postlatch.senderauth.spf.names import can_be_asked, fitted
    from postlatch.senderauth.spf.problem import TermError
    from postlatch.senderauth.spf.text import printable

LONGEST = 500


def one_input(data: bytes) -> None:
    """One input."""
    text, local_part, domain, helo = (*data.decode("utf-8", "surrogateescape").split("\n", 3), "", "", "", "")[:4]
    for client in ("192.0.2.1", "2001:db8::cb01"):
        identity = Identity(ip_address(client), local_part, domain, helo, "mx.example.net", 1e9)
        explanation(text, Letters(identity, domain, "mx.example.org"))
        name(text, Letters(identity, domain, "mx.example.org"))


def explanation(text: str, letters: Letters) -> None:
    """As what exp= leads to."""
    try:
        parts = parse_explanation(text)
    except TermError as error:
        told(error)
        return
    assert "%" in text or "".join(map(str, parts)) == text
    whole = expand_text(parts, letters, 10**9)
    assert whole.startswith(expand_text(parts, letters, LONGEST))
    shown = printable(whole, LONGEST)
    assert len(shown) <= LONGEST
    assert shown.isascii()
    assert shown.isprintable()
    for part in parts:
        if isinstance(part, Macro):
            macro(part, letters)


def told(error: TermError) -> None:
    """A sentence with its section."""
    assert "(RFC 7208 section" in str(error)


def macro(part: Macro, letters: Letters) -> None:
    """One macro, against its definition."""
    alone: tuple[Part, ...] = (part,)
    found = expand_text(alone, letters, 10**9)
    value = letters.value(part.letter)
    pieces = "".join("\n" if c in part.delimiters else c for c in value).split("\n")
    kept = (pieces[::-1] if part.reverse else pieces)[-part.parts :]
    if part.escape:
        assert all(c.isascii() and (c.isalnum() or c in "-._~%") for c in found)
    else:
        assert found == ".".join(kept) or "\n" in value


def name(text: str, letters: Letters) -> None:
    """As the name of a term."""
    try:
        spec = parse_domain_spec(text)
    except TermError as error:
        told(error)
        return
    found = expand_name(spec, letters)
    assert len(found) <= 253
    assert found == fitted(expand_text(spec.parts, letters, 10**9).lower())
    assert found == found.lower()
    if can_be_asked(found):
        assert all(0 < len(label) < 64 for label in found.split("."))
        assert printable(found) == found


_SAMPLES = (
    "%{s} %{l} %{o} %{d} %{i} %{p} %{v} %{h} %{c} %{r} %{t}",
    "%{S}%{L}%{H}",
    "%{ir}.%{v}._spf.%{d2}",
    "%{lr-}.lp.%{ir}.%{v}._spf.%{d2}.",
    "%{l1r+-=/,_.}.example",
    "%%%_%-",
    "%{d0}",
    "%{d999999}",
    "%{x}.example",
    "%(d)",
    "plain.example.org",
    "label." * 60 + "example",
    "a..b.example",
)


def seeds() -> Iterator[bytes]:
    """Texts, with names to put in."""
    for text in _SAMPLES:
        yield f"{text}\nstrong-bad+x=y\nemail.example.com\nmail.example.org".encode()
    yield "%{l}%{L}\njos\u00e9\x1b\nb\u00fccher.example\n[192.0.2.1]".encode()


if __name__ == "__main__":
    run(one_input, seeds)
