"""How TLS fared is told once a connection, for whose mail it was opened (RFC 8460 section 4.3)."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trustme
from scripted_peer import DROP, Conn, Peer, contexts_for, mailbox, message, pooling, run, serving, target

from postlatch.delivery.contract import ConnectFailed, Target, TlsPolicy
from postlatch.delivery.pool import SessionPool
from postlatch.delivery.session import Timeouts
from postlatch.delivery.tls_seen import TlsSession

AUTHORITY = trustme.CA()
STRANGER = trustme.CA()


def context(authority: trustme.CA = AUTHORITY, name: str = "peer.example.net", ends: datetime | None = None) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name, not_after=ends).configure_cert(made)
    return made


def old_context() -> ssl.SSLContext:
    """A server that speaks TLS only with a key exchange that we do not have."""
    made = context()
    made.maximum_version = ssl.TLSVersion.TLSv1_2
    made.set_ciphers("PSK-AES128-CBC-SHA:AES128-SHA")
    return made


async def deliver(pool: SessionPool, to: Target, domain: str = "example.net") -> None:
    try:
        await pool.deliver(to, message(mx_domain=domain))
    except ConnectFailed:
        return


def told(peer: Peer, tls: TlsPolicy, folder: Path, domain: str = "example.net", times: int = 1) -> list[TlsSession]:
    """What was told of ``times`` messages, one after the other."""
    seen: list[TlsSession] = []

    async def main() -> None:
        timeouts = Timeouts(connect=5, handshake=0.5, quit=0.5)
        contexts = contexts_for(AUTHORITY, folder)
        async with serving(peer), pooling(contexts=contexts, timeouts=timeouts, tls_seen=seen.append) as pool:
            for _ in range(times):
                await deliver(pool, target(peer, tls=tls), domain)

    run(main())
    return seen


SUCCESS = TlsSession("example.net", "peer.example.net", "127.0.0.1", "127.0.0.1")


@pytest.mark.parametrize("tls", list(TlsPolicy))
def test_a_success_is_told_once_a_connection_however_many_messages_it_carries(tls: TlsPolicy, tmp_path: Path) -> None:
    peer = Peer(tls=context())
    assert told(peer, tls, tmp_path, times=3) == [SUCCESS]
    assert len(peer.messages) == 3


@pytest.mark.parametrize("tls", list(TlsPolicy))
def test_a_host_without_starttls_is_told_whether_its_mail_goes_or_not(tls: TlsPolicy, tmp_path: Path) -> None:
    peer = Peer()
    assert told(peer, tls, tmp_path) == [SUCCESS._replace(result="starttls-not-supported")]
    assert len(peer.messages) == (1 if tls is TlsPolicy.OPPORTUNISTIC else 0)


def refusing(reply: str) -> Callable[[Conn, str, str], str | None]:
    return lambda _conn, verb, _line: reply if verb == "STARTTLS" else None


def test_a_refused_starttls_is_told_by_its_code_and_not_by_the_strangers_words(tmp_path: Path) -> None:
    peer = Peer(tls=context(), script=refusing("454 4.7.0 words of a stranger"))
    expected = SUCCESS._replace(result="starttls-not-supported", reason="STARTTLS was refused with 454")
    assert told(peer, TlsPolicy.OPPORTUNISTIC, tmp_path) == [expected]


def test_a_connection_that_ends_at_starttls_is_a_general_failure(tmp_path: Path) -> None:
    peer = Peer(tls=context(), script=refusing(DROP))
    expected = SUCCESS._replace(result="validation-failure", reason="the connection ended at STARTTLS")
    assert told(peer, TlsPolicy.REQUIRED, tmp_path) == [expected]


@pytest.mark.parametrize(
    ("server", "result", "words"),
    [
        (context(STRANGER), "certificate-not-trusted", "unable to get local issuer certificate"),
        (context(name="other.example.net"), "certificate-host-mismatch", "Hostname mismatch"),
        (context(ends=datetime(2020, 1, 1, tzinfo=UTC)), "certificate-expired", "certificate has expired"),
    ],
)
def test_what_is_wrong_with_a_certificate_is_told_where_it_is_verified(
    server: ssl.SSLContext, result: str, words: str, tmp_path: Path
) -> None:
    [seen] = told(Peer(tls=server), TlsPolicy.VERIFY, tmp_path)
    assert seen.result == result
    assert words in seen.reason
    assert seen._replace(result="", reason="") == SUCCESS
    assert told(Peer(tls=server), TlsPolicy.REQUIRED, tmp_path) == [SUCCESS], "nobody looks at it"


def test_a_failed_handshake_is_one_failure_though_the_mail_goes_in_plaintext(tmp_path: Path) -> None:
    peer = Peer(tls=old_context())
    [seen] = told(peer, TlsPolicy.OPPORTUNISTIC, tmp_path)
    assert seen.result == "validation-failure"
    assert seen.reason.startswith("TLS handshake failed: ")
    assert len(peer.messages) == 1
    assert len(peer.connections) == 2


def test_nothing_is_told_of_mail_that_has_no_domain_from_the_dns_nor_of_a_question(tmp_path: Path) -> None:
    assert told(Peer(tls=context()), TlsPolicy.REQUIRED, tmp_path, domain="") == []
    seen: list[TlsSession] = []

    async def main() -> None:
        async with serving(Peer(tls=context())) as peer, pooling(tls_seen=seen.append) as pool:
            assert (await pool.probe(target(peer), mailbox("bob@example.net"))).code == 250

    run(main())
    assert seen == []


def test_a_connection_counts_for_the_domain_whose_mail_it_was_opened_for(tmp_path: Path) -> None:
    seen: list[TlsSession] = []

    async def main() -> None:
        contexts = contexts_for(AUTHORITY, tmp_path)
        async with serving(Peer(tls=context())) as peer, pooling(contexts=contexts, tls_seen=seen.append) as pool:
            to = target(peer)
            await asyncio.gather(*(deliver(pool, to, domain) for domain in ("first.example", "second.example")))

    run(main())
    assert [one.domain for one in seen] == ["first.example"]
