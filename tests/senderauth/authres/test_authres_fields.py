"""The fields that we write: in the RFC's form whatever a stranger chose, with every result. RFC 8601, RFC 7208 section 9.1."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postlatch.senderauth.authres import MAX_SIGNATURES, field, received_spf, strip
from postlatch.senderauth.results import (
    ArcResult,
    Authentication,
    Disposition,
    DkimResult,
    DmarcResult,
    Result,
    SpfResult,
)

SPF = SpfResult(Result.PASS, "example.org", "mfrom", mechanism="ip4:192.0.2.0/24", reason="the client may send")
DKIM = DkimResult(Result.PASS, "example.org", "s1", "rsa-sha256", "fits", identity="@example.org", signature="aB+/cD12")
ARC = ArcResult(Result.NONE, 0, "the message has no ARC chain")
DMARC = DmarcResult(Result.PASS, Disposition.NONE, "example.org", "example.org", True, True, "", Disposition.REJECT)


def found(
    spf: SpfResult = SPF,
    dkim: tuple[DkimResult, ...] = (DKIM,),
    arc: ArcResult = ARC,
    dmarc: DmarcResult = DMARC,
    helo: SpfResult | None = None,
) -> Authentication:
    return Authentication(spf, dkim, arc, dmarc, helo)


def test_a_message_that_passes() -> None:
    assert field("mx.example.com", found()).decode() == (
        "Authentication-Results: mx.example.com;\r\n"
        "\tspf=pass smtp.mailfrom=example.org;\r\n"
        "\tdkim=pass header.d=example.org header.i=@example.org header.s=s1\r\n"
        '\t header.a=rsa-sha256 header.b="aB+/cD12";\r\n'
        "\tarc=none;\r\n"
        "\tdmarc=pass header.from=example.org policy.dmarc=reject\r\n"
    )


def test_a_message_of_which_nothing_is_known() -> None:
    none = DmarcResult(Result.NONE, Disposition.NONE, "", "", False, False, "no From")
    text = field("mx.example.com", found(SpfResult(Result.NONE, "", "mfrom"), (), ARC, none)).decode()
    assert text == "Authentication-Results: mx.example.com;\r\n\tspf=none;\r\n\tdkim=none;\r\n\tarc=none;\r\n\tdmarc=none\r\n"


def test_a_bounce_has_helo_and_a_login_is_named() -> None:
    spf = SpfResult(Result.SOFTFAIL, "client.example", "helo")
    text = field("mx.example.com", found(spf, helo=SPF), smtp_auth="alice").decode()
    assert text.startswith(
        "Authentication-Results: mx.example.com;\r\n\tauth=pass smtp.auth=alice;\r\n\tspf=softfail smtp.helo=client.example;"
    )
    assert "spf=pass smtp.mailfrom=example.org" in text


def test_why_a_signature_or_a_chain_is_not_good_is_said() -> None:
    bad = DKIM._replace(result=Result.FAIL, reason='the body "was" \\changed (RFC 6376)')
    arc = ArcResult(Result.FAIL, 2, "the seal 1 does not fit")
    text = field("mx.example.com", found(dkim=(bad,), arc=arc)).decode()
    assert 'dkim=fail reason="the body \\"was\\" \\\\changed (RFC 6376)"' in text
    assert 'arc=fail reason="the seal 1 does not fit"' in text


def test_a_chain_names_its_newest_sealer() -> None:
    arc = ArcResult(Result.PASS, 2, "", ("a.example", "b.example"))
    assert "\tarc=pass (i=2 sealed by b.example);\r\n" in field("mx.example.com", found(arc=arc)).decode()


def test_every_result_of_every_method_is_written_as_the_rfc_names_it() -> None:
    for result in Result:
        text = field("x", found(SPF._replace(result=result), (DKIM._replace(result=result),))).decode()
        assert f"spf={result.value} " in text
        assert f"dkim={result.value} " in text


def test_many_signatures_make_no_endless_field() -> None:
    text = field("mx.example.com", found(dkim=(DKIM,) * 1000))
    assert text.count(b"dkim=") == MAX_SIGNATURES
    assert len(text) < 8192


@dataclass
class Reader:
    """Reads a field by the grammar of RFC 8601 section 2.2, to see whether it can be misread."""

    text: str
    at: int = 0

    def word(self) -> str:
        """A token or a quoted-string, its value."""
        if self.text[self.at] != '"':
            start = self.at
            while self.at < len(self.text) and self.text[self.at] not in ' ;"=':
                self.at += 1
            return self.text[start : self.at]
        self.at += 1
        value = ""
        while self.text[self.at] != '"':
            self.at += self.text[self.at] == "\\"
            value += self.text[self.at]
            self.at += 1
        self.at += 1
        return value

    def skip(self) -> None:
        while self.text[self.at : self.at + 1] == " ":
            self.at += 1
        if self.text[self.at : self.at + 1] == "(":
            self.at = self.text.index(")", self.at) + 1

    def read(self) -> list[list[tuple[str, str]]]:
        results: list[list[tuple[str, str]]] = [[("id", self.word())]]
        while self.at < len(self.text):
            if self.text[self.at] == ";":
                results.append([])
                self.at += 1
            self.skip()
            name = self.word()
            if not name:
                continue
            assert self.text[self.at] == "=", self.text[self.at :]
            self.at += 1
            results[-1].append((name, self.word()))
            self.skip()
        return results


def read(raw: bytes) -> list[list[tuple[str, str]]]:
    assert raw.endswith(b"\r\n")
    assert raw.isascii()
    lines = raw.decode()[:-2].split("\r\n")
    assert all(line.isprintable() for line in (text.removeprefix("\t") for text in lines))
    assert all(line.startswith("\t") and line.strip() for line in lines[1:])
    assert max(map(len, lines)) <= 998
    name, colon, value = " ".join(line.strip("\t ") for line in lines).partition(": ")
    assert (name, colon) == ("Authentication-Results", ": ")
    return Reader(value).read()


ANY = st.one_of(
    st.text(max_size=30),
    st.sampled_from(["a@b.example", "x.example", '";', "\r\nX: y", "(", "a b", "\\", "=", "\u202e", "x" * 900]),
)


@given(ANY, ANY, ANY, ANY, st.sampled_from(list(Result)))
@settings(deadline=None)
def test_no_text_of_a_stranger_becomes_structure(domain: str, selector: str, identity: str, login: str, result: Result) -> None:
    dkim = DkimResult(result, domain, selector, "rsa-sha256", identity, identity, selector)
    dmarc = DMARC._replace(from_domain=domain)
    arc = ArcResult(Result.FAIL, 1, identity)
    raw = field("mx.example.com", found(SPF._replace(domain=domain), (dkim,), arc, dmarc), smtp_auth=login)
    id_, auth, spf, signature, chain, policy = read(raw)
    assert id_ == [("id", "mx.example.com")]
    assert auth[0] == ("auth", "pass")
    assert spf[0] == ("spf", "pass")
    assert signature[0] == ("dkim", result.value)
    assert chain[0] == ("arc", "fail")
    assert policy[0] == ("dmarc", "pass")
    allowed = {
        "smtp.auth",
        "smtp.mailfrom",
        "header.d",
        "header.i",
        "header.s",
        "header.a",
        "header.b",
        "header.from",
        "policy.dmarc",
    }
    assert {name for part in (auth, spf, signature, chain, policy) for name, _ in part[1:]} <= {*allowed, "reason"}
    assert strip(raw, "mx.example.com") == (b"", 1)


# Received-SPF


def test_received_spf_of_a_pass() -> None:
    raw = received_spf(SPF, client="2001:db8::1", helo="client.example", receiver="mx.example.com", sender="a@example.org")
    assert raw.decode() == (
        "Received-SPF: pass (mx.example.com: the client may send)\r\n"
        '\tclient-ip="2001:db8::1"; envelope-from="a@example.org"; helo=client.example;\r\n'
        '\t receiver=mx.example.com; identity=mailfrom; mechanism="ip4:192.0.2.0/24";\r\n'
    )


def test_received_spf_of_a_bounce_whose_check_failed() -> None:
    spf = SpfResult(Result.TEMPERROR, "client.example", "helo", reason="the DNS did not answer (RFC 7208 section 2.6.6)")
    raw = received_spf(spf, client="192.0.2.1", helo="[192.0.2.1]", receiver="mx.example.com", sender=None).decode()
    assert raw.startswith("Received-SPF: temperror (mx.example.com: the DNS did not answer [RFC 7208 section 2.6.6])\r\n")
    assert 'envelope-from="";' in raw
    assert "identity=helo;" in raw
    assert 'helo="[192.0.2.1]";' in raw
    assert 'problem="the DNS did not answer (RFC 7208 section 2.6.6)";' in raw


@pytest.mark.parametrize("result", list(Result))
@given(ANY, ANY, ANY)
@settings(deadline=None)
def test_received_spf_is_one_field_whatever_is_in_it(result: Result, helo: str, sender: str, reason: str) -> None:
    spf = SPF._replace(result=result, reason=reason, mechanism=helo)
    raw = received_spf(spf, client="192.0.2.1", helo=helo, receiver="mx.example.com", sender=sender)
    lines = raw.decode("ascii").removesuffix("\r\n").split("\r\n")
    assert all(line.startswith("\t") for line in lines[1:])
    assert all(len(line) < 998 and line.removeprefix("\t").isprintable() for line in lines)
    comment, _, rest = lines[0].partition("(")[2].partition(")")
    assert not set("()\\") & set(comment)
    assert rest == ""
