"""TLS to next hops: taken when offered, demanded when configured, and no password without it (cases 20 and 21)."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme
from scramp import ScramMechanism
from scripted_peer import DROP, HANG, Conn, Peer, Pieces, Script, contexts_for, message, pooling, run, serving, target, until

from postlatch.delivery.contract import AttemptStatus, ConnectFailed, Target, TlsPolicy
from postlatch.delivery.pool import SessionPool
from postlatch.delivery.session import Timeouts
from postlatch.delivery.tls import TlsContexts, is_protected

OPPORTUNISTIC, REQUIRED, VERIFY = TlsPolicy.OPPORTUNISTIC, TlsPolicy.REQUIRED, TlsPolicy.VERIFY
AUTHORITY = trustme.CA()
STRANGER = trustme.CA()


def server_context(authority: trustme.CA = AUTHORITY, name: str = "peer.example.net") -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


@dataclass
class Scene:
    """A peer with TLS, and a pool that trusts AUTHORITY."""

    peer: Peer
    pool: SessionPool
    folder: Path

    async def failure(self, to: Target) -> ConnectFailed:
        """Why nothing could be delivered; nothing was."""
        with pytest.raises(ConnectFailed) as caught:
            await self.pool.deliver(to, message())
        assert self.peer.messages == []
        return caught.value


@asynccontextmanager
async def scene(folder: Path, peer: Peer) -> AsyncIterator[Scene]:
    timeouts = Timeouts(connect=5, handshake=0.5, quit=0.5)
    async with serving(peer), pooling(contexts=contexts_for(AUTHORITY, folder), timeouts=timeouts) as pool:
        yield Scene(peer, pool, folder)


def silent(_conn: Conn, _verb: str, _line: str) -> str | None:
    return None


@pytest.mark.parametrize("policy", list(TlsPolicy))
def test_a_good_certificate_serves_every_policy_and_the_mail_is_encrypted(policy: TlsPolicy, tmp_path: Path) -> None:
    async def main() -> None:
        async with scene(tmp_path, Peer(tls=server_context())) as s:
            attempts = await asyncio.gather(*(s.pool.deliver(target(s.peer, tls=policy), message()) for _ in range(3)))
            assert {a[0].status for a in attempts} == {AttemptStatus.DELIVERED}
            assert all(conn.secure for conn in s.peer.connections)
            assert s.peer.verbs[:4] == ["EHLO", "STARTTLS", "EHLO", "MAIL"]

    run(main())


@pytest.mark.parametrize("policy", [OPPORTUNISTIC, REQUIRED])
@pytest.mark.parametrize(("authority", "name"), [(STRANGER, "peer.example.net"), (AUTHORITY, "other.example.net")])
def test_without_verification_any_certificate_is_taken(
    policy: TlsPolicy, authority: trustme.CA, name: str, tmp_path: Path
) -> None:
    async def main() -> None:
        async with scene(tmp_path, Peer(tls=server_context(authority, name))) as s:
            await s.pool.deliver(target(s.peer, tls=policy), message())
            assert s.peer.connections[-1].secure

    run(main())


@pytest.mark.parametrize(
    ("authority", "name", "told"),
    [(STRANGER, "peer.example.net", "unable to get local issuer"), (AUTHORITY, "other.example.net", "Hostname mismatch")],
)
def test_verify_defers_for_a_strange_authority_or_a_wrong_name(
    authority: trustme.CA, name: str, told: str, tmp_path: Path
) -> None:
    async def main() -> None:
        async with scene(tmp_path, Peer(tls=server_context(authority, name))) as s:
            error = await s.failure(target(s.peer, tls=VERIFY, username="u", password="secret"))
            assert error.tls
            assert told in error.reply
            await until(lambda: s.peer.open == 0)
            assert len(s.peer.connections) == 1
            assert "AUTH" not in s.peer.verbs

    run(main())


def test_verify_of_a_numeric_host_needs_its_address_in_the_certificate(tmp_path: Path) -> None:
    async def main() -> None:
        async with scene(tmp_path, Peer(tls=server_context(AUTHORITY, "127.0.0.1"))) as s:
            await s.pool.deliver(target(s.peer, tls=VERIFY, host=""), message())
            assert s.peer.connections[0].secure
        async with scene(tmp_path, Peer(tls=server_context(AUTHORITY, "127.0.0.2"))) as s:
            assert (await s.failure(target(s.peer, tls=VERIFY, host=""))).tls

    run(main())


@pytest.mark.parametrize("policy", [REQUIRED, VERIFY])
def test_starttls_stripped_under_a_demand_defers(policy: TlsPolicy, tmp_path: Path) -> None:
    async def main() -> None:
        async with scene(tmp_path, Peer()) as s:
            error = await s.failure(target(s.peer, tls=policy))
            assert (error.tls, error.reply) == (True, "STARTTLS is not offered")
            assert s.peer.verbs == ["EHLO"]

    run(main())


@pytest.mark.parametrize("policy", [REQUIRED, VERIFY])
def test_starttls_refused_under_a_demand_defers(policy: TlsPolicy, tmp_path: Path) -> None:
    async def main() -> None:
        peer = Peer(tls=server_context(), script=lambda _c, verb, _l: "454 4.7.0 no" if verb == "STARTTLS" else None)
        async with scene(tmp_path, peer) as s:
            error = await s.failure(target(s.peer, tls=policy))
            assert (error.tls, error.reply) == (True, "STARTTLS was refused: 454 4.7.0 no")

    run(main())


def test_opportunistic_goes_on_in_plaintext_where_starttls_is_missing_or_refused(tmp_path: Path) -> None:
    async def main() -> None:
        refusing = Peer(tls=server_context(), script=lambda _c, verb, _l: "454 no" if verb == "STARTTLS" else None)
        for peer in (Peer(), refusing):
            async with scene(tmp_path, peer) as s:
                await s.pool.deliver(target(s.peer), message())
                assert len(peer.connections) == 1
                assert not peer.connections[0].secure

    run(main())


def broken_handshake(conn: Conn, verb: str, _line: str) -> str | None:
    """220 and then no TLS at all."""
    if verb != "STARTTLS":
        return None
    conn.send("220 go")
    asyncio.get_running_loop().call_later(0.02, conn.send, "what is this?")
    return HANG


def dropped_handshake(conn: Conn, verb: str, _line: str) -> str | None:
    if verb != "STARTTLS":
        return None
    conn.send("220 go")
    asyncio.get_running_loop().call_later(0.02, conn.drop)
    return HANG


def silent_handshake(conn: Conn, verb: str, _line: str) -> str | None:
    if verb != "STARTTLS":
        return None
    conn.send("220 go")
    return HANG


@pytest.mark.parametrize("script", [broken_handshake, dropped_handshake, silent_handshake])
def test_a_failed_handshake_is_made_good_in_plaintext_only_where_nothing_was_demanded(script: Script, tmp_path: Path) -> None:
    async def main() -> None:
        async with scene(tmp_path, Peer(tls=server_context(), script=script)) as s:
            for policy in (REQUIRED, VERIFY):
                error = await s.failure(target(s.peer, tls=policy))
                assert error.tls
                assert error.reply.startswith("TLS handshake failed")
            before = len(s.peer.connections)
            await s.pool.deliver(target(s.peer), message())
            tried, plain = s.peer.connections[before:]
            assert tried.verbs == ["EHLO", "STARTTLS"]
            assert plain.verbs[:2] == ["EHLO", "MAIL"]
            # The next delivery tries TLS again: the plaintext connection is not kept.
            await until(lambda: s.peer.open == 0)
            await s.pool.deliver(target(s.peer), message())
            assert s.peer.connections[before + 2].verbs == ["EHLO", "STARTTLS"]

    run(main())


@pytest.mark.parametrize(
    ("policy", "later"),
    [(OPPORTUNISTIC, False), (REQUIRED, False), (VERIFY, False), (REQUIRED, True), (VERIFY, True)],
)
def test_octets_behind_the_220_never_reach_the_session(policy: TlsPolicy, later: bool, tmp_path: Path) -> None:
    injected = "250-peer.example.net\r\n250 AUTH PLAIN"

    def script(conn: Conn, verb: str, _line: str) -> str | None:
        if verb != "STARTTLS":
            return None
        if later:  # in a packet of its own: then it meets the handshake, not the session
            conn.send("220 go")
            asyncio.get_running_loop().call_soon(conn.send, injected)
        else:
            conn.send(f"220 go\r\n{injected}")
        return HANG

    async def main() -> None:
        async with scene(tmp_path, Peer(tls=server_context(), script=script)) as s:
            error = await s.failure(target(s.peer, tls=policy, **CREDENTIALS if policy is VERIFY else {}))
            assert error.tls
            await until(lambda: s.peer.open == 0)
            assert [conn.verbs for conn in s.peer.connections] == [["EHLO", "STARTTLS"]]

    run(main())


CREDENTIALS = {"username": "relay@example.com", "password": "correct horse"}


@pytest.mark.parametrize("policy", [OPPORTUNISTIC, REQUIRED])
def test_a_login_without_verified_tls_is_refused_before_a_packet_is_sent(policy: TlsPolicy, tmp_path: Path) -> None:
    async def main() -> None:
        async with scene(tmp_path, Peer(tls=server_context())) as s:
            assert (await s.failure(target(s.peer, tls=policy, **CREDENTIALS))).tls
            assert s.peer.connections == []

    run(main())


def secured(mechanisms: str, script: Script) -> Peer:
    """A peer that offers AUTH only under TLS."""
    return Peer(secure_extensions=(f"AUTH {mechanisms}",), tls=server_context(), script=script)


def decoded(line: str) -> bytes:
    return base64.b64decode(line.rpartition(" ")[2])


def challenge(text: str) -> str:
    return f"334 {base64.b64encode(text.encode()).decode()}"


def test_plain_sends_the_name_and_password_in_one_go(tmp_path: Path) -> None:
    async def main() -> None:
        async with scene(tmp_path, secured("PLAIN LOGIN", silent)) as s:
            await s.pool.deliver(target(s.peer, tls=VERIFY, **CREDENTIALS), message())
            auth = next(line for line in s.peer.connections[0].lines if line.startswith("AUTH"))
            assert auth.startswith("AUTH PLAIN ")
            assert decoded(auth) == b"\0relay@example.com\0correct horse"
            await s.pool.deliver(target(s.peer, tls=VERIFY, **CREDENTIALS), message())
            assert s.peer.verbs.count("AUTH") == 1

    run(main())


def test_login_answers_two_prompts(tmp_path: Path) -> None:
    answers: list[bytes] = []

    def script(_conn: Conn, verb: str, line: str) -> str | None:
        if verb == "AUTH":
            return challenge("Username:")
        if verb == "CHALLENGED":
            answers.append(decoded(line))
            return challenge("Password:") if len(answers) == 1 else None
        return None

    async def main() -> None:
        async with scene(tmp_path, secured("LOGIN", script)) as s:
            await s.pool.deliver(target(s.peer, tls=VERIFY, **CREDENTIALS), message())
            assert answers == [b"relay@example.com", b"correct horse"]

    run(main())


class ScramPeer:
    """The server's side of SCRAM-SHA-256. ``final``: what it says instead of its proof."""

    def __init__(self, password: str, final: str | None = None) -> None:
        mechanism = ScramMechanism("SCRAM-SHA-256")
        info = mechanism.make_auth_info(password, iteration_count=4096)
        self._server = mechanism.make_server(lambda _name: info)
        self._final = final
        self._step = 0

    def __call__(self, _conn: Conn, verb: str, line: str) -> str | None:
        if verb == "AUTH":
            self._server.set_client_first(decoded(line).decode())
            return challenge(self._server.get_server_first())
        if verb == "CHALLENGED":
            return self._answer(line)
        return None

    def _answer(self, line: str) -> str:
        self._step += 1
        if self._step == 2:
            assert line == ""
            return "235 2.7.0 ok"
        if self._final is not None:
            return self._final
        self._server.set_client_final(decoded(line).decode())
        return challenge(self._server.get_server_final())


