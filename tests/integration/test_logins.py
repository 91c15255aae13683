"""Every way to log in, on the running program: by clients of other authors, and by those who should not get in."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import smtplib
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from client_authority import ClientAuthority, fingerprint
from identity_provider import AUDIENCE, CLIENT, ISSUER, IdentityProvider
from reload_support import change, reload
from running_support import submit, untrusting
from scramp import ScramClient
from scramp.core import CBindData

from postlatch.app.certificate import write_self_signed
from postlatch.testing.peers.ports import wait_until
from postlatch.testing.running import ACCOUNT, BASE, PASSWORD, RunningRelay

pytestmark = pytest.mark.real

PRINTER, SALES = "printer@example.com", "sales@example.com"
LETTER = "From: <alice@example.com>\nSubject: hello\n\nhello\n"
PLUS = "SCRAM-SHA-256-PLUS"


def program(name: str) -> str:
    """The path of a real client; without it the test is skipped, or under CI fails."""
    path = shutil.which(name)
    if path is None:
        if os.environ.get("CI"):
            pytest.fail(f"{name} is not installed, and under CI every peer must be")
        pytest.skip(f"{name} is not installed: run script/bootstrap dev as root")
    return path


@pytest.fixture(scope="module")
def provider() -> Iterator[IdentityProvider]:
    with IdentityProvider() as running:
        yield running


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> ClientAuthority:
    return ClientAuthority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def printer(authority: ClientAuthority) -> tuple[Path, Path]:
    return authority.issue("printer")


@pytest.fixture(scope="module")
def relay(
    tmp_path_factory: pytest.TempPathFactory, provider: IdentityProvider, authority: ClientAuthority, printer: tuple[Path, Path]
) -> Iterator[RunningRelay]:
    folder = tmp_path_factory.mktemp("relay")
    write_self_signed("localhost", folder / "cert.pem", folder / "key.pem", time.time())
    (folder / "secret").write_text(CLIENT[1] + "\n", "utf-8")
    tls = f"""key = "key.pem"
channel_binding = true
client_ca = "{authority.path}"
client_addresses = true

[tls.client_certificates]
"{fingerprint(printer[0])}" = "{PRINTER}"
"""
    oauth = f"""
