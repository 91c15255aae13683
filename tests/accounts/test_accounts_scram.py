"""SCRAM-SHA-256: the exchange of RFC 7677, a client of another author, and users that do not exist."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from accounts_support import NOW, PASSWORD, SECRET, SETTINGS, CountingHasher, Desk
from scramp import ScramClient

from postlatch.accounts import changes
from postlatch.accounts.authenticator import Authenticator, AuthSettings
from postlatch.accounts.book import AccountBook, Profile
from postlatch.accounts.decoys import Decoys
from postlatch.accounts.passwords import HashSettings, scram_verifier
from postlatch.accounts.sasl import Challenge, Failure, Step, Success
from postlatch.accounts.scram import Found, ScramSha256

ALICE = "alice@example.com"
DENIED = Failure(ALICE, malformed=False, reason="the proof is wrong")


@pytest.fixture
def vector(testdata: Path) -> dict[str, str]:
    vectors = json.loads((testdata / "scram" / "scram_vectors.json").read_text("utf-8"))["vectors"]
    found: dict[str, str] = next(v for v in vectors if v["mechanism"] == "SCRAM-SHA-256")
    return found


def exchange(vector: dict[str, str], *, known: bool = True) -> ScramSha256:
    verifier = scram_verifier(vector["password"].encode(), base64.b64decode(vector["salt_b64"]), int(vector["iterations"]))
    return ScramSha256(lambda _login: Found(verifier, known=known), vector["server_nonce"])


def test_the_exchange_of_rfc_7677(vector: dict[str, str]) -> None:
    mechanism = exchange(vector)
    assert mechanism.start(None) == Challenge(b"")
    assert mechanism.respond(vector["client_first"].encode()) == Challenge(vector["server_first"].encode())
    assert mechanism.respond(vector["client_final"].encode()) == Challenge(vector["server_final"].encode())
    assert mechanism.respond(b"") == Success("user")


def test_a_decoy_is_denied_even_if_its_proof_were_right(vector: dict[str, str]) -> None:
    mechanism = exchange(vector, known=False)
    mechanism.start(vector["client_first"].encode())
    answer = mechanism.respond(vector["client_final"].encode())
    assert answer == Failure("user", malformed=False, reason="the proof is wrong")


def test_an_exchange_has_one_proof(vector: dict[str, str]) -> None:
    mechanism = exchange(vector)
    mechanism.start(vector["client_first"].encode())
    assert isinstance(mechanism.respond(spoiled_proof(vector["client_final"]).encode()), Failure)
    assert isinstance(mechanism.respond(vector["client_final"].encode()), Failure)


def spoiled_proof(final: str) -> str:
    head, _, proof = final.rpartition(",p=")
    octets = bytearray(base64.b64decode(proof))
    octets[0] ^= 1
    return f"{head},p={base64.b64encode(octets).decode()}"


@pytest.mark.parametrize(
    ("change", "malformed"),
    [
        (spoiled_proof, False),
        (lambda final: final.replace("c=biws", "c=eSws"), False),  # y,, where n,, was said: a stripped binding
        (lambda final: final.replace("c=biws,", ""), True),
        (lambda final: final.replace(",r=rOpr", ",r=sOpr"), True),
        (lambda final: final[:-5], True),
        (lambda final: final + ",x=1", True),
        (lambda final: final.rpartition(",p=")[0], True),
        (lambda final: final.rpartition(",p=")[0] + ",p=AAAA", False),
        (lambda _final: "", True),
        (lambda _final: "e=other-error", True),
    ],
)
def test_a_changed_final_message_proves_nothing(vector: dict[str, str], change: Callable[[str], str], malformed: bool) -> None:
    mechanism = exchange(vector)
    mechanism.start(vector["client_first"].encode())
    answer = mechanism.respond(change(vector["client_final"]).encode())
    assert isinstance(answer, Failure)
    assert (answer.login, answer.malformed) == ("user", malformed)


@pytest.mark.parametrize(
    ("first", "malformed"),
    [
        (b"", True),
        (b"\xff", True),
        (b"n=user,r=abc", True),
        (b"n,,n=user", True),
        (b"n,,r=abc,n=user", True),
        (b"n,,n=,r=abc", True),
        (b"n,,n=us=er,r=abc", True),
        (b"n,,n=user,r=", True),
        (b"n,,n=user,r=a\xc3\xa4", True),
        (b"n,,m=ext,n=user,r=abc", True),
        (b"n,,n=user,n=victim,r=abc", True),
        (b"n,,n=us\0er,r=abc", True),
        (b"q,,n=user,r=abc", True),
        (b"n,a=victim,n=user,r=abc", False),
        (b"y,a=user,n=user,r=abc", False),
        (b"p=tls-unique,,n=user,r=abc", False),
        (b"p=tls-exporter,,n=user,r=abc", False),
        (b"p=tls-server-end-point,,n=user,r=abc", False),
    ],
)
def test_a_bad_first_message_is_told_from_a_denied_one(vector: dict[str, str], first: bytes, malformed: bool) -> None:
    answer = exchange(vector).start(first)
    assert isinstance(answer, Failure)
    assert answer.malformed is malformed


def test_the_exchange_ends_with_an_empty_response(vector: dict[str, str]) -> None:
    mechanism = exchange(vector)
    mechanism.start(vector["client_first"].encode())
    mechanism.respond(vector["client_final"].encode())
    answer = mechanism.respond(b"x")
    assert isinstance(answer, Failure)
    assert answer.malformed


def log_in(authenticator: Authenticator, login: str, password: str, between: Callable[[], None] = lambda: None) -> Step:
    """A whole exchange with scramp's client; ``between`` runs before its final message."""
    client = ScramClient(["SCRAM-SHA-256"], login, password)
    mechanism = authenticator.mechanism("SCRAM-SHA-256")
    assert mechanism is not None
    step = mechanism.start(client.get_client_first().encode())
    assert isinstance(step, Challenge)
    client.set_server_first(step.data.decode())
    between()
    step = mechanism.respond(client.get_client_final().encode())
    if not isinstance(step, Challenge):
        return step
    client.set_server_final(step.data.decode())
    return mechanism.respond(b"")