def test_scram_is_preferred_and_both_sides_prove_themselves(tmp_path: Path) -> None:
    async def main() -> None:
        async with scene(tmp_path, secured("LOGIN PLAIN SCRAM-SHA-256", ScramPeer("correct horse"))) as s:
            assert (await s.pool.deliver(target(s.peer, tls=VERIFY, **CREDENTIALS), message()))[0].status == "delivered"
            assert b"correct horse" not in b"".join(s.peer.connections[0].segments)

    run(main())


UNPROVEN = "login failed: the server broke the rules of SCRAM or does not know the password"


@pytest.mark.parametrize(
    ("final", "told"),
    [
        ("235 2.7.0 trust me", "login failed: the server ended it early"),
        (challenge("v=AAAA"), UNPROVEN),
        (challenge("e=other-error"), UNPROVEN),
        ("334 ", UNPROVEN),
    ],
)
def test_a_scram_server_that_does_not_prove_itself_gets_no_mail(final: str, told: str, tmp_path: Path) -> None:
    async def main() -> None:
        async with scene(tmp_path, secured("SCRAM-SHA-256", ScramPeer("correct horse", final))) as s:
            error = await s.failure(target(s.peer, tls=VERIFY, **CREDENTIALS))
            assert (error.reply, error.tls) == (told, False)

    run(main())


