"""SCRAM-SHA-256-PLUS: the exchange bound to the connection, and what a client may not say where it is offered."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from accounts_support import PASSWORD, Desk
from scramp import ScramClient

from postlatch.accounts.mechanisms import MECHANISMS, NO_CHANNEL, Channel, make_mechanism, offered
from postlatch.accounts.oauth import Discovery
from postlatch.accounts.passwords import scram_verifier
from postlatch.accounts.sasl import Challenge, Failure, Step, Success
from postlatch.accounts.scram import BINDING, PLUS, Found, ScramSha256

ALICE = "alice@example.com"
BOUND = b"the hash of our certificate....."
CHANNEL = Channel(BOUND)


def log_in(name: str, client: ScramClient, channel: Channel = CHANNEL) -> Step:
    desk = Desk()
    desk.add(ALICE)
    mechanism = desk.authenticator().mechanism(name, channel)
    assert mechanism is not None
    step = mechanism.start(client.get_client_first().encode())
    if not isinstance(step, Challenge):
        return step
    client.set_server_first(step.data.decode())
    step = mechanism.respond(client.get_client_final().encode())
    if not isinstance(step, Challenge):
        return step
    client.set_server_final(step.data.decode())
    return mechanism.respond(b"")


def client(name: str, binding: tuple[str, bytes] | None, password: str = PASSWORD) -> ScramClient:
    return ScramClient([name], ALICE, password, channel_binding=binding)


def denied(step: Step) -> str:
    assert isinstance(step, Failure)
    assert not step.malformed
    return step.reason


def test_a_client_that_is_bound_to_our_certificate_logs_in() -> None:
    assert log_in(PLUS, client(PLUS, (BINDING, BOUND))) == Success(ALICE)
    assert denied(log_in(PLUS, client(PLUS, (BINDING, BOUND), "another password"))) == "the proof is wrong"


def test_a_client_that_saw_another_certificate_is_refused() -> None:
    """Somebody stands between us: the password is right, and must not help them."""
    reason = denied(log_in(PLUS, client(PLUS, (BINDING, b"the hash of another certificate."))))
    assert reason == "the channel binding does not match"


@pytest.mark.parametrize("other", ["tls-unique", "tls-unique-for-telnet"])
def test_another_binding_is_refused(other: str) -> None:
    assert denied(log_in(PLUS, client(PLUS, (other, BOUND)))) == "it demanded channel binding of another type"


def test_a_client_that_was_not_shown_plus_is_refused_where_it_is_offered() -> None:
    """RFC 5802 section 6: ``y`` says that the client could, and that the server cannot. Somebody has cut our list."""
    mechanism = make_mechanism("SCRAM-SHA-256", _nobody, lambda size: b"r" * size, CHANNEL)
    assert mechanism is not None
    assert denied(mechanism.start(b"y,,n=user,r=abc")) == "it did not see that channel binding is offered"
    without = make_mechanism("SCRAM-SHA-256", _nobody, lambda size: b"r" * size)
    assert without is not None
    assert isinstance(without.start(b"y,,n=user,r=abc"), Challenge), "where it is not offered, that is the truth"


def test_the_plain_mechanism_goes_on_working_beside_plus() -> None:
    assert log_in("SCRAM-SHA-256", client("SCRAM-SHA-256", None)) == Success(ALICE)


@pytest.mark.parametrize("flag", ["p=tls-server-end-point", "p=tls-unique", "p=tls-exporter", "p="])
@pytest.mark.parametrize("channel", [CHANNEL, NO_CHANNEL])
def test_the_plain_mechanism_takes_no_binding(flag: str, channel: Channel) -> None:
    mechanism = make_mechanism("SCRAM-SHA-256", _nobody, lambda size: b"r" * size, channel)
    assert mechanism is not None
    assert denied(mechanism.start(f"{flag},,n=user,r=abc".encode())) == "it demanded channel binding"


@pytest.mark.parametrize("first", ["n,,n=user,r=abc", "y,,n=user,r=abc"])
def test_plus_without_a_binding_is_refused(first: str) -> None:
    mechanism = make_mechanism(PLUS, _nobody, lambda size: b"r" * size, CHANNEL)
    assert mechanism is not None
    assert denied(mechanism.start(first.encode())) == "it did not see that channel binding is offered"


def test_plus_takes_no_authorization_identity() -> None:
    mechanism = make_mechanism(PLUS, _nobody, lambda size: b"r" * size, CHANNEL)
    assert mechanism is not None
    first = b"p=tls-server-end-point,a=victim,n=user,r=abc"
    assert denied(mechanism.start(first)) == "it named an authorization identity"


def test_the_exchange_of_rfc_7677_with_a_binding_added(testdata: Path) -> None:
    """Its nonces, salt and password; the header and the proof are those that a binding makes of it."""
    vectors = json.loads((testdata / "scram" / "scram_vectors.json").read_text("utf-8"))["vectors"]
    vector = next(v for v in vectors if v["mechanism"] == "SCRAM-SHA-256")
    verifier = scram_verifier(vector["password"].encode(), base64.b64decode(vector["salt_b64"]), int(vector["iterations"]))
    server = ScramSha256(lambda _login: Found(verifier, known=True), vector["server_nonce"], BOUND, plus=True)
    other = ScramClient([PLUS], vector["username"], vector["password"], (BINDING, BOUND), vector["client_nonce"])
    first = other.get_client_first().encode()
    step = server.start(first)
    assert step == Challenge(vector["server_first"].encode())
    other.set_server_first(vector["server_first"])
    final = other.get_client_final()
    assert final.startswith("c=" + base64.b64encode(b"p=tls-server-end-point,," + BOUND).decode())
    # The vector's own final message proves the same password without the binding: it is no proof here.
    unbound = ScramSha256(lambda _login: Found(verifier, known=True), vector["server_nonce"], BOUND, plus=True)
    unbound.start(first)
    assert denied(unbound.respond(vector["client_final"].encode())) == "the channel binding does not match"
    assert isinstance(server.respond(final.encode()), Challenge)
    assert server.respond(b"") == Success("user")


def test_what_is_offered_depends_on_the_connection() -> None:
    assert offered(MECHANISMS, NO_CHANNEL) == ("SCRAM-SHA-256", "PLAIN", "LOGIN")
    assert offered(MECHANISMS, CHANNEL) == (PLUS, "SCRAM-SHA-256", "PLAIN", "LOGIN")
    assert offered(MECHANISMS, Channel(logins=frozenset({ALICE}))) == ("SCRAM-SHA-256", "EXTERNAL", "PLAIN", "LOGIN")
    tokens = offered(MECHANISMS, Channel(tokens=Discovery()))
    assert tokens == ("SCRAM-SHA-256", "OAUTHBEARER", "XOAUTH2", "PLAIN", "LOGIN")
    assert offered(("PLAIN", "LOGIN"), CHANNEL) == ("PLAIN", "LOGIN"), "no SCRAM, no PLUS"


@pytest.mark.parametrize("name", [PLUS, "EXTERNAL", "OAUTHBEARER", "XOAUTH2"])
def test_what_is_not_offered_cannot_be_made(name: str) -> None:
    assert make_mechanism(name, _nobody, lambda size: b"r" * size) is None


def _nobody(_login: str) -> Found:
    return Found(scram_verifier(b"x", b"salt of 16 bytes", 4096), known=False)