@pytest.mark.parametrize("password", [PASSWORD, "geh\u00e4m", "gehäm\u00ad", "\u2168 lives", "\u0627\u0628", "a,b=c"])
def test_another_authors_client_logs_in(password: str) -> None:
    desk = Desk()
    desk.add(ALICE, password)
    desk.add("printer-3", password, send_as=["@example.com"])
    assert log_in(desk.authenticator(), "Alice@Example.com", password) == Success(ALICE)
    assert log_in(desk.authenticator(), "printer-3", password) == Success("printer-3")
    assert log_in(desk.authenticator(), ALICE, password * 2) == DENIED
    assert desk.hasher.verified == [], "SCRAM needs no slow hash"


def test_a_suspended_account_still_logs_in() -> None:
    desk = Desk()
    desk.add(ALICE)
    desk.commit(changes.suspend(ALICE, "a leak", NOW))
    assert log_in(desk.authenticator(), ALICE, PASSWORD) == Success(ALICE)


def test_what_changes_between_the_messages_voids_the_proof() -> None:
    desk = Desk()
    desk.add(ALICE)
    new = desk.credentials("another password")
    assert (
        log_in(desk.authenticator(), ALICE, PASSWORD, lambda: void(desk.commit(changes.set_password(ALICE, new, NOW))))
        == DENIED
    )
    assert log_in(desk.authenticator(), ALICE, "another password", lambda: void(desk.commit(changes.delete(ALICE)))) == DENIED


def void(_value: object) -> None:
    return None


def server_first(authenticator: Authenticator, login: str) -> tuple[str, str]:
    """The salt and iterations that a stranger is told."""
    mechanism = authenticator.mechanism("SCRAM-SHA-256")
    assert mechanism is not None
    step = mechanism.start(f"n,,n={login},r=abc".encode())
    assert isinstance(step, Challenge)
    _nonce, salt, iterations = step.data.decode().split(",")
    return salt, iterations


def test_an_unknown_user_has_one_salt_for_ever_and_fails_at_the_end() -> None:
    desk = Desk()
    desk.add(ALICE)
    before, after = desk.authenticator(), desk.authenticator()  # two processes, or a restart
    assert server_first(before, "nobody@example.com") == server_first(after, "NOBODY@example.com")
    assert server_first(before, "nobody@example.com") != server_first(before, "nobody2@example.com")
    assert server_first(before, "nobody@example.com") != server_first(
        desk.authenticator(salt_secret=SECRET[::-1]), "nobody@example.com"
    )
    known, unknown = server_first(before, ALICE), server_first(before, "nobody@example.com")
    assert (len(known[0]), known[1]) == (len(unknown[0]), unknown[1]) == (len("s=") + 24, "i=4096")
    assert log_in(before, "nobody@example.com", PASSWORD) == Failure(
        "nobody@example.com", malformed=False, reason="the proof is wrong"
    )


def test_server_nonces_never_repeat() -> None:
    desk = Desk()
    authenticator = desk.authenticator()
    nonces = set()
    for _ in range(50):
        mechanism = authenticator.mechanism("SCRAM-SHA-256")
        assert mechanism is not None
        step = mechanism.start(b"n,,n=x,r=abc")
        assert isinstance(step, Challenge)
        nonces.add(step.data.split(b",")[0])
    assert len(nonces) == 50


def test_without_accounts_decoys_have_the_parameters_of_the_settings() -> None:
    assert server_first(Desk().authenticator(AuthSettings()), "nobody")[1] == "i=10000"


def test_after_a_change_of_parameters_decoys_have_old_and_new_ones_in_the_accounts_proportion() -> None:
    desk = Desk(CountingHasher("m=8,t=1,p=1"))
    for i in range(10):
        desk.add(f"user{i}@example.com")
    new = AuthSettings(hashing=HashSettings(iterations=8000))
    authenticator = desk.authenticator(new)
    names = [f"nobody{i}@example.com" for i in range(400)]
    assert {server_first(authenticator, name)[1] for name in names} == {"i=4096"}
    salts = {name: server_first(authenticator, name)[0] for name in names}
    seen: dict[str, list[str]] = {name: [] for name in names}
    for i in range(10):
        for name in names:
            seen[name].append(server_first(authenticator, name)[1])
        if i == 4:
            assert 120 < sum(history[-1] == "i=8000" for history in seen.values()) < 200
        fresh = desk.credentials()
        fresh = type(fresh)(fresh.password_hash, scram_verifier(PASSWORD.encode(), fresh.scram.salt, 8000))
        desk.commit(changes.set_password(f"user{i}@example.com", fresh, NOW))
    # As an account does, each moves on once, and never back.
    assert all(history == sorted(history) for history in seen.values())
    assert {server_first(authenticator, name)[1] for name in names} == {"i=8000"}
    assert all(server_first(authenticator, name)[0] != salt for name, salt in salts.items()), "new parameters, new salt"


def test_a_short_secret_for_salts_is_refused() -> None:
    with pytest.raises(ValueError, match="16 octets"):
        Decoys(AccountBook(), b"short", Profile(4096, "$argon2id$v=19$m=8,t=1,p=1"))


def test_settings_state_the_iterations() -> None:
    assert AuthSettings().hashing.iterations == 10_000
    assert SETTINGS.hashing.iterations == 4096
