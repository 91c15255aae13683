"""Application passwords: made at random, kept as digests, good for both forms of the login, and gone when they are revoked."""

from __future__ import annotations

import re
from ipaddress import ip_network

import pytest
from accounts_support import NOW, PASSWORD, SETTINGS, Desk, run
from scramp import ScramClient, ScramException

from postlatch.accounts import changes
from postlatch.accounts.app_passwords import ITERATIONS, MOST, Claim, Secret, split_login
from postlatch.accounts.authenticator import Authenticator, AuthSettings
from postlatch.accounts.changes import Scope
from postlatch.accounts.problem import AccountError
from postlatch.accounts.sasl import Challenge, Failure, Success
from postlatch.policy.snapshot import AppPassword

ALICE, BOB = "alice@example.com", "bob@example.com"


@pytest.fixture
def desk() -> Desk:
    desk = Desk()
    desk.add(ALICE, send_as=("info@example.com", "@team.example"))
    desk.add(BOB)
    return desk


def make(desk: Desk, name: str = "printer", login: str = ALICE, scope: Scope = Scope()) -> Secret:  # noqa: B008 - a constant
    secret = desk.authenticator().new_secret(login)
    desk.commit(changes.add_app_password(login, name, scope, secret, now=desk.clock.now(), by="root"))
    return secret


@pytest.mark.parametrize(
    ("text", "claim"),
    [
        ("alice@example.com", Claim(ALICE)),
        ("Alice@EXAMPLE.com", Claim(ALICE)),
        ("Alice@EXAMPLE.com/Printer", Claim(ALICE, "printer")),
        ("team/printer", Claim("team", "printer")),
        ("a/b@example.com", Claim("a/b@example.com")),
        ("a/b@example.com/x", Claim("a/b@example.com", "x")),
        ("alice@example.com/", Claim("alice@example.com/")),
        ("/printer", Claim("/printer")),
        ("alice@example.com/=token", Claim("alice@example.com/=token")),
        ("alice@example.com/a b", Claim("alice@example.com/a b")),
        ("", Claim("")),
    ],
)
def test_a_login_may_name_the_application_password_behind_its_last_slash(text: str, claim: Claim) -> None:
    assert split_login(text) == claim


def test_a_secret_is_140_random_bits_in_groups_and_is_kept_nowhere(desk: Desk) -> None:
    secret = make(desk)
    assert re.fullmatch(r"(?:[a-z2-7]{4}-){6}[a-z2-7]{4}", secret.text)
    assert make(desk, "phone").text != secret.text
    plain = secret.text.replace("-", "")
    for row in desk.connection.execute("SELECT * FROM app_passwords"):
        assert secret.text not in str(row)
        assert plain not in str(row)
    assert plain not in repr(secret)
    assert secret.text not in repr(desk.book.get(ALICE))


def test_both_forms_of_the_login_and_every_way_of_typing_it_are_accepted(desk: Desk) -> None:
    secret, phone = make(desk).text, make(desk, "phone").text
    authenticator = desk.authenticator()
    for typed in (secret, secret.replace("-", ""), secret.upper(), secret.replace("-", " "), f" {secret} "):
        assert run(authenticator.verify(ALICE, typed)) == Claim(ALICE, "printer")
        assert run(authenticator.verify("Alice@example.com/Printer", typed)) == Claim(ALICE, "printer")
    assert run(authenticator.verify(ALICE, phone)) == Claim(ALICE, "phone")
    assert desk.hasher.verified == []  # no slow hash for what nobody can guess


def test_it_opens_nothing_else(desk: Desk) -> None:
    secret, phone = make(desk).text, make(desk, "phone").text
    authenticator = desk.authenticator()
    for login, password in (
        (BOB, secret),
        (f"{BOB}/printer", secret),
        (f"{ALICE}/phone", secret),
        (f"{ALICE}/printer", phone),
        (f"{ALICE}/nothing", secret),
        (f"{ALICE}/printer", PASSWORD),
        (f"{ALICE}/printer", secret[:-1]),
        (ALICE, secret[:-1] + ("a" if secret[-1] != "a" else "b")),
        (ALICE, secret + "a"),
        (ALICE, "-" * 20),
    ):
        assert run(authenticator.verify(login, password)) is None, login


def test_a_known_name_and_an_unknown_one_cost_the_same(desk: Desk) -> None:
    make(desk)
    work = []
    for login in (f"{ALICE}/printer", f"{ALICE}/nothing", "nobody@example.com/printer", "nobody@example.com"):
        desk.hasher.verified.clear()
        run(desk.authenticator().verify(login, "wrong"))
        work.append(list(desk.hasher.verified))
    assert work == [["$argon2id$v=19$m=8,t=1,p=1"]] * 4


