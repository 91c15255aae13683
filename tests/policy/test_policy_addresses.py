"""Which recipients are ours and known, and which mailboxes they lead to (DESIGN section 4 and 11, Addresses)."""

from __future__ import annotations

import pytest
from policy_samples import LISTENERS, SNAPSHOT, addr, local, rcpt, relayed, snapshot

from postlatch.model.address import Address
from postlatch.model.envelope import Destination
from postlatch.policy.aliases import expand, mailbox
from postlatch.policy.mailboxes import locate, needs_callout
from postlatch.policy.snapshot import LocalDomain

ROUTING = [
    "u%elsewhere.example",
    "elsewhere.example!u",
    '"u@elsewhere.example"',
    '"u:x"',
    "a/b",
    "/etc/passwd",
    '"a\\\\b"',
    "|cmd",
    "-oX",
    '"|cmd"',
    '""',
    '"."',
    '".."',
    "alice+x%y",
]
LISTED_ODD = snapshot(
    locals_=[
        local("example.com", ("odd%name", "-dash", "|pipe", "a/b"), **{"an!alias": "a/b@example.com"}),
        local("callout.example", None, any="odd%name@example.com"),
    ],
    relayed_=[relayed("branch.example", None), relayed("listed.example", ("x%y",))],
)


@pytest.mark.parametrize("form", ROUTING)
@pytest.mark.parametrize("domain", ["example.com", "callout.example", "catch.example", "branch.example", "listed.example"])
def test_a_local_part_that_looks_like_a_route_is_refused_whatever_the_next_hop_says(form: str, domain: str) -> None:
    for listener in LISTENERS:
        assert rcpt(listener, f"{form}@{domain}", known=True, client="127.0.0.1") == "501 5.1.3 address form"
    assert not needs_callout(SNAPSHOT, addr(f"{form}@{domain}"))


@pytest.mark.parametrize("text", ["odd%name", "ODD%Name", "-dash", "|pipe", "a/b", "an!alias"])
def test_a_local_part_that_is_listed_letter_for_letter_is_taken(text: str) -> None:
    assert rcpt("mx", f"{text}@example.com", snap=LISTED_ODD) == "local - -"


def test_a_listed_local_part_of_a_relay_domain_is_taken_too() -> None:
    assert rcpt("mx", "x%y@listed.example", snap=LISTED_ODD) == "relay RELAY_DOMAIN listed.example"
    assert rcpt("mx", "x%z@listed.example", snap=LISTED_ODD) == "501 5.1.3 address form"


@pytest.mark.parametrize("text", ['""@example.com', '"."@example.com', '".."@example.com'])
def test_the_empty_local_part_and_the_dots_are_refused_even_if_listed(text: str) -> None:
    snap = snapshot(locals_=[local("example.com", ("", ".", ".."))])
    assert rcpt("mx", text, snap=snap) == "501 5.1.3 address form"


def test_a_foreign_mailbox_of_any_form_is_passed_on_for_who_may_send() -> None:
    for form in ROUTING:
        assert rcpt("relay", f"{form}@elsewhere.example", client="127.0.0.1") == "foreign NETWORK local"


KNOWN = [
    ("alice+tag@example.com", "local - -"),
    ("ALICE+Tag@example.com", "local - -"),
    ("info+tag@example.com", "local - -"),
    ("nobody+alice@example.com", "550 5.1.1 recipient known"),
    ("+alice@example.com", "550 5.1.1 recipient known"),
    ("alice+@example.com", "local - -"),
    ("loop@example.com", "550 5.1.1 recipient known"),
    ("*@example.com", "550 5.1.1 recipient known"),
    ("any@example.com", "550 5.1.1 recipient known"),
    ("help@callout.example", "local - -"),
    ("help+x@callout.example", "local - -"),
    ("alice@sub.example.com", "550 5.7.1 foreign on mx"),
    ("alice@evilexample.com", "550 5.7.1 foreign on mx"),
    ("alice@example.com.elsewhere.example", "550 5.7.1 foreign on mx"),
    ("alice@mx.example.com", "550 5.7.1 foreign on mx"),
]