[oauth]
issuer = "{ISSUER}"
audience = "{AUDIENCE}"
scope = "smtp"
timeout = 1
jwks_url = "{provider.url}/keys"
"""
    with RunningRelay(folder, BASE.replace('key = "key.pem"\n', tls, 1) + oauth) as running:
        for login in (ACCOUNT, PRINTER, SALES):
            running.add_account(login)
        yield running


# Clients of other authors


def gsasl(relay: RunningRelay, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [program("gsasl"), "--client", "--smtp", "--verbose", "--connect", f"localhost:{relay.port('submission')}"]
    command += ["--x509-ca-file", str(relay.folder / "cert.pem"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, stdin=subprocess.DEVNULL)


def msmtp(relay: RunningRelay, mechanism: str, secret: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [program("msmtp"), "--host=localhost", f"--port={relay.port('submission')}", "--tls=on", "--debug"]
    command += [f"--tls-trust-file={relay.folder / 'cert.pem'}", f"--auth={mechanism}", f"--user={ACCOUNT}"]
    command += [f"--passwordeval=echo '{secret}'", f"--from={ACCOUNT}", *arguments, "bob@example.com"]
    return subprocess.run(command, input=LETTER, capture_output=True, text=True, check=False, timeout=60)


def test_msmtp_sends_by_scram(relay: RunningRelay) -> None:
    done = msmtp(relay, "scram-sha-256", PASSWORD)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "235 2.7.0" in done.stdout
    assert msmtp(relay, "scram-sha-256", "a wrong password").returncode != 0


@pytest.mark.parametrize("mechanism", ["oauthbearer", "xoauth2"])
def test_msmtp_sends_by_token(relay: RunningRelay, provider: IdentityProvider, mechanism: str) -> None:
    done = msmtp(relay, mechanism, provider.token(ACCOUNT))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "250 2.0.0 queued as" in done.stdout
    refused = msmtp(relay, mechanism, provider.token(ACCOUNT, aud="another program"))
    assert refused.returncode != 0
    assert "535 5.7.8" in refused.stdout


def test_msmtp_and_gsasl_log_in_by_certificate(relay: RunningRelay, authority: ClientAuthority) -> None:
    certificate, key = authority.issue("alice", [ACCOUNT])
    done = msmtp(relay, "external", "", f"--tls-cert-file={certificate}", f"--tls-key-file={key}")
    assert done.returncode == 0, done.stdout + done.stderr
    files = ["--x509-cert-file", str(certificate), "--x509-key-file", str(key)]
    done = gsasl(relay, *files, "--mechanism", "EXTERNAL", "--authorization-id", ACCOUNT)
    assert "235 2.7.0" in done.stdout, done.stdout + done.stderr
    other = gsasl(relay, *files, "--mechanism", "EXTERNAL", "--authorization-id", SALES)
    assert "535 5.7.8" in other.stdout, other.stdout + other.stderr


def test_gsasl_logs_in_by_scram(relay: RunningRelay) -> None:
    done = gsasl(relay, "--no-cb", "--mechanism", "SCRAM-SHA-256", "-a", ACCOUNT, "-p", PASSWORD)
    assert "235 2.7.0" in done.stdout, done.stdout + done.stderr


def test_gsasl_insists_on_a_binding_that_is_not_ours_and_the_journal_says_so(relay: RunningRelay) -> None:
    """It knows ``tls-exporter`` alone, and chooses -PLUS wherever it is offered: the reason why that is an option here."""
    done = gsasl(relay, "-a", ACCOUNT, "-p", PASSWORD)
    assert "535 5.7.8" in done.stdout, done.stdout + done.stderr
    wait_until(lambda: "it demanded channel binding of another type" in relay.read_log(), 5, "the reason in the log")


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_swaks_logs_in_by_password(relay: RunningRelay, mechanism: str) -> None:
    command = [
        program("swaks"),
        "--server",
        f"127.0.0.1:{relay.port('submissions')}",
        "--tls-on-connect",
        "--quit-after",
        "AUTH",
    ]
    command += ["--auth", mechanism, "--auth-user", ACCOUNT, "--auth-password", PASSWORD]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, stdin=subprocess.DEVNULL)
    assert "235 2.7.0" in done.stdout, done.stdout + done.stderr


# A client of our own, on smtplib


@contextlib.contextmanager
def session(relay: RunningRelay, context: ssl.SSLContext | None = None, *, implicit: bool = False) -> Iterator[smtplib.SMTP]:
    """After TLS and EHLO."""
    context = context or untrusting()
    smtp: smtplib.SMTP
    if implicit:
        smtp = smtplib.SMTP_SSL("127.0.0.1", relay.port("submissions"), "client.example", timeout=20, context=context)
    else:
        smtp = smtplib.SMTP("127.0.0.1", relay.port("submission"), "client.example", timeout=20)
        smtp.starttls(context=context)
    smtp.ehlo()
    try:
        yield smtp
    finally:
        smtp.close()


def say(smtp: smtplib.SMTP, line: str) -> tuple[int, str]:
    code, text = smtp.docmd(line)
    return code, base64.b64decode(text).decode() if code == 334 else text.decode()


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode() or "="


def bearer(relay: RunningRelay, token: str, claimed: str = "") -> tuple[int, str]:
    """By OAUTHBEARER: the last reply, and what was told before it."""
    with session(relay) as smtp:
        identity = f"a={claimed}" if claimed else ""
        code, told = say(smtp, "AUTH OAUTHBEARER " + b64(f"n,{identity},\x01auth=Bearer {token}\x01\x01"))
        if code != 334:
            return code, told
        return say(smtp, b64("\x01"))[0], told


def offered(smtp: smtplib.SMTP) -> list[str]:
    return smtp.esmtp_features["auth"].split()


@pytest.mark.parametrize("implicit", [False, True])
def test_a_client_that_is_bound_to_our_certificate_logs_in_and_one_that_is_not_fails(
    relay: RunningRelay, tmp_path: Path, implicit: bool
) -> None:
    def final(certificate: bytes) -> int:
        with session(relay, implicit=implicit) as smtp:
            assert offered(smtp)[0] == PLUS
            binding = bytes(CBindData.from_der(certificate or shown(smtp)))
            known = [name for name in offered(smtp) if name.startswith("SCRAM-")]
            client = ScramClient(known, ACCOUNT, PASSWORD, ("tls-server-end-point", binding))
            assert client.mechanism_name == PLUS
            _, first = say(smtp, f"AUTH {PLUS} {b64(client.get_client_first())}")
            client.set_server_first(first)
            code, last = say(smtp, b64(client.get_client_final()))
            if code != 334:
                return code
            client.set_server_final(last)
            return say(smtp, "")[0]

    def shown(smtp: smtplib.SMTP) -> bytes:
        assert isinstance(smtp.sock, ssl.SSLSocket)
        certificate = smtp.sock.getpeercert(binary_form=True)
        assert certificate is not None
        return certificate

    assert final(b"") == 235
    another = tmp_path / "cert.pem"
    write_self_signed("localhost", another, tmp_path / "key.pem", time.time())
    assert final(ssl.PEM_cert_to_DER_cert(another.read_text())) == 535


def test_a_client_that_was_not_shown_plus_is_refused(relay: RunningRelay) -> None:
    with session(relay) as smtp:
        assert say(smtp, "AUTH SCRAM-SHA-256 " + b64(f"y,,n={ACCOUNT},r=abcdef"))[0] == 535


def test_what_is_offered_depends_on_the_connection(relay: RunningRelay, printer: tuple[Path, Path]) -> None:
    with smtplib.SMTP("127.0.0.1", relay.port("submission"), "client.example") as smtp:
        smtp.ehlo()
        assert "auth" not in smtp.esmtp_features
    everybody = [PLUS, "SCRAM-SHA-256", "OAUTHBEARER", "XOAUTH2", "PLAIN", "LOGIN"]
    context = untrusting()
    with session(relay, context) as smtp:
        assert offered(smtp) == everybody
        assert say(smtp, "AUTH EXTERNAL =")[0] == 504
    context.load_cert_chain(*printer)
    for implicit in (False, True):
        with session(relay, context, implicit=implicit) as smtp:
            assert offered(smtp) == [PLUS, "SCRAM-SHA-256", "EXTERNAL", *everybody[2:]]
    with smtplib.SMTP("127.0.0.1", relay.port("mx"), "client.example") as smtp:
        smtp.starttls(context=context)
        smtp.ehlo()
        assert "auth" not in smtp.esmtp_features


# Certificates


def by_certificate(relay: RunningRelay, files: tuple[Path, Path], identity: str = "", *, implicit: bool = False) -> int:
    """The reply to EXTERNAL; 504 where it is not offered, 0 where the handshake fails."""
    context = untrusting()
    context.load_cert_chain(*files)
    try:
        with session(relay, context, implicit=implicit) as smtp:
            return say(smtp, f"AUTH EXTERNAL {b64(identity)}")[0]
    except (ssl.SSLError, smtplib.SMTPServerDisconnected, ConnectionError):
        return 0


@pytest.mark.parametrize("implicit", [False, True])
def test_a_certificate_logs_in_as_its_account_alone(relay: RunningRelay, printer: tuple[Path, Path], implicit: bool) -> None:
    assert by_certificate(relay, printer, implicit=implicit) == 235
    assert by_certificate(relay, printer, "Printer@Example.com", implicit=implicit) == 235
    assert by_certificate(relay, printer, ACCOUNT, implicit=implicit) == 535


def test_a_certificate_for_nobody_here_is_no_login(relay: RunningRelay, authority: ClientAuthority) -> None:
    assert by_certificate(relay, authority.issue("nobody")) == 504
    assert by_certificate(relay, authority.issue("stranger", ["stranger@other.example"])) == 535
    assert by_certificate(relay, authority.issue("short", ["alice"])) == 504


def test_a_certificate_with_two_addresses_must_say_which(relay: RunningRelay, authority: ClientAuthority) -> None:
    both = authority.issue("both", [ACCOUNT, SALES])
    assert [by_certificate(relay, both, identity) for identity in ("", SALES, PRINTER)] == [535, 235, 535]


def test_certificates_that_do_not_verify_end_the_handshake(
    relay: RunningRelay, authority: ClientAuthority, tmp_path: Path
) -> None:
    impostor = ClientAuthority(tmp_path, "clients")  # of the same name
    assert by_certificate(relay, impostor.issue("alice", [ACCOUNT])) == 0
    assert by_certificate(relay, authority.issue("expired", [ACCOUNT], days=-1)) == 0
    assert by_certificate(relay, authority.issue("server", [ACCOUNT], server_only=True)) == 0


def test_a_chain_of_fifty_neither_stops_the_relay_nor_logs_in(
    relay: RunningRelay, authority: ClientAuthority, tmp_path: Path
) -> None:
    assert by_certificate(relay, authority.issue("short-chain", [ACCOUNT], between=3)) == 235
    long = authority.issue("long-chain", [ACCOUNT], between=50)
    foreign = ClientAuthority(tmp_path, "foreign").issue("alice", [ACCOUNT], between=50)
    started = time.monotonic()
    for _ in range(5):
        assert by_certificate(relay, long) == 504, "it verifies, and is longer than anybody's"
        assert by_certificate(relay, foreign) == 0
    assert time.monotonic() - started < 10
    with session(relay) as smtp:
        assert smtp.noop()[0] == 250


def test_a_certificate_that_is_taken_back_logs_in_no_more(relay: RunningRelay, printer: tuple[Path, Path]) -> None:
    listed = f'"{fingerprint(printer[0])}" = '
    change(relay, f'{listed}"{PRINTER}"', f'{listed}""')
    reload(relay)
    assert by_certificate(relay, printer) == 504
    change(relay, f'{listed}""', f'{listed}"{PRINTER}"')
    reload(relay)
    assert by_certificate(relay, printer) == 235


# Tokens


def test_every_kind_of_key_works_and_the_issuer_is_asked_once(relay: RunningRelay, provider: IdentityProvider) -> None:
    before = provider.asked.count("/keys")
    assert bearer(relay, provider.token(ACCOUNT, key="rsa", alg="RS256"))[0] == 235
    assert bearer(relay, provider.token(ACCOUNT, key="ec", alg="ES256"), ACCOUNT)[0] == 235
    assert bearer(relay, provider.token(ACCOUNT, key="ed", alg="Ed25519"))[0] == 235
    assert provider.asked.count("/keys") - before <= 1


def test_tokens_that_are_not_right_are_refused_and_the_client_is_told(relay: RunningRelay, provider: IdentityProvider) -> None:
    now = int(time.time())
    good = provider.token(ACCOUNT)
    public = provider.rsa.as_pem(private=False)
    head = base64.urlsafe_b64encode(b'{"alg":"none"}').decode().rstrip("=")
    wrong = {
        "none": f"{head}.{good.split('.')[1]}.",
        "HMAC with the public key": provider.forged(ACCOUNT, public),
        "HMAC with the key set": provider.forged(ACCOUNT, provider.key_set()),
        "expired": provider.token(ACCOUNT, exp=now - 120),
        "not yet": provider.token(ACCOUNT, nbf=now + 120),
        "without end": provider.token(ACCOUNT, exp=None),
        "another audience": provider.token(ACCOUNT, aud="another program"),
        "another issuer": provider.token(ACCOUNT, iss="https://evil.example"),
        "nobody here": provider.token("nobody@example.com"),
        "another algorithm than its key": good.replace(good.split(".")[0], head.replace("none", "RS256"), 1),
        "deep": base64.urlsafe_b64encode(b"[" * 1200).decode().rstrip("=") + ".e30.AAAA",
        "long": "A" * 8000,
    }
    for what, token in wrong.items():
        code, told = bearer(relay, token)
        assert code == 535, what
        assert json.loads(told)["status"] == "invalid_token", what
    assert json.loads(bearer(relay, provider.token(ACCOUNT, scope="imap"))[1]) == {
        "status": "insufficient_scope",
        "scope": "smtp",
        "openid-configuration": f"{ISSUER}/.well-known/openid-configuration",
    }
    assert bearer(relay, good, SALES)[0] == 535, "the token is alice's"
    for why in ("the token has expired", "the token is for another audience", "the token's algorithm is not taken"):
        wait_until(lambda: why in relay.read_log(), 5, "the reason in the log")  # noqa: B023
    assert good not in relay.read_log()


def test_a_token_that_does_not_fit_into_a_line_ends_the_session_and_not_the_relay(relay: RunningRelay) -> None:
    with session(relay) as smtp:
        smtp.send(b"AUTH OAUTHBEARER " + b"QUFB" * 500_000 + b"\r\n")
        with contextlib.suppress(smtplib.SMTPServerDisconnected, ConnectionError):
            assert smtp.getreply()[0] == 500
    with session(relay) as smtp:
        assert smtp.noop()[0] == 250


def test_failed_tokens_count_even_if_the_client_does_not_hear_the_end(relay: RunningRelay) -> None:
    """Whoever breaks off at the last challenge has still guessed."""
    message = "AUTH XOAUTH2 " + b64(f"user={ACCOUNT}\x01auth=Bearer AAAA.BBBB.CCCC\x01\x01")
    with session(relay) as smtp:
        for _ in range(2):
            assert say(smtp, message)[0] == 334
            assert say(smtp, "*")[0] == 501
        assert say(smtp, message)[0] == 334
        assert say(smtp, "*")[0] == 501
        with pytest.raises((smtplib.SMTPServerDisconnected, AssertionError)):
            assert smtp.noop()[0] == 250


def test_a_suspended_account_sends_nothing_by_token(relay: RunningRelay, provider: IdentityProvider) -> None:
    with session(relay) as smtp:
        assert say(smtp, "AUTH XOAUTH2 " + b64(f"user={SALES}\x01auth=Bearer {provider.token(SALES)}\x01\x01"))[0] == 235
        assert submit(smtp, "before", SALES, "bob@example.com").startswith("250 ")
        assert relay.run("account", "suspend", SALES, "--why", "a leak").returncode == 0
        assert submit(smtp, "after", SALES, "bob@example.com").startswith("5")
    assert relay.run("account", "restore", SALES).returncode == 0


def test_while_the_issuer_cannot_be_asked_nobody_gets_in_and_nobody_is_accused(
    relay: RunningRelay, provider: IdentityProvider
) -> None:
    """Down, late, too long, nonsense: 454 each time, and the next login works as soon as it is well again."""
    change(relay, f'jwks_url = "{provider.url}/keys"', _introspection(provider))
    reload(relay)
    token = "an-opaque-token"
    provider.active[token] = {"iss": ISSUER, "aud": AUDIENCE, "email": ACCOUNT, "scope": "smtp", "exp": int(time.time()) + 300}
    for trouble in (500, 401, "late", "huge", "nonsense"):
        provider.broken = trouble
        started = time.monotonic()
        assert bearer(relay, token)[0] == 454, trouble
        assert time.monotonic() - started < 5
    provider.broken = ""
    assert bearer(relay, token)[0] == 235
    assert bearer(relay, "another-token")[0] == 535
    asked = len(provider.asked)
    assert bearer(relay, token)[0] == 235
    assert len(provider.asked) == asked, "the answer is kept for a while"
    wait_until(lambda: "the issuer answers with status 500" in relay.read_log(), 5, "the reason in the log")


def _introspection(provider: IdentityProvider) -> str:
    return f'introspection_url = "{provider.url}/introspect"\nclient_id = "{CLIENT[0]}"\nclient_secret_file = "secret"\n'
