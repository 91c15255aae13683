from __future__ import annotations

from pathlib import Path

import pytest

from postlatch.delivery.config import DeliveryConfig, Route, RouteKind, parse_route
from postlatch.delivery.contract import TlsPolicy


@pytest.mark.parametrize(
    ("text", "route"),
    [
        ("maildir:data/mail", Route(RouteKind.MAILDIR, path="data/mail")),
        ("maildir:/var/mail", Route(RouteKind.MAILDIR, path="/var/mail")),
        ("lmtp://127.0.0.1:24", Route(RouteKind.LMTP, "127.0.0.1", 24)),
        ("lmtp+unix:///run/dovecot/lmtp", Route(RouteKind.LMTP, path="/run/dovecot/lmtp")),
        ("smtp://10.0.0.5:25", Route(RouteKind.SMTP, "10.0.0.5", 25)),
        ("smtp://Relay.ISP.example:587", Route(RouteKind.SMTP, "relay.isp.example", 587)),
        ("smtp://mailhub:2525", Route(RouteKind.SMTP, "mailhub", 2525)),
        ("smtp://[2001:DB8::0:5]:25", Route(RouteKind.SMTP, "2001:db8::5", 25)),
        ("smtp://bücher.example:25", Route(RouteKind.SMTP, "xn--bcher-kva.example", 25)),
    ],
)
def test_a_route_is_read(text: str, route: Route) -> None:
    assert parse_route(text) == route
    if text.isascii():
        assert parse_route(str(route)) == route


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is not a route"),
        ("smtp://10.0.0.5", "is not a route"),
        ("smtp://10.0.0.5:25/", "is not a route"),
        ("smtp://10.0.0.5:25\n", "is not a route"),
        ("smtp://user:secret@relay.example:25", "is not a route"),
        ("smtps://relay.example:465", "is not a route"),
        ("SMTP://relay.example:25", "is not a route"),
        ("smtp://2001:db8::5:25", "is not a route"),
        ("http://relay.example:25", "is not a route"),
        ("smtp://:25", "is not a host"),
        ("smtp://under_score.example:25", "is not a host"),
        ("smtp://relay.example.:25", "is not a host"),
        ("smtp://300.0.0.1:25", "is not a host"),
        ("smtp://relay.example:0", "is not a port"),
        ("smtp://relay.example:65536", "is not a port"),
        ("smtp://[192.0.2.1]:25", "is not an IPv6 address"),
        ("smtp://[fe80::1%eth0]:25", "zone"),
        ("maildir:", "needs a folder"),
        ("maildir:a\0b", "needs a folder"),
        ("lmtp+unix://run/lmtp", "whole path"),
        ("lmtp+unix:///" + "a" * 107, "at most 107"),
    ],
)
def test_a_text_that_is_no_route_says_what_would_be_right(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_route(text)


def test_a_relative_maildir_is_relative_to_the_configuration() -> None:
    assert parse_route("maildir:data/mail", base=Path("/etc/postlatch")).path == "/etc/postlatch/data/mail"
    assert parse_route("maildir:/srv/mail", base=Path("/etc/postlatch")).path == "/srv/mail"


@pytest.mark.parametrize("tls", [TlsPolicy.OPPORTUNISTIC, TlsPolicy.REQUIRED])
def test_a_password_needs_a_verified_server(tls: TlsPolicy) -> None:
    with pytest.raises(ValueError, match="verify"):
        parse_route("smtp://relay.example:587", tls=tls, username="me", password="secret")
    assert parse_route("smtp://relay.example:587", tls=TlsPolicy.VERIFY, username="me", password="secret").username == "me"


def test_a_password_is_not_shown() -> None:
    route = parse_route("smtp://relay.example:587", tls=TlsPolicy.VERIFY, username="me", password="secret")
    assert "secret" not in f"{route} {route!r}"


@pytest.mark.parametrize("place", ["relay", "outbound", "smarthost"])
def test_mail_that_leaves_cannot_go_to_a_maildir(place: str) -> None:
    route = parse_route("maildir:data")
    settings: dict[str, object] = {place: route if place == "smarthost" else {"branch.example": route}}
    with pytest.raises(ValueError, match="domain of ours"):
        DeliveryConfig("mx.example.com", **settings)  # type: ignore[arg-type]
