"""Postfix in many configurations; each that is open is so by another fault."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Final

from audit_lab.small import any_password
from audit_lab.values import LOCAL, Lab, Running, Server
from postlatch.testing.peers.ports import free_port, listens, wait_until
from postlatch.testing.peers.postfix import Postfix

_CLOSED: Final = "permit_mynetworks, reject_unauth_destination"
# A mailbox whose mail is thrown away. The server's own address is trusted, as Debian's configuration does.
_BASE: Final = {
    "mynetworks": "127.0.0.1/32",
    "virtual_mailbox_domains": LOCAL,
    "virtual_mailbox_maps": f"inline:{{alice@{LOCAL}=alice}}",
    "virtual_transport": "discard:",
    "smtpd_forbid_bare_newline": "normalize",
    "disable_vrfy_command": "yes",
    "smtpd_peername_lookup": "no",
}
_RETURNED: Final = f"/^([^=]+)=(.+)@{LOCAL}$/ $1@$2\n/^SRS0=[^=]*=[^=]*=([^=]+)=([^=]+)@{LOCAL}$/ $2@$1\n"
# Percent and bang routes are only looked at in domains of the local kind.
_MYDESTINATION: Final = {
    "mydestination": LOCAL,
    "virtual_mailbox_domains": "",
    "local_transport": "discard:",
    "local_recipient_maps": "inline:{alice=alice}",
}


def _relay(restrictions: str) -> dict[str, str]:
    return {"smtpd_relay_restrictions": restrictions}


_SETTINGS: Final[tuple[tuple[str, str, str, Mapping[str, str]], ...]] = (
    ("networks", "open", "mynetworks = 0.0.0.0/0", {"mynetworks": "0.0.0.0/0"}),
    (
        "sender-pattern",
        "open",
        "a pattern of good senders that all match",
        {**_relay(""), "smtpd_recipient_restrictions": "check_sender_access regexp:{{/@/ OK}}, reject_unauth_destination"},
    ),
    ("recipient-ok", "open", "a table of recipients says OK to all", _relay(f"check_recipient_access static:OK, {_CLOSED}")),
    (
        "own-sender",
        "open",
        "who names our domain as sender may relay",
        _relay(f"check_sender_access inline:{{{LOCAL}=OK}}, {_CLOSED}"),
    ),
    (
        "null-sender",
        "open",
        "bounces may go anywhere",
        {**_relay(f"check_sender_access inline:{{nobody=OK}}, {_CLOSED}"), "smtpd_null_access_lookup_key": "nobody"},
    ),
    ("helo", "open", "who greets by our name may relay", _relay(f"check_helo_access inline:{{{LOCAL}=OK}}, {_CLOSED}")),
    (
        "client-table",
        "open",
        "a table of clients with 0.0.0.0/0",
        _relay(f"check_client_access cidr:{{{{0.0.0.0/0 OK}}}}, {_CLOSED}"),
    ),
    (
        "recipient-pattern",
        "open",
        "a pattern for our domain without an anchor",
        _relay(f"check_recipient_access regexp:{{{{/{LOCAL}/ OK}}}}, {_CLOSED}"),
    ),
    ("relay-any", "open", "relay_domains = every domain", {"relay_domains": "static:ALL"}),
    ("relay-parent", "open", "relay_domains = example, and all below it", {"relay_domains": "example"}),
    (
        "client-name",
        "open",
        "clients without a name are taken for the own network",
        _relay(f"check_client_access inline:{{unknown=OK}}, {_CLOSED}"),
    ),
    (
        "rewritten",
        "open",
        "senders that come back are rewritten without a signature",
        {"virtual_alias_maps": "regexp:FOLDER/returned", "disable_vrfy_command": "yes"},
    ),
    ("xclient", "open", "strangers may say who connects", {"smtpd_authorized_xclient_hosts": "127.0.0.0/8"}),
    ("closed", "closed", "as it should be", {}),
    (
        "routes",
        "closed",
        "allow_untrusted_routing, which without a second server lets nobody through",
        {**_MYDESTINATION, "allow_untrusted_routing": "yes"},
    ),
    ("deferring", "closed", "defer_unauth_destination", _relay("permit_mynetworks, defer_unauth_destination")),
    (
        "recipient-list",
        "closed",
        "the same in the list of recipients",
        {**_relay(""), "smtpd_recipient_restrictions": _CLOSED},
    ),
    ("catch-all", "closed", "takes any name in its own domain", {"virtual_mailbox_maps": "static:alice"}),
    ("old-smuggling", "closed", "no relay, but smuggling works", {"smtpd_forbid_bare_newline": "no"}),
    (
        "login-only",
        "inconclusive",
        "it refuses its own mailbox too: only who is logged in",
        _relay("permit_sasl_authenticated, reject"),
    ),
    (
        "backscatter",
        "backscatter",
        "takes all names, and bounces the unknown",
        {**_MYDESTINATION, "local_recipient_maps": "", "local_transport": "local:", "mailbox_size_limit": "0"},
    ),
    (
        "black-hole",
        "accepts",
        "open, but all that it takes is thrown away",
        {"mynetworks": "0.0.0.0/0", "default_transport": "discard:", "relayhost": ""},
    ),
    (
        "refusing-us",
        "inconclusive",
        "a block list refuses whoever asks",
        {"smtpd_client_restrictions": "check_client_access cidr:{{127.0.0.2 REJECT}}"},
    ),
    (
        "tempfail",
        "inconclusive",
        "a table that cannot be read: 451 for everybody",
        _relay("check_recipient_access unix:passwd.nothere, reject_unauth_destination"),
    ),
)


@contextmanager
def postfix(lab: Lab, settings: Mapping[str, str], services: str = "", port: int = 0) -> Iterator[Running]:
    """One with a mailbox, whose mail for others goes to the canary."""
    values = {**_BASE, "relayhost": f"[127.0.0.1]:{lab.canary}", **settings}
    values = {name: value.replace("FOLDER", str(lab.folder)) for name, value in values.items()}
    (lab.folder / "returned").write_text(_RETURNED)
    with Postfix(lab.folder / "postfix", values, services=services) as peer:
        if port:
            wait_until(lambda: listens(port), 20, "the second service")
        yield Running(port or peer.port)


@contextmanager
def _two_hops(lab: Lab, inner: Mapping[str, str]) -> Iterator[Running]:
    """The first server passes all of its domain on to a second one, which trusts it and looks into the local part."""
    inside = {**_BASE, **_MYDESTINATION, "relayhost": f"[127.0.0.1]:{lab.canary}", "mynetworks": "127.0.0.0/8", **inner}
    with Postfix(lab.folder / "inner", inside) as second:
        outside = {
            "virtual_mailbox_domains": "",
            "relay_domains": LOCAL,
            "relay_transport": f"relay:[127.0.0.1]:{second.port}",
            "allow_untrusted_routing": "yes",
            "allow_percent_hack": "no",
            "swap_bangpath": "no",
        }
        with postfix(lab, outside) as running:
            yield running


@contextmanager
def _second_service(lab: Lab, options: str) -> Iterator[Running]:
    """What main.cf says is right; one service of master.cf says otherwise."""
    port = free_port()
    with postfix(lab, {}, f"127.0.0.1:{port} inet n - n - - smtpd {options}\n", port) as running:
        yield running


@contextmanager
def _login(lab: Lab) -> Iterator[Running]:
    """A password check that is always content: a test set-up that went into production."""
    with any_password(lab.folder / "dovecot") as socket:
        settings = {
            "smtpd_sasl_auth_enable": "yes",
            "smtpd_sasl_type": "dovecot",
            "smtpd_sasl_path": str(socket),
            **_relay("permit_sasl_authenticated, reject_unauth_destination"),
        }
        with postfix(lab, settings) as running:
            yield running


_SUBMISSION: Final = "-o smtpd_relay_restrictions=check_recipient_access,static:OK,reject_unauth_destination"
_REINJECTION: Final = "-o mynetworks=127.0.0.0/8"

POSTFIXES: Final = (
    *(
        Server(f"postfix {name}", (truth,), why, partial(postfix, settings=settings))
        for name, truth, why, settings in _SETTINGS
    ),
    Server(
        "postfix submission",
        ("open",),
        "a second port in master.cf that permits",
        partial(_second_service, options=_SUBMISSION),
    ),
    Server(
        "postfix inner-port",
        ("open",),
        "a filter's way back that strangers reach",
        partial(_second_service, options=_REINJECTION),
    ),
    Server("postfix any-password", ("open",), "any password is right", _login),
)