def test_revoked_it_is_wrong_at_once_and_made_anew_it_is_another(desk: Desk) -> None:
    old = make(desk)
    authenticator = desk.authenticator()
    first = authenticator.admit(Claim(ALICE, "printer"), NOW)
    desk.commit(changes.revoke_app_password(ALICE, "Printer"))
    assert run(authenticator.verify(ALICE, old.text)) is None
    assert authenticator.admit(Claim(ALICE, "printer"), NOW) is None
    assert authenticator.generation(ALICE, "printer") is None
    new = make(desk)
    assert run(authenticator.verify(ALICE, old.text)) is None
    assert run(authenticator.verify(ALICE, new.text)) == Claim(ALICE, "printer")
    second = authenticator.generation(ALICE, "printer")
    assert None not in (first, second)
    assert first != second  # so a session that the old one began is over


def test_a_new_main_password_leaves_it_and_a_deleted_account_does_not(desk: Desk) -> None:
    secret = make(desk).text
    authenticator = desk.authenticator()
    generation = authenticator.generation(ALICE, "printer")
    desk.commit(changes.set_password(ALICE, desk.credentials("new"), NOW))
    assert run(authenticator.verify(ALICE, secret)) == Claim(ALICE, "printer")
    assert authenticator.generation(ALICE, "printer") == generation
    desk.commit(changes.delete(ALICE))
    assert run(authenticator.verify(ALICE, secret)) is None
    desk.add(ALICE)
    assert run(authenticator.verify(ALICE, secret)) is None
    assert desk.connection.execute("SELECT count(*) FROM app_passwords").fetchone() == (0,)


def test_what_it_may_do_reaches_the_policy(desk: Desk) -> None:
    scope = Scope(("Info@example.com", "x@team.example"), ("10.0.3.0/28", "::ffff:192.0.2.0/120"), NOW + 60)
    make(desk, scope=scope)
    networks = (ip_network("10.0.3.0/28"), ip_network("192.0.2.0/24"))
    expected = AppPassword("printer", frozenset({"info@example.com", "x@team.example"}), networks, NOW + 60)
    assert desk.book.policy_accounts()[ALICE].app_passwords == {"printer": expected}
    desk.book.load(desk.connection)
    assert desk.book.policy_accounts()[ALICE].app_passwords == {"printer": expected}


@pytest.mark.parametrize(
    ("name", "scope", "told"),
    [
        ("", Scope(), "1 to 64 letters"),
        ("a/b", Scope(), "1 to 64 letters"),
        ("=token", Scope(), "1 to 64 letters"),
        ("drücker", Scope(), "1 to 64 letters"),
        ("x", Scope(("bob@example.com",)), "may not send as bob@example.com"),
        ("x", Scope(("@example.com",)), "may not send as @example.com"),
        ("x", Scope(("<>",)), "may not send as <>"),
        ("x", Scope(("x@sub.team.example",)), "may not send as"),
        ("x", Scope((), ("10.0.3.1/28",)), "is no network"),
        ("x", Scope((), ("anywhere",)), "is no network"),
        ("taken", Scope(), "already"),
    ],
)
def test_what_is_wrong_is_said(desk: Desk, name: str, scope: Scope, told: str) -> None:
    make(desk, "taken")
    with pytest.raises(AccountError, match=re.escape(told)):
        make(desk, name, scope=scope)


def test_an_account_has_a_bounded_number_and_must_exist(desk: Desk) -> None:
    for number in range(MOST):
        make(desk, f"n{number}")
    with pytest.raises(AccountError, match="revoke those"):
        make(desk, "one-more")
    with pytest.raises(AccountError, match="no account"):
        make(desk, login="nobody@example.com")
    with pytest.raises(AccountError, match="no application password"):
        desk.commit(changes.revoke_app_password(ALICE, "never"))


def test_the_main_password_can_be_kept_from_logging_in(desk: Desk) -> None:
    """Not even its being right can be learned: it costs and answers what a wrong one does."""
    secret = make(desk).text
    settings = AuthSettings(hashing=SETTINGS.hashing, main_password=False)
    authenticator = desk.authenticator(settings)
    assert run(authenticator.verify(ALICE, PASSWORD)) is None
    assert len(desk.hasher.verified) == 1
    assert run(authenticator.verify(ALICE, PASSWORD)) is None
    assert len(desk.hasher.verified) == 2
    assert run(authenticator.verify(ALICE, secret)) == Claim(ALICE, "printer")
    assert not isinstance(scram(authenticator, ALICE, PASSWORD), Success)
    assert isinstance(scram(authenticator, f"{ALICE}/printer", secret), Success)


