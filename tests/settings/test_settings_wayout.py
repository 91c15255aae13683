"""The settings of the way out: DNSSEC only by a resolver that nobody can speak for, ways that are whole, addresses of ours."""

from __future__ import annotations

from pathlib import Path

import pytest

from postlatch.app.ways import way_problems, ways
from postlatch.delivery.config import Way
from postlatch.delivery.contract import TlsPolicy
from postlatch.settings.load import load_text
from postlatch.settings.problem import SettingsError
from postlatch.settings.tree import Settings

HEAD = 'hostname = "mx.example.com"\n[[listeners]]\nname = "mx"\naddress = "127.0.0.1:0"\nrole = "mx"\n'


def load(text: str, folder: Path = Path("/nowhere")) -> Settings:
    return load_text(HEAD + text, folder / "postlatch.toml")


def problem(text: str) -> str:
    with pytest.raises(SettingsError) as caught:
        load(text)
    return str(caught.value)


def test_dnssec_is_believed_on_loopback() -> None:
    for address in ("127.0.0.1:53", "127.0.0.53:5353", "[::1]:53"):
        assert load(f'[outbound]\ndnssec = true\nresolver = ["{address}"]\n').outbound.dnssec
    assert not load("").outbound.dnssec
    assert load("").outbound.mta_sts


def test_dnssec_is_not_believed_of_a_resolver_that_others_can_speak_for() -> None:
    assert "add resolver" in problem("[outbound]\ndnssec = true\n")
    assert "not on loopback" in problem('[outbound]\ndnssec = true\nresolver = ["127.0.0.1:53", "192.0.2.53:53"]\n')
    written = '[outbound]\ndnssec = true\nresolver = ["192.0.2.53:53"]\nresolver_trusted = "an IPsec tunnel"\n'
    assert load(written).outbound.dnssec
    assert "without dnssec" in problem('[outbound]\nresolver_trusted = "an IPsec tunnel"\n')


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{}", "says nothing"),
        ('{ source = ["192.0.2.7", "192.0.2.8"] }', "two addresses of one family"),
        ('{ source = ["mail.example.com"] }', "no IP address"),
        ('{ source = ["0.0.0.0"] }', "no address to send from"),
        ('{ source = ["192.0.2.7"], tls = "verify" }', "without smarthost"),
        ('{ smarthost = "smtp://h", username = "u", tls = "verify" }', "without password_file"),
        ('{ smarthost = "smtp://h", password_file = "p" }', "without username"),
        ('{ smarthost = "smtp://h", username = "u", password_file = "p" }', 'tls = "verify"'),
        ('{ smarthost = "smtp://h", username = "u", password_file = "p", tls = "required" }', 'tls = "verify"'),
        ('{ smarthost = "maildir:data" }', "cannot take mail for elsewhere"),
    ],
)
def test_a_way_that_is_not_whole_is_refused(text: str, why: str) -> None:
    for table in ("by_sender", "by_account"):
        assert why in problem(f'[outbound.{table}]\n"@example.com" = {text}\n')


def test_a_sender_is_an_address_or_a_domain() -> None:
    assert "neither an address nor a domain" in problem('[outbound.by_sender]\n"example.com" = { source = ["192.0.2.7"] }\n')
    found = load('[outbound.by_sender]\n"@Example.COM" = { source = ["192.0.2.7"] }\n')
    assert set(found.outbound.by_sender) == {"@example.com"}


def test_an_address_that_this_machine_does_not_have_is_told_at_the_start() -> None:
    settings = load(
        '[outbound.by_sender]\n"@a.example" = { source = ["192.0.2.7"] }\n"@b.example" = { source = ["127.0.0.1"] }\n'
    )
    [found] = way_problems(settings)
    assert "192.0.2.7 is not an address of this machine" in found.message
    assert "a.example" in found.key


def test_the_ways_reach_delivery_with_their_passwords(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("hunter2\nmore\n")
    settings = load(
        '[outbound.by_account]\n"Alice" = { source = ["127.0.0.1"] }\n'
        '[outbound.by_sender]\n"@a.example" = { smarthost = "smtp://h.example:587", tls = "verify", username = "u", '
        'password_file = "secret" }\n"@b.example" = { smarthost = "smtp://h.example", tls = "verify", username = "u", '
        'password_file = "missing" }\n',
        tmp_path,
    )
    assert ways(settings, "by_account") == {"alice": Way(("127.0.0.1",))}
    assert [found.key.rpartition(".")[2] for found in way_problems(settings)] == ["password_file"]
    with pytest.raises(OSError, match="missing"):
        ways(settings, "by_sender")
    (tmp_path / "missing").write_text("x")
    route = ways(settings, "by_sender")["@a.example"].smarthost
    assert route is not None
    assert (str(route), route.tls, route.username, route.password) == ("smtp://h.example:587", TlsPolicy.VERIFY, "u", "hunter2")
