"""Problems between keys: names, addresses, domains, aliases, the smarthost's login."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postlatch.settings.load import load_text
from postlatch.settings.problem import Problem, SettingsError

HEAD = 'hostname = "mx.example.com"\n'
DOMAIN = HEAD + "listeners = [{ name = 'mx', address = '127.0.0.1:0', role = 'mx' }]\n"
VOUCHED = "recipients = []\nowner = 'o'\nexpires = 2027-01-01\n"
MAILDIR = "deliver = 'maildir:m'\n"


def _problems(text: str) -> list[Problem]:
    try:
        load_text(text, Path("postlatch.toml"))
    except SettingsError as error:
        return error.problems
    return []


def _listeners(*addresses: str) -> str:
    tables = (
        f"[[listeners]]\nname = 'l{number}'\naddress = {address}\nrole = 'mx'\n" for number, address in enumerate(addresses)
    )
    return HEAD + "".join(tables)


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        ("'127.0.0.1:25'", "'127.0.0.1:25'", '127.0.0.1:25 is taken by listener "l0" (127.0.0.1:25)'),
        ("['0.0.0.0:25', '[::]:25']", "'127.0.0.1:25'", 'taken by listener "l0" (0.0.0.0:25)'),
        ("'127.0.0.1:25'", "['10.0.0.1:25', '0.0.0.0:25']", 'taken by listener "l0" (127.0.0.1:25)'),
        ("'[::1]:25'", "'[0:0::1]:25'", "[0:0::1]:25 is taken"),
        ("'[::]:25'", "'[::1]:25'", "([::]:25)"),
        ("'127.0.0.1:24'", "'127.0.0.1:8025'", "127.0.0.1:8025 is taken by [http]"),
    ],
)
def test_two_doors_on_one_address_are_refused(first: str, second: str, words: str) -> None:
    (problem,) = _problems(_listeners(first, second))
    assert words in problem.message


@pytest.mark.parametrize(
    ("first", "second"),
    [("'127.0.0.1:0'", "'127.0.0.1:0'"), ("'0.0.0.0:25'", "'[::]:25'"), ("'127.0.0.1:25'", "['127.0.0.2:25', '127.0.0.1:26']")],
)
def test_doors_that_do_not_collide_are_fine(first: str, second: str) -> None:
    assert _problems(_listeners(first, second)) == []


def test_one_listener_twice_on_one_address_is_refused() -> None:
    (problem,) = _problems(_listeners("['127.0.0.1:25', '127.0.0.1:25']"))
    assert problem.key == "listeners.l0.address[1]"


@pytest.mark.parametrize(
    ("text", "key", "words"),
    [
        (
            f"[domains.'A.example']\n{MAILDIR}[domains.'a.example']\n{MAILDIR}",
            'domains."a.example"',
            "given already in [domains] on line 3",
        ),
        (
            f"[domains.'a.example']\n{MAILDIR}[relay_domains.'a.EXAMPLE']\nroute = 'smtp://h'\n{VOUCHED}",
            'relay_domains."a.EXAMPLE"',
            "given already in [domains] on line 3: a domain is ours or relayed to",
        ),
        (
            "[outbound.routes]\n'bücher.example' = 'smtp://h'\n'xn--bcher-kva.example' = 'smtp://i'\n",
            'outbound.routes."xn--bcher-kva.example"',
            "another route for xn--bcher-kva.example on line 4",
        ),
    ],
)
def test_a_domain_stands_in_one_place(text: str, key: str, words: str) -> None:
    (problem,) = _problems(DOMAIN + text)
    assert problem.key == key
    assert words in problem.message


def _aliases(aliases: str, recipients: str = "['alice', 'bob']") -> list[Problem]:
    text = f"[domains.'a.example']\n{MAILDIR}recipients = {recipients}\naliases = {{ {aliases} }}\n"
    other = "[domains.'b.example']\ndeliver = 'lmtp://h'\nrecipients = 'callout'\n"
    return _problems(DOMAIN + text + other)


@pytest.mark.parametrize(
    "aliases",
    [
        "info = ['alice', 'Bob']",
        "info = ['alice@a.example', 'anybody@b.example']",
        "info = ['alice+orders']",
        "info = ['sales'], sales = ['info', 'bob']",
        "alice = ['alice', 'bob']",
        "'*' = ['alice']",
        "'*' = ['unlisted', 'alice']",
        "info = ['postmaster']",
        "postmaster = ['alice']",
        "info = ['ALICE@A.EXAMPLE']",
        "info = ['\"bob\"']",
        "'\"info\"' = ['sales@a.example'], sales = ['bob']",
    ],
)
def test_aliases_to_mailboxes_of_our_own_are_fine(aliases: str) -> None:
    assert _aliases(aliases) == []


@pytest.mark.parametrize(
    ("aliases", "key", "words", "danger"),
    [
        ("info = ['x@gmail.example']", "info[0]", "mail is not forwarded abroad", True),
        (
            "info = ['alice', 'alcie']",
            "info[1]",
            '"alcie" is neither a recipient nor an alias of a.example (did you mean "alice"?)',
            False,
        ),
        ("info = ['x@sub.a.example']", "info[0]", "is not in a domain of ours", True),
        ("info = []", "info", "leads nowhere", False),
        ("info = ['info']", "info", "leads only to itself", False),
        ("info = ['sales'], sales = ['Info']", "info", "leads only to itself", False),
        ("info = ['alice'], Info = ['bob']", "Info", "given twice: local parts compare without case", False),
        ("info = ['al ice']", "info[0]", "is no local part", False),
        ("info = ['a@b_c']", "info[0]", "is no address", False),
    ],
)
def test_aliases_that_lead_nowhere_good_are_refused(aliases: str, key: str, words: str, danger: bool) -> None:
    problem = _aliases(aliases)[0]
    assert problem.key == f'domains."a.example".aliases.{key}'
    assert words in problem.message
    assert problem.danger is danger


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ("smarthost = 'smtp://h:587'\nusername = 'u'\npassword_file = 'p'\ntls = 'verify'\n", ()),
        ("smarthost = 'smtp://h:587'\nusername = 'u'\npassword_file = 'p'\n", ('add tls = "verify"',)),
        ("smarthost = 'smtp://h:587'\nusername = 'u'\npassword_file = 'p'\ntls = 'required'\n", ("name was verified",)),
        ("smarthost = 'smtp://h:587'\nusername = 'u'\ntls = 'verify'\n", ("without password_file",)),
        ("username = 'u'\npassword_file = 'p'\ntls = 'verify'\n", ("without smarthost",)),
        ("smarthost = 'smtp://h:587'\npassword_file = 'p'\n", ("without username",)),
        ("username = 'u'\n", ("without smarthost", "without password_file", 'add tls = "verify"')),
    ],
)
def test_a_password_needs_a_verified_smarthost(keys: str, words: tuple[str, ...]) -> None:
    problems = _problems(DOMAIN + "[outbound]\n" + keys)
    assert len(problems) == len(words)
    assert all(any(word in problem.message for problem in problems) for word in words)


_JUNK = st.recursive(
    st.one_of(st.integers(0, 3), st.booleans(), st.sampled_from(["mx", "127.0.0.1:25", "callout", "a.example", "*", "a@b"])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["name", "address", "aliases", "recipients", "deliver", "a.example", "*"]), inner, max_size=3
        ),
    ),
    max_leaves=10,
)


@given(
    st.dictionaries(
        st.sampled_from(["hostname", "listeners", "domains", "relay_domains", "rights", "outbound", "http", "limits"]),
        _JUNK,
        max_size=5,
    )
)
def test_junk_of_any_shape_gives_problems_and_never_a_crash(data: dict[str, object]) -> None:
    text = "".join(f"{key} = {_toml(value)}\n" for key, value in data.items())
    assert _problems(text)


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"'{key}' = {_toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return f"'{value}'" if isinstance(value, str) else str(value).lower()
