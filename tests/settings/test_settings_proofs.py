"""What must be given together for logins by token and by certificate, and where secrets may travel."""

from __future__ import annotations

from pathlib import Path

import pytest

from postlatch.settings.load import load_text
from postlatch.settings.problem import SettingsError
from postlatch.settings.readiness import unreachable
from postlatch.settings.tree import Settings

HEAD = """hostname = "mx.example.com"
[[listeners]]
name = "submission"
address = "127.0.0.1:0"
role = "submission"
[tls]
certificate = "cert.pem"
key = "key.pem"
"""
JWT = 'issuer = "https://login.example.com"\naudience = "postlatch"\n'
PRINT = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"


def loaded(rest: str) -> Settings:
    return load_text(HEAD + rest, Path("postlatch.toml"))


def problems(rest: str) -> list[str]:
    try:
        loaded(rest)
    except SettingsError as error:
        return [f"{problem.key}: {problem.message}" for problem in error.problems]
    return []


@pytest.mark.parametrize(
    "oauth",
    [
        JWT + 'jwks_url = "https://login.example.com/keys"',
        JWT + 'jwks_url = "http://127.0.0.1:8080/keys"',
        JWT + 'jwks_url = "http://[::1]/keys"',
        JWT + 'jwks_url = "http://localhost/keys"',
        JWT + 'jwks_file = "keys.json"',
        'introspection_url = "https://x.example/i"\nclient_id = "postlatch"\nclient_secret_file = "secret"',
    ],
)
def test_one_whole_way_to_verify_tokens_is_right(oauth: str) -> None:
    assert problems(f"[oauth]\n{oauth}\n") == []


@pytest.mark.parametrize(
    ("oauth", "problem"),
    [
        ("", "oauth: tokens are verified in one way: jwks_url, jwks_file or introspection_url (none of them is given)"),
        (JWT + 'jwks_url = "https://x.example/k"\njwks_file = "k"', "oauth.jwks_file: tokens are verified in one way"),
        ('audience = "a"\njwks_file = "k"', "oauth.jwks_file: is given without issuer: add issuer"),
        ('issuer = "i"\njwks_file = "k"', "oauth.jwks_file: is given without audience: add audience"),
        ('issuer = "i"\naudience = ""\njwks_file = "k"', "oauth.jwks_file: is given without audience"),
        (
            'introspection_url = "https://x.example/i"\nclient_id = "p"',
            "oauth.introspection_url: is given without client_secret_file",
        ),
        (JWT + 'jwks_url = "http://login.example.com/keys"', "oauth.jwks_url: keys and tokens would travel in the clear"),
        (JWT + 'jwks_url = "http://10.0.0.1/keys"', "oauth.jwks_url: keys and tokens would travel in the clear"),
        (JWT + 'jwks_url = "https://user:secret@login.example.com/keys"', "oauth.jwks_url: "),
        (JWT + 'jwks_url = "file:///etc/passwd"', "oauth.jwks_url: "),
        (JWT + 'jwks_url = "https://"', "oauth.jwks_url: "),
        (JWT + 'jwks_url = "https://x.example:port/"', "oauth.jwks_url: "),
        (JWT + 'jwks_url = "https://x.example/a b"', "oauth.jwks_url: "),
        (JWT + 'jwks_url = "https://[::1/"', "oauth.jwks_url: "),
    ],
)
def test_half_a_way_is_explained(oauth: str, problem: str) -> None:
    found = problems(f"[oauth]\n{oauth}\n")
    assert len(found) == 1
    assert found[0].startswith(problem)


def test_a_fingerprint_is_taken_as_openssl_shows_it() -> None:
    shown = ":".join(PRINT.upper()[i : i + 2] for i in range(0, 64, 2))
    settings = loaded(f'client_ca = "ca.pem"\nclient_certificates = {{ "{shown}" = "printer" }}\n')
    assert settings.tls is not None
    assert settings.tls.client_certificates == {PRINT: "printer"}


@pytest.mark.parametrize("text", ["", "abc", PRINT[:-1], PRINT + "0", "g" + PRINT[1:], PRINT.replace("9", "\u0669")])
def test_what_is_no_fingerprint_is_explained(text: str) -> None:
    found = problems(f'client_ca = "ca.pem"\nclient_certificates = {{ "{text}" = "printer" }}\n')
    assert len(found) == 1
    assert "is no fingerprint: give the SHA-256 in 64 hexadecimal digits" in found[0]


@pytest.mark.parametrize(
    ("tls", "problem"),
    [
        ("client_addresses = true\n", "tls.client_addresses: is given without client_ca"),
        (f'client_certificates = {{ "{PRINT}" = "a" }}\n', "tls.client_certificates: is given without client_ca"),
        ('client_ca = "ca.pem"\n', "tls.client_ca: is given, and no certificate stands for a login"),
        (
            f'client_ca = "ca.pem"\n[tls.client_certificates]\n"{PRINT}" = "a"\n"{PRINT.upper()}" = ""\n',
            f"tls.client_certificates.{PRINT.upper()}: this certificate is on line 11 too: keep one",
        ),
    ],
)
def test_certificates_that_nobody_could_log_in_by_are_explained(tls: str, problem: str) -> None:
    found = problems(tls)
    assert len(found) == 1
    assert found[0].startswith(problem)


def test_files_that_are_missing_are_named(tmp_path: Path) -> None:
    text = HEAD + f'client_ca = "ca.pem"\nclient_addresses = true\n[oauth]\n{JWT}jwks_file = "keys.json"\n'
    settings = load_text(text, tmp_path / "postlatch.toml")
    assert {problem.key for problem in unreachable(settings)} >= {"tls.client_ca", "oauth.jwks_file"}
