"""Passwords: SASLprep by its own examples and against another implementation, and what is kept of them."""

from __future__ import annotations

import base64
import json
import stringprep
import unicodedata
from pathlib import Path

import pytest
from accounts_support import counting_random
from hypothesis import example, given
from hypothesis import strategies as st
from scramp import ScramException
from scramp.utils import saslprep as other_saslprep

from postlatch.accounts.passwords import (
    MAX_PASSWORD,
    Argon2Hasher,
    HashFailed,
    HashSettings,
    make_credentials,
    prepare_password,
    scram_verifier,
)
from postlatch.accounts.problem import AccountError
from postlatch.accounts.saslprep import PrepError, saslprep

CHEAP = HashSettings(memory=8, passes=1, lanes=1, iterations=4096)


@pytest.mark.parametrize(
    ("text", "prepared"),
    [
        ("I\u00adX", "IX"),  # the five of RFC 4013 section 3
        ("user", "user"),
        ("USER", "USER"),
        ("\u00aa", "a"),
        ("\u2168", "IX"),
        ("", ""),
        ("\u00ad", ""),
        ("a\u00a0b\u3000c", "a b c"),
        ("pa\u0308ss", "p\u00e4ss"),
        ("\u0627\u0628", "\u0627\u0628"),
        ("\u06271\u0628", "\u06271\u0628"),
    ],
)
def test_saslprep_gives_the_prepared_form(text: str, prepared: str) -> None:
    assert saslprep(text, stored=True) == saslprep(text, stored=False) == prepared


@pytest.mark.parametrize(
    "text",
    [
        "\u0007",
        "\u06271",
        "a\0",
        "\x7f",
        "\u0085",
        "\ue000",
        "\ufffe",
        "\ud800",
        "\ufff9",
        "\u2ff0",
        "\u202e",
        "\U000e0001",
        "a\u0627",
    ],
)
def test_saslprep_refuses_what_rfc_4013_prohibits(text: str) -> None:
    for stored in (True, False):
        with pytest.raises(PrepError):
            saslprep(text, stored=stored)


def test_what_unicode_3_2_did_not_know_is_refused_when_stored_only() -> None:
    assert saslprep("\U0001f600", stored=False) == "\U0001f600"
    with pytest.raises(PrepError, match="emoji"):
        saslprep("\U0001f600", stored=True)


@given(st.text(max_size=30))
@example("\u1680")
@example("\u200b")
def test_saslprep_agrees_with_another_implementation(text: str) -> None:
    try:
        expected: str | None = other_saslprep(text)
    except ScramException:
        expected = None
    try:
        found: str | None = saslprep(text, stored=True)
    except PrepError:
        found = None
    if found != expected:
        # The other one tests direction by the first letter alone, and does not refuse unassigned points that fold away.
        assert any(
            stringprep.in_table_d1(c) or stringprep.in_table_b1(c) for c in unicodedata.ucd_3_2_0.normalize("NFKC", text)
        )


@given(st.text(max_size=30))
def test_saslprep_prepares_what_is_prepared_to_itself(text: str) -> None:
    try:
        prepared = saslprep(text, stored=True)
    except PrepError:
        return
    assert saslprep(prepared, stored=True) == prepared


@pytest.mark.parametrize(
    ("password", "says"),
    [
        ("", "empty"),
        ("\u00ad", "empty"),
        ("pass\0word", "control"),
        ("pass\nword", "control"),
        ("x" * (MAX_PASSWORD + 1), "longer than 1024 octets"),
        ("ä" * 513, "longer than 1024 octets"),
        ("\ud800secret", "not valid text"),
    ],
)
def test_an_unusable_password_says_why_and_is_never_repeated(password: str, says: str) -> None:
    for stored in (True, False):
        with pytest.raises(AccountError, match=says) as caught:
            prepare_password(password, stored=stored)
        assert not password or password not in str(caught.value)


@given(st.text())
def test_any_text_is_a_password_without_nul_or_an_account_error(text: str) -> None:
    try:
        secret = prepare_password(text, stored=True)
    except AccountError:
        return
    assert secret
    assert b"\0" not in secret


def test_the_longest_password_is_used_to_its_last_octet() -> None:
    hasher = Argon2Hasher(CHEAP)
    encoded = hasher.hash(prepare_password("x" * MAX_PASSWORD, stored=True), b"s" * 16)
    assert hasher.verify(encoded, b"x" * MAX_PASSWORD)
    assert not hasher.verify(encoded, b"x" * (MAX_PASSWORD - 1) + b"y")


def test_hashes_are_argon2id_with_the_stated_parameters() -> None:
    assert Argon2Hasher(HashSettings()).prefix() == "$argon2id$v=19$m=19456,t=2,p=1"
    for settings in (CHEAP, HashSettings()):
        hasher = Argon2Hasher(settings)
        made = make_credentials("geheim", hasher, settings.iterations, counting_random())
        assert made.password_hash.startswith(f"{hasher.prefix()}$")
        assert not hasher.outdated(made.password_hash)
        assert hasher.verify(made.password_hash, b"geheim")
        assert not hasher.verify(made.password_hash, b"Geheim")
        assert (made.scram.iterations, len(made.scram.salt)) == (settings.iterations, 16)
    assert Argon2Hasher(CHEAP).outdated(
        make_credentials("x", Argon2Hasher(HashSettings()), 4096, counting_random()).password_hash
    )


def test_two_accounts_with_one_password_share_nothing() -> None:
    random = counting_random()
    one, two = (make_credentials("geheim", Argon2Hasher(CHEAP), 4096, random) for _ in range(2))
    assert one.password_hash != two.password_hash
    assert one.scram.stored_key != two.scram.stored_key
    assert one.scram.salt not in (two.scram.salt, base64.b64decode(one.password_hash.rsplit("$", 2)[1] + "=="))


@pytest.mark.parametrize("encoded", ["", "secret", "$argon2id$v=19$m=8,t=1,p=1$c2FsdA", "$2b$12$abc", "$argon2id$\u00e4$x$y"])
def test_a_spoiled_hash_is_no_answer(encoded: str) -> None:
    with pytest.raises(HashFailed):
        Argon2Hasher(CHEAP).verify(encoded, b"x")


def test_too_few_iterations_are_refused() -> None:
    with pytest.raises(ValueError, match="4096"):
        HashSettings(iterations=4095)


def test_nothing_secret_is_shown_by_repr() -> None:
    made = make_credentials("geheim", Argon2Hasher(CHEAP), 4096, counting_random())
    shown = repr(made)
    assert "argon2" not in shown
    assert "key" not in shown


def test_scram_keys_are_those_of_rfc_7677(testdata: Path) -> None:
    vectors = json.loads((testdata / "scram" / "scram_vectors.json").read_text("utf-8"))["vectors"]
    vector = next(v for v in vectors if v["mechanism"] == "SCRAM-SHA-256")
    made = scram_verifier(vector["password"].encode(), base64.b64decode(vector["salt_b64"]), vector["iterations"])
    assert base64.b64encode(made.stored_key).decode() == vector["stored_key_b64"]
    assert base64.b64encode(made.server_key).decode() == vector["server_key_b64"]