@pytest.mark.parametrize(
    ("mechanisms", "reply", "told"),
    [
        ("PLAIN", "535 5.7.8 wrong password", "login refused: 535 5.7.8 wrong password"),
        ("PLAIN", "454 4.7.0 later", "login refused: 454 4.7.0 later"),
        ("CRAM-MD5 XOAUTH2", None, "login failed: the server offers no mechanism that we know"),
        ("LOGIN", "235 ok", "login failed: the server ended it early"),
        ("PLAIN", "334 eA==", "login failed: a challenge that PLAIN does not have"),
        ("PLAIN", DROP, "lost connection while waiting for the reply to AUTH"),
    ],
)
def test_a_login_that_fails_fails_the_connection(mechanisms: str, reply: str | None, told: str, tmp_path: Path) -> None:
    async def main() -> None:
        peer = secured(mechanisms, lambda _c, verb, _l: reply if verb == "AUTH" else None)
        async with scene(tmp_path, peer) as s:
            error = await s.failure(target(s.peer, tls=VERIFY, **CREDENTIALS))
            assert error.reply == told
            assert not error.tls
            await until(lambda: s.peer.open == 0)

    run(main())


def test_a_large_streamed_message_passes_through_tls(tmp_path: Path) -> None:
    async def main() -> None:
        async with scene(tmp_path, Peer(tls=server_context())) as s:
            body = Pieces([b"y" * 65534 + b"\r\n"] * 40)
            assert (await s.pool.deliver(target(s.peer, tls=VERIFY), message(body=body)))[0].status == "delivered"
            assert len(s.peer.messages[0].raw) == body.size

    run(main())


def test_a_kept_tls_connection_that_the_peer_drops_is_remade(tmp_path: Path) -> None:
    async def main() -> None:
        async with scene(tmp_path, Peer(tls=server_context())) as s:
            for _ in range(2):
                await s.pool.deliver(target(s.peer, tls=VERIFY), message())
                s.peer.connections[-1].drop()
                await until(lambda: s.peer.open == 0)
            assert len(s.peer.messages) == 2

    run(main())


@pytest.mark.parametrize("policy", list(TlsPolicy))
def test_contexts_are_made_once_and_never_go_below_tls_1_2(policy: TlsPolicy) -> None:
    contexts = TlsContexts()
    context = contexts.of(policy)
    assert context is contexts.of(policy)
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert (context.verify_mode == ssl.CERT_REQUIRED) == (policy is VERIFY)
    assert context.check_hostname == (policy is VERIFY)


@pytest.mark.parametrize(
    "make",
    [
        lambda: None,
        object,
        lambda: TlsContexts().of(VERIFY).wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname="x.example"),
    ],
)
def test_a_handshake_that_did_not_happen_protects_nothing(make: Callable[[], object]) -> None:
    assert not any(is_protected(make(), policy) for policy in TlsPolicy)