@pytest.mark.parametrize(("recipient", "expected"), KNOWN)
def test_a_mailbox_is_known_by_its_exact_name_or_its_tag(recipient: str, expected: str) -> None:
    assert rcpt("mx", recipient) == expected


POSTMASTER = [
    ("mx", "postmaster", "local - -"),
    ("mx", "PostMaster@Example.com", "local - -"),
    ("mx", "postmaster@callout.example", "local - -"),
    ("mx", "postmaster@catch.example", "local - -"),
    ("mx", "postmaster@[192.0.2.1]", "local - -"),
    ("mx", "postmaster@[192.0.2.2]", "550 5.7.1 foreign on mx"),
    ("mx", "postmaster@[127.0.0.1]", "550 5.7.1 foreign on mx"),
    ("mx", "alice@[192.0.2.1]", "550 5.7.1 foreign on mx"),
    ("mx", "postmaster@mx.example.com", "550 5.7.1 foreign on mx"),
    ("mx", "postmaster@sub.example.com", "550 5.7.1 foreign on mx"),
    ("relay", "postmaster", "501 5.1.3 bare postmaster"),
    ("submission", "postmaster", "501 5.1.3 bare postmaster"),
    ("relay", "postmaster@example.com", "local NETWORK local"),
]


@pytest.mark.parametrize(("listener", "recipient", "expected"), POSTMASTER)
def test_postmaster_is_always_known_where_it_is_ours(listener: str, recipient: str, expected: str) -> None:
    assert rcpt(listener, recipient, client="127.0.0.1") == expected


def test_without_a_domain_of_ours_there_is_no_postmaster() -> None:
    snap = snapshot(locals_=[])
    assert rcpt("mx", "postmaster", snap=snap) == "550 5.7.1 foreign on mx"
    assert rcpt("mx", "postmaster@[192.0.2.1]", snap=snap) == "550 5.7.1 foreign on mx"
    assert locate(snap, addr("postmaster")) is Destination.FOREIGN


CALLOUT = [
    ("x@callout.example", True),
    ("x@branch.example", True),
    ("alice@example.com", False),
    ("nobody@example.com", False),
    ("help@callout.example", False),
    ("postmaster@callout.example", False),
    ("dave@listed.example", False),
    ("x@elsewhere.example", False),
    ("x@[192.0.2.1]", False),
]


@pytest.mark.parametrize(("recipient", "expected"), CALLOUT)
def test_the_next_hop_is_asked_only_where_nobody_else_knows(recipient: str, expected: bool) -> None:
    assert needs_callout(SNAPSHOT, addr(recipient)) is expected


EXPANSIONS = [
    ("alice@example.com", "alice@example.com"),
    ("Alice@Example.com", "alice@example.com"),
    ('"alice"@example.com', "alice@example.com"),
    ("alice+tag@example.com", "alice@example.com"),
    ("info@example.com", "alice@example.com bob@example.com"),
    ("INFO+x@example.com", "alice@example.com bob@example.com"),
    ("nobody@example.com", ""),
    ("loop@example.com", ""),
    ("help@callout.example", "alice@example.com"),
    ("Someone+x@callout.example", "Someone+x@callout.example"),
    ("whoever@catch.example", "alice@example.com"),
    ("carol@catch.example", "carol@catch.example"),
    ("postmaster@example.com", "postmaster@example.com"),
    ("postmaster@callout.example", "postmaster@example.com"),
    ("postmaster@[192.0.2.1]", "postmaster@example.com"),
    ("postmaster", "postmaster@example.com"),
    ("x@elsewhere.example", "x@elsewhere.example"),
    ("x@branch.example", "x@branch.example"),
    ("postmaster@elsewhere.example", "postmaster@elsewhere.example"),
]