def test_uses_are_noted_and_survive_in_the_database(desk: Desk) -> None:
    make(desk)
    authenticator = desk.authenticator()
    authenticator.admit(Claim(ALICE, "printer"), NOW + 5)
    authenticator.admit(Claim(ALICE), NOW + 5)
    authenticator.admit(Claim(ALICE, "=token"), NOW + 5)
    assert authenticator.used == {(ALICE, "printer"): NOW + 5}
    desk.connection.execute("BEGIN")
    changes.note_used({**authenticator.used, (ALICE, "never"): NOW})(desk.connection)
    desk.connection.execute("COMMIT")
    desk.book.note_used(authenticator.used)
    [one] = desk.book.app_passwords(ALICE)
    assert one.last_used == NOW + 5
    desk.book.load(desk.connection)
    [one] = desk.book.app_passwords(ALICE)
    assert one.last_used == NOW + 5


# SCRAM


def scram(authenticator: Authenticator, login: str, password: str) -> Success | Failure:
    """A whole exchange with another's client."""
    client = ScramClient(["SCRAM-SHA-256"], login, password, c_nonce="rOprNGfwEbeRWgbNEkqO")
    mechanism = authenticator.mechanism("SCRAM-SHA-256")
    assert mechanism is not None
    step = mechanism.start(client.get_client_first().encode())
    assert isinstance(step, Challenge)
    client.set_server_first(step.data.decode())
    step = mechanism.respond(client.get_client_final().encode())
    if isinstance(step, Challenge):
        client.set_server_final(step.data.decode())
        step = mechanism.respond(b"")
    assert isinstance(step, Success | Failure)
    return step


def server_first(authenticator: Authenticator, login: str) -> dict[str, str]:
    """Salt and iterations, as anybody can ask for them."""
    mechanism = authenticator.mechanism("SCRAM-SHA-256")
    assert mechanism is not None
    step = mechanism.start(f"n,,n={login},r=rOprNGfwEbeRWgbNEkqO".encode())
    assert isinstance(step, Challenge)
    return {part[0]: part[2:] for part in step.data.decode().split(",")}


def test_scram_works_with_the_login_that_names_it(desk: Desk) -> None:
    secret = make(desk).text
    authenticator = desk.authenticator()
    for login in (f"{ALICE}/printer", "Alice@Example.com/Printer"):
        step = scram(authenticator, login, secret)
        assert isinstance(step, Success)
        assert split_login(step.login) == Claim(ALICE, "printer")
    for login, password in ((ALICE, secret), (f"{ALICE}/printer", PASSWORD), (f"{ALICE}/nothing", secret)):
        assert isinstance(scram(authenticator, login, password), Failure)


def test_scram_shows_nobody_which_application_passwords_there_are(desk: Desk) -> None:
    make(desk)
    authenticator = desk.authenticator()
    logins = (f"{ALICE}/printer", f"{ALICE}/nothing", "nobody@example.com/printer")
    shown = [server_first(authenticator, login) for login in logins]
    assert [one["i"] for one in shown] == [str(ITERATIONS)] * 3
    assert len({one["s"] for one in shown}) == 3
    assert {len(one["s"]) for one in shown} == {24}
    assert [server_first(authenticator, login)["s"] for login in logins] == [one["s"] for one in shown]
    assert server_first(authenticator, "ALICE@example.com/NOTHING")["s"] == shown[1]["s"]


def test_a_scram_exchange_ends_with_the_revocation(desk: Desk) -> None:
    secret = make(desk).text
    client = ScramClient(["SCRAM-SHA-256"], f"{ALICE}/printer", secret, c_nonce="rOprNGfwEbeRWgbNEkqO")
    mechanism = desk.authenticator().mechanism("SCRAM-SHA-256")
    assert mechanism is not None
    step = mechanism.start(client.get_client_first().encode())
    assert isinstance(step, Challenge)
    client.set_server_first(step.data.decode())
    desk.commit(changes.revoke_app_password(ALICE, "printer"))
    with pytest.raises(ScramException):  # RFC 5802: an error instead of a signature
        raise ScramException(str(mechanism.respond(client.get_client_final().encode())))
    assert isinstance(mechanism.respond(b""), Failure)