@pytest.mark.parametrize(("recipient", "mailboxes"), EXPANSIONS)
def test_a_recipient_leads_to_final_mailboxes(recipient: str, mailboxes: str) -> None:
    assert " ".join(address.text for address in expand(SNAPSHOT, addr(recipient))) == mailboxes


def test_a_plain_mailbox_expands_to_the_very_same_object() -> None:
    alice = addr("alice@example.com")
    assert expand(SNAPSHOT, alice)[0] is alice


def texts(domains: list[LocalDomain], recipient: str) -> list[str]:
    snap = snapshot(locals_=domains)
    return [address.text for address in expand(snap, addr(recipient))]


def test_an_alias_of_a_mailbox_may_keep_a_copy_in_it() -> None:
    domain = local("example.com", ("alice", "bob"), alice="alice@example.com bob@example.com")
    assert texts([domain], "alice@example.com") == ["alice@example.com", "bob@example.com"]


def test_an_alias_is_followed_through_others_and_each_mailbox_counts_once() -> None:
    domain = local(
        "example.com",
        ("a", "b", "c"),
        all="first@example.com second@example.com a@example.com",
        first="a@example.com b@example.com",
        second="b@example.com c@example.com all@example.com",
    )
    assert texts([domain], "all@example.com") == ["a@example.com", "b@example.com", "c@example.com"]


def test_a_target_that_is_not_ours_is_never_an_outcome() -> None:
    domain = local(
        "example.com", ("a",), out="x@elsewhere.example dave@listed.example a@example.com", gone="x@elsewhere.example"
    )
    assert texts([domain], "out@example.com") == ["a@example.com"]
    assert rcpt("mx", "gone@example.com", snap=snapshot(locals_=[domain])) == "550 5.1.1 recipient known"


def test_a_catch_all_that_leads_out_or_to_itself_makes_nobody_known() -> None:
    for target in ("x@elsewhere.example", "nobody@example.com"):
        snap = snapshot(locals_=[local("example.com", ("a",), any=target)])
        assert rcpt("mx", "whoever@example.com", snap=snap) == "550 5.1.1 recipient known"


def test_a_postmaster_whose_alias_leads_nowhere_still_has_a_mailbox() -> None:
    domain = local("example.com", ("a",), postmaster="x@elsewhere.example")
    assert texts([domain], "postmaster@example.com") == ["postmaster@example.com"]


def test_the_postmaster_of_any_domain_of_ours_is_its_alias_or_that_of_the_first() -> None:
    first = local("example.com", ("a", "b"), postmaster="a@example.com")
    assert texts([first, local("two.example", ("c",))], "postmaster@two.example") == ["a@example.com"]
    second = local("two.example", ("c",), postmaster="c@two.example")
    assert texts([first, second], "postmaster@two.example") == ["c@two.example"]
    assert texts([first, local("two.example", ("postmaster",))], "postmaster@two.example") == ["postmaster@two.example"]
    assert texts([first, second], "postmaster") == ["a@example.com"]


def test_a_chain_of_two_thousand_aliases_ends() -> None:
    chain = {f"a{number}": f"a{number + 1}@example.com" for number in range(2_000)}
    domain = local("example.com", ("a2000",), **chain)
    assert texts([domain], "a0@example.com") == ["a2000@example.com"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("alice", "alice@example.com"),
        ("a b", '"a b"@example.com'),
        ('a"b', '"a\\"b"@example.com'),
        ("a\\b", '"a\\\\b"@example.com'),
        (".a", '".a"@example.com'),
        ("a..b", '"a..b"@example.com'),
    ],
)
def test_a_mailbox_is_written_so_that_it_parses_to_itself(name: str, text: str) -> None:
    written = mailbox(name, "example.com")
    assert written == Address(name, "example.com", text)
    assert addr(text) == written
