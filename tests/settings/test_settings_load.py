"""Loading: the documented example, the defaults, and what a person is told about every kind of mistake."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from ipaddress import ip_network
from pathlib import Path

import pytest
from pydantic import ValidationError

from postlatch.model.envelope import Role
from postlatch.settings.load import check_right, load, load_text
from postlatch.settings.place import choose_path, default_paths
from postlatch.settings.problem import Problem, SettingsError
from postlatch.settings.tree import Settings

BASE = """\
hostname = "mx.example.com"
[[listeners]]
name = "mx"
address = "127.0.0.1:2525"
role = "mx"
"""

FULL = (
    BASE
    + """
[[listeners]]
name = "relay"
address = ["127.0.0.1:0", "[0:0::1]:2526"]
role = "relay"
[tls]
certificate = "cert.pem"
key = "/etc/ssl/key.pem"
[domains."Example.COM"]
deliver = "maildir:data/mail"
recipients = ["alice", "Bob", '"john Smith"']
aliases = { Info = ["alice", "bob@bücher.example"], "*" = ["alice"] }
[domains."bücher.example"]
deliver = "lmtp+unix:///run/dovecot/lmtp"
recipients = "callout"
[relay_domains."branch.example"]
route = "smtp://[2001:DB8::5]"
recipients = "callout"
owner = "ops@example.com"
expires = 2027-06-30
[[rights]]
name = "printers"
networks = ["10.0.3.0/28", "2001:db8::/64", "10.0.4.1"]
listeners = ["relay"]
owner = "ops@example.com"
expires = "2027-06-30"
senders = ["@Example.com"]
limits = { messages = ["200/day"] }
[outbound]
tls = "required"
[outbound.routes]
"Partner.example" = "smtp://mail.partner.example:2525"
"other.example" = { to = "smtp://10.0.0.1", tls = "verify" }
[session]
idle = "5 minutes"
size = 1048576
"""
)


def _load(text: str) -> Settings:
    return load_text(text, Path("/etc/postlatch/postlatch.toml"))


def _problems(text: str) -> list[Problem]:
    with pytest.raises(SettingsError) as caught:
        _load(text)
    return caught.value.problems


def test_a_small_file_has_the_documented_defaults() -> None:
    settings = _load(BASE)
    assert settings.data_dir == Path("/etc/postlatch/data")
    assert settings.database == Path("/etc/postlatch/data/postlatch.db")
    assert settings.user is None
    assert settings.tls is None
    assert settings.limits.account.texts() == {
        "messages": ("30/minute", "500/day"),
        "recipients": ("300/hour", "1000/day"),
        "new_recipients": ("200/day",),
    }
    assert settings.limits.right.texts() == {"messages": ("200/day",)}
    assert settings.limits.client.connections == 50
    assert settings.limits.client.texts() == {"commands": ("600/minute",), "auth_failures": ("10/minute", "50/day")}
    assert settings.session.size == 50 * 2**20
    assert (settings.session.idle, settings.session.total, settings.session.greeting_delay) == (300.0, 3600.0, 0.1)
    assert (settings.outbound.max_age, settings.outbound.warn_after) == (5 * 86_400, 4 * 3600)
    assert (settings.retention.journal, settings.retention.queue) == (90 * 86_400, 7 * 86_400)
    assert settings.http.address == "127.0.0.1:8025"
    assert settings.accounts.argon2.memory == 19 * 2**20


def test_a_full_file_comes_through_in_one_form() -> None:
    settings = _load(FULL)
    assert [listener.role for listener in settings.listeners] == [Role.MX, Role.RELAY]
    assert settings.listeners[0].address == ("127.0.0.1:2525",)
    assert settings.listeners[1].address == ("127.0.0.1:0", "[::1]:2526")
    assert settings.tls is not None
    assert settings.tls.certificate == Path("/etc/postlatch/cert.pem")
    assert settings.tls.key == Path("/etc/ssl/key.pem")
    assert list(settings.domains) == ["example.com", "xn--bcher-kva.example"]
    ours = settings.domains["example.com"]
    assert ours.raw_name == "Example.COM"
    assert ours.deliver == "maildir:/etc/postlatch/data/mail"
    assert ours.recipients == ("alice", "bob", "john smith")
    assert dict(ours.aliases) == {
        "info": ("alice@example.com", "bob@xn--bcher-kva.example"),
        "*": ("alice@example.com",),
    }
    assert settings.domains["xn--bcher-kva.example"].recipients == "callout"
    branch = settings.relay_domains["branch.example"]
    assert (branch.route, branch.expires) == ("smtp://[2001:db8::5]:25", date(2027, 6, 30))
    right = settings.rights[0]
    assert right.networks == tuple(map(ip_network, ("10.0.3.0/28", "2001:db8::/64", "10.0.4.1/32")))
    assert right.senders == ("@example.com",)
    assert right.limits is not None
    assert right.limits.texts() == {"messages": ("200/day",)}
    assert settings.outbound.routes["partner.example"].tls == "required"
    assert settings.outbound.routes["other.example"].to == "smtp://10.0.0.1:25"
    assert settings.session.idle == 300


def test_settings_never_change() -> None:
    settings = _load(FULL)
    with pytest.raises(ValidationError):
        settings.hostname = "elsewhere.example"
    with pytest.raises(TypeError):
        settings.domains["x.example"] = settings.domains["example.com"]  # type: ignore[index]


def test_settings_are_equal_if_their_values_are() -> None:
    assert _load(FULL) == _load("# a comment\n" + FULL)
    assert _load(FULL) != _load(FULL.replace("alice", "alan"))


A = "[domains.'a.example']\n"
M = A + "deliver = 'maildir:m'\n"
DOMAIN = 'domains."a.example"'

# (what is added to the small file, the key, the line, words of the message)
MISTAKES: list[tuple[str, str, int | None, str]] = [
    ("[sesion]\n", "sesion", 6, 'is no known key (did you mean "session"?)'),
    ("[session]\nidel = 3\n", "session.idel", 7, 'did you mean "idle"'),
    ("[http]\ngreeting_delay = 3\n", "http.greeting_delay", 7, "it belongs into [session]"),
    ("[http]\nzzz = 3\n", "http.zzz", 7, "known here: address"),
    ("[session]\nidle = true\n", "session.idle", 7, "must be seconds, or a text with a unit, not true or false (true)"),
    ("[session]\nline = '4096'\n", "session.line", 7, 'must be a whole number, not a text ("4096"): write line = 4096'),
    ("[session]\nline = 4096.0\n", "session.line", 7, "must be a whole number, not a number (4096.0)"),
    ("[session]\nline = 100\n", "session.line", 7, "must be at least 512, not 100"),
    ("[session]\nrecipients = 1000000\n", "session.recipients", 7, "must be at most 100000, not 1000000"),
    ("[session]\nidle = nan\n", "session.idle", 7, "must be"),
    ("[session]\nsize = '50 MB'\n", "session.size", 7, '"50 MB" is no size'),
    ("[session]\nidle = '5 fortnights'\n", "session.idle", 7, '"5 fortnights" is no length of time'),
    ("[retention]\njournal = '90'\n", "retention.journal", 7, 'write a number and a unit, like "90 days"'),
    ("[retention]\njournal = 90\n", "retention.journal", 7, "must be a length of time, not a whole number (90)"),
    ("[retention]\njournal = '0 days'\n", "retention.journal", 7, "out of range"),
    ("[limits.account]\nmessages = '2/day'\n", "limits.account.messages", 7, 'must be a list of limits, not a text ("2/day")'),
    ("[limits.account]\nmessages = ['200 per day']\n", "limits.account.messages[0]", 7, 'like "200/day"'),
    ("[limits.account]\nmessages = ['200/days']\n", "limits.account.messages[0]", 7, "is no limit"),
    ("[limits.account]\nmessages = ['0/day']\n", "limits.account.messages[0]", 7, "out of range"),
    ("[limits.account]\nmessages = []\n", "limits.account.messages", 7, "an empty list would mean no limit"),
    ("[limits.account]\nmessages = ['1/day', '2/day']\n", "limits.account.messages", 7, "two limits for each day"),
    ("[limits.client]\nconnections = 0\n", "limits.client.connections", 7, "must be at least 1"),
    ("[tls]\ncertificate = 'c.pem'\n", "tls.key", 6, 'is missing: add key = "key.pem"'),
    ("[tls]\ncertificate = '~/c.pem'\nkey = 'k'\n", "tls.certificate", 7, "~ is not expanded"),
    ("[tls]\ncertificate = ''\nkey = 'k'\n", "tls.certificate", 7, "is empty"),
    ("[tls]\ncertificate = 3\nkey = 'k'\n", "tls.certificate", 7, "must be a path, not a whole number"),
    ("[store]\nurl = 'postgresql://u:secret@h/d'\n", "store.url", 7, "PostgreSQL comes with a later version"),
    ("[store]\nurl = 'sqlite:///x.db'\n", "store.url", 7, "right behind the colon"),
    ("[store]\nurl = 'x.db'\n", "store.url", 7, 'write "sqlite:PATH"'),
    ("[log]\nlevel = 'warn'\n", "log.level", 7, 'not "warn" (did you mean "warning"?)'),
    ("[log]\nformat = 1\n", "log.format", 7, 'must be one of "console", "json", not a whole number (1)'),
    ("[http]\naddress = '8025'\n", "http.address", 7, "has no port"),
    ("[http]\naddress = ':8025'\n", "http.address", 7, 'write "0.0.0.0:8025" for all of IPv4'),
    ("[http]\naddress = 'localhost:8025'\n", "http.address", 7, "does not begin with an IP address"),
    ("[http]\naddress = '::1:8025'\n", "http.address", 7, "in brackets"),
    ("[http]\naddress = '[127.0.0.1]:8025'\n", "http.address", 7, "in brackets"),
    ("[http]\naddress = '::1'\n", "http.address", 7, "has no port"),
    ("[http]\naddress = '[::ffff:1.2.3.4]:1'\n", "http.address", 7, "holds an IPv4 address"),
    ("[http]\naddress = '127.0.0.1:70000'\n", "http.address", 7, "must be a number from 0 to 65535"),
    ("[http]\naddress = '127.0.0.1:x'\n", "http.address", 7, '"x" is no port'),
    ("[alerts]\nto = ['ops']\n", "alerts.to[0]", 7, '"ops" is no address'),
    ("[alerts]\nto = 'ops@example.com'\n", "alerts.to", 7, "must be a list of addresses"),
    ("[outbound]\nsmarthost = 'smtp://u:hush@h:25'\n", "outbound.smarthost", 7, "use outbound.username and outbound.password"),
    ("[outbound]\nsmarthost = 'smtps://h:465'\n", "outbound.smarthost", 7, "smtps:// is not known"),
    ("[outbound]\nsmarthost = 'relay.example:25'\n", "outbound.smarthost", 7, "is not known"),
    ("[outbound]\nsmarthost = 'smtp:relay.example'\n", "outbound.smarthost", 7, "two slashes"),
    ("[outbound]\nsmarthost = 'lmtp://h'\n", "outbound.smarthost", 7, "cannot take mail for elsewhere"),
    ("[outbound]\nsmarthost = 'smtp://h:0'\n", "outbound.smarthost", 7, "must be a number from 1 to 65535"),
    ("[outbound]\nsmarthost = 'smtp://h/x'\n", "outbound.smarthost", 7, "goes on after the port"),
    ("[outbound]\nsmarthost = 'smtp://'\n", "outbound.smarthost", 7, "names no host"),
    ("[outbound]\nsmarthost = 'smtp://::1:25'\n", "outbound.smarthost", 7, "stands in brackets"),
    ("[outbound]\nsmarthost = 'smtp://a_b:25'\n", "outbound.smarthost", 7, '"a_b" is no domain'),
    ("[outbound]\nresolver = ['127.0.0.1']\n", "outbound.resolver[0]", 7, "has no port"),
    ("[outbound]\nresolver = ['127.0.0.1:0']\n", "outbound.resolver[0]", 7, "has port 0"),
    ("[outbound.routes]\n'*' = 'smtp://h'\n", 'outbound.routes."*"', 7, "what takes everything else is outbound.smarthost"),
    ("[outbound.routes]\n'a.example' = { tls = 'verify' }\n", 'outbound.routes."a.example".to', 7, "is missing: add to ="),
    (A, DOMAIN + ".deliver", 6, "is missing: add deliver ="),
    ("[domains.'a.example.']\ndeliver = 'maildir:m'\n", 'domains."a.example."', 6, 'write "a.example"'),
    ("[domains.'*.example']\ndeliver = 'maildir:m'\n", 'domains."*.example"', 6, "is a wildcard"),
    ("[domains.'.a.example']\ndeliver = 'maildir:m'\n", 'domains.".a.example"', 6, "is a wildcard"),
    ("[domains.'10.0.0.1']\ndeliver = 'maildir:m'\n", 'domains."10.0.0.1"', 6, "is no domain"),
    (A + "deliver = 'mbox:m'\n", DOMAIN + ".deliver", 7, '"mbox:" is not known'),
    (A + "deliver = 'maildir:'\n", DOMAIN + ".deliver", 7, "names no folder"),
    (A + "deliver = 'lmtp+unix://run/x'\n", DOMAIN + ".deliver", 7, "three slashes"),
    (M + "recipients = 'al'\n", DOMAIN + ".recipients", 8, '"al" stands alone'),
    (M + "recipients = 3\n", DOMAIN + ".recipients", 8, 'or "callout", not'),
    (M + "recipients = ['a@b']\n", DOMAIN + ".recipients[0]", 8, "has an @"),
    (M + "recipients = ['a', 'a b']\n", DOMAIN + ".recipients[1]", 8, "no local"),
    (M + "recipients = ['*']\n", DOMAIN + ".recipients[0]", 8, "a catch-all is an"),
    (M + "recipients = ['..']\n", DOMAIN + ".recipients[0]", 8, "no local part"),
    (M + "recipients = ['a/b']\n", DOMAIN + ".recipients[0]", 8, "has no /"),
    (M + "recipients = 'callout'\n", DOMAIN + ".recipients", 8, "cannot be asked"),
    (M + "aliases = { 'a b' = [] }\n", DOMAIN + '.aliases."a b"', 8, "no local part"),
    ("[domains]\ndeliver = 'maildir:m'\n", "domains.deliver", 7, "must be a table"),
    ("domains = ['a.example']\n", "listeners.mx.domains", 6, "belongs to the top of the file"),
    ("[relay_domains.'b.example']\nroute = 'maildir:m'\nrecipients = []\nowner = 'o'\nexpires = 2027-01-01\n",
     'relay_domains."b.example".route', 7, "is not kept here"),
]  # fmt: skip


@pytest.mark.parametrize(("addition", "key", "line", "words"), MISTAKES)
def test_every_mistake_says_where_it_is_and_what_would_be_right(addition: str, key: str, line: int | None, words: str) -> None:
    problem = next(problem for problem in _problems(BASE + addition) if problem.key == key)
    assert words in problem.message
    assert problem.line == line
    assert problem.file == "/etc/postlatch/postlatch.toml"


RIGHT = """\
[[listeners]]
name = "relay"
address = "127.0.0.1:2526"
role = "relay"
[[rights]]
name = "printers"
networks = ["10.0.3.0/28"]
listeners = ["relay"]
owner = "ops@example.com"
expires = 2027-06-30
"""


@pytest.mark.parametrize(
    ("old", "new", "key", "line", "words"),
    [
        ('owner = "ops@example.com"\n', "", "rights.printers.owner", 10, 'is missing: add owner = "ops@example.com"'),
        ("expires = 2027-06-30\n", "", "rights.printers.expires", 10, "is missing: add expires = 2027-06-30"),
        ("2027-06-30", "5", "rights.printers.expires", 15, "must be a date without quotes, like 2027-06-30"),
        ("2027-06-30", '"June"', "rights.printers.expires", 15, '"June" is no date'),
        ("2027-06-30", '"2027-02-30"', "rights.printers.expires", 15, "a day that exists"),
        ("2027-06-30", "2027-06-30T12:00:00Z", "rights.printers.expires", 15, "write the day alone, 2027-06-30"),
        ('"ops@example.com"', '" "', "rights.printers.owner", 14, "is empty: name who vouches"),
        ('"ops@example.com"', '"a\\u001b[31m"', "rights.printers.owner", 14, "one line of printable text"),
        ("10.0.3.0/28", "10.0.3.5/28", "rights.printers.networks[0]", 12, 'write "10.0.3.0/28" for the network or "10.0.3.5"'),
        ("10.0.3.0/28", "10.0.3.0/255.255.255.0", "rights.printers.networks[0]", 12, "ADDRESS/PREFIX-LENGTH"),
        ("10.0.3.0/28", "10.0.3/24", "rights.printers.networks[0]", 12, "is no network"),
        ("10.0.3.0/28", "10.0.3.0/33", "rights.printers.networks[0]", 12, "is no network"),
        ("10.0.3.0/28", "example.com", "rights.printers.networks[0]", 12, "is no network"),
        ("10.0.3.0/28", "fe80::%eth0/64", "rights.printers.networks[0]", 12, "is no network"),
        ('["10.0.3.0/28"]', "[]", "rights.printers.networks", 12, "is empty: it must be a list of networks, with one at least"),
        ('["10.0.3.0/28"]', "[7]", "rights.printers.networks[0]", 12, "must be a network, not a whole number (7)"),
        ('["relay"]', '["relais"]', "rights.printers.listeners[0]", 13, 'no listener "relais" (did you mean "relay"?)'),
        ('["relay"]', '["zzz"]', "rights.printers.listeners[0]", 13, "there are: mx, relay"),
        ('name = "printers"', 'name = "a b"', "rights[0].name", 11, '"a b" is no name'),
        ("[[rights]]", "senders = []\n[[rights]]", "listeners.relay.senders", 10, "is no known key"),
        ("expires = 2", "wide = true\nexpires = 2", "rights.printers.wide", 15, "must be a text, not true or false (true)"),
        ("expires = 2", 'senders = ["*@a.example"]\nexpires = 2', "rights.printers.senders[0]", 15, 'write "@a.example"'),
        ("expires = 2", 'senders = ["a.example"]\nexpires = 2', "rights.printers.senders[0]", 15, 'or "@example.com"'),
        ("expires = 2", 'senders = ["@a_b"]\nexpires = 2', "rights.printers.senders[0]", 15, "is no domain"),
        (
            "expires = 2",
            'senders = "@a.example"\nexpires = 2',
            "rights.printers.senders",
            15,
            "must be a list of addresses or @domains",
        ),
        ('role = "relay"', 'role = "realy"', "listeners.relay.role", 9, '(did you mean "relay"?)'),
        (
            'role = "relay"',
            'role = "relay"\nproxies = ["10.0.0.1", "0.0.0.0/0"]',
            "listeners.relay.proxies",
            10,
            "from everywhere",
        ),
        ('role = "relay"', 'role = "relay"\nproxies = ["::/0"]', "listeners.relay.proxies", 10, "from everywhere"),
        ('"127.0.0.1:2526"', "[]", "listeners.relay.address", 8, "is empty"),
        ('"127.0.0.1:2526"', '["127.0.0.1:2526", "x"]', "listeners.relay.address[1]", 8, "has no port"),
        ("[[rights]]", "[rights]", "rights", 10, "write [[rights]], with two brackets, for each"),
    ],
)
def test_a_right_or_listener_that_is_wrong_is_explained(old: str, new: str, key: str, line: int, words: str) -> None:
    assert old in RIGHT
    problems = _problems(BASE + RIGHT.replace(old, new, 1))
    problem = next(problem for problem in problems if problem.key == key)
    assert words in problem.message
    assert problem.line == line


def test_a_right_made_by_command_passes_the_same_checks() -> None:
    values = {"name": "cron", "networks": ["10.0.3.0/28"], "listeners": ["relay"], "owner": "ops", "expires": "2027-06-30"}
    assert check_right(values).expires == date(2027, 6, 30)
    with pytest.raises(SettingsError) as caught:
        check_right({**values, "networks": ["10.0.3.5/28"], "owner": "", "oops": 1})
    network, unknown, owner = str(caught.value).splitlines()
    assert network.startswith('networks[0]: "10.0.3.5/28" is an address inside a network: write "10.0.3.0/28"')
    assert unknown.startswith("oops: is no known key; known here: name, networks, listeners, owner, expires")
    assert owner == 'owner: is empty: name who vouches for this, like "ops@example.com"'


def test_all_problems_come_at_once_in_the_order_of_the_file() -> None:
    listener = BASE.removeprefix('hostname = "mx.example.com"\n')
    problems = _problems(
        'hostnam = "x"\n' + listener + "[log]\nlevel = 1\n" + listener.replace('"mx"\n', '"mx"\nproxies = 1\n', 1)
    )
    assert [(problem.line, problem.key) for problem in problems] == [
        (None, "hostname"),
        (1, "hostnam"),
        (7, "log.level"),
        (9, "listeners.mx.name"),
        (10, "listeners.mx.proxies"),
        (11, "listeners.mx.address"),
    ]
    assert 'there is another listener "mx" on line 3: names are unique' in problems[3].message
    assert 'is taken by listener "mx" (127.0.0.1:2525)' in problems[5].message


def test_problems_print_as_lines_for_editors() -> None:
    with pytest.raises(SettingsError) as caught:
        load_text(BASE + "[log]\nlevel = 1\n", Path("postlatch.toml"))
    assert str(caught.value).startswith('postlatch.toml:7: log.level: must be one of "debug"')
    assert caught.value.problems[0].as_json() == {
        "file": "postlatch.toml",
        "key": "log.level",
        "line": 7,
        "message": caught.value.problems[0].message,
    }


def test_a_named_danger_is_told_apart_from_bad_input() -> None:
    wildcard = "[domains.'*.example']\ndeliver = 'maildir:m'\n"
    with pytest.raises(SettingsError) as caught:
        _load(BASE + wildcard)
    assert caught.value.exit_status == 1
    with pytest.raises(SettingsError) as caught:
        _load(BASE + wildcard + "oops = 1\n")
    assert caught.value.exit_status == 2


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ('hostname = "x"\nuser = root\n', 2, "is not TOML, column 8: invalid value (a text needs quotation marks"),
        ("a = 1\na = 2\n", 2, "is not TOML"),
        ("[log]\n[log]\n", 2, "the table is given twice"),
        ("x = 2027-02-30", 1, "there is no such day"),
        ('x = "a\n', 1, "quotation mark is missing"),
        ("x = [1,\n\n", 1, "something is not closed"),
        ("just words", 1, "write KEY = VALUE"),
        ("x = " + "[" * 10_000, None, "nested too deeply"),
    ],
)
def test_text_that_is_no_toml_names_its_line(text: str, line: int | None, words: str) -> None:
    (problem,) = _problems(text)
    assert words in problem.message
    assert problem.line == line


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "postlatch.toml"
    path.write_bytes(b"\xef\xbb\xbf" + BASE.replace("\n", "\r\n").encode())
    assert load(path).hostname == "mx.example.com"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: path.with_name("other").touch(), "there is no such file; make one with 'postlatch init DOMAIN'"),
        (lambda path: path.mkdir(), "this is a directory"),
        (lambda path: path.write_bytes(b"a = 1\nb = '\xff'\n"), "is not UTF-8 here"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(tmp_path: Path, make: Callable[[Path], object], words: str) -> None:
    make(tmp_path / "postlatch.toml")
    with pytest.raises(SettingsError, match=words) as caught:
        load(tmp_path / "postlatch.toml")
    assert caught.value.exit_status == 2


def test_secrets_in_urls_are_never_repeated() -> None:
    text = BASE + "[store]\nurl = 'postgres://u:hush@h/d'\n[outbound]\nsmarthost = 'smtp://u:hush@h:25'\n"
    assert all("hush" not in str(problem) for problem in _problems(text))


def test_control_characters_never_reach_a_message() -> None:
    text = BASE + '[log]\nlevel = "\\u001b[31m\\u202e"\n["\\u001b[31m"]\n'
    assert all(str(problem).isprintable() for problem in _problems(text))


def test_a_long_value_is_cut_in_the_message() -> None:
    (problem,) = _problems(BASE + f"[http]\naddress = '{'x' * 500}'\n")
    assert len(problem.message) < 200


def test_later_problems_find_their_line_by_name() -> None:
    settings = _load(FULL)
    assert settings.problem("rights.printers.networks", "too wide").line == 28
    assert settings.problem("rights.printers.networks", "too wide").key == "rights.printers.networks"
    assert settings.problem("domains.xn--bcher-kva.example.recipients", "m").line == 20
    assert settings.problem("domains.example.com", "m").line == 14
    assert settings.problem('domains."example.com".aliases.info', "m").line == 17
    assert settings.problem("listeners.relay.address[1]", "m").line == 9
    assert settings.problem("rights.unknown.networks", "m").line == 26
    assert settings.problem("nothing.at.all", "m").line is None
    assert settings.problem(("listeners", 1, "role"), "m", danger=True) == Problem(
        "/etc/postlatch/postlatch.toml", "listeners.relay.role", 10, "m", danger=True
    )


def test_a_named_file_stands_alone_and_else_the_usual_places_are_tried(tmp_path: Path) -> None:
    usual = (Path("postlatch.toml"), Path("/etc/postlatch/postlatch.toml"))
    assert default_paths(Path("a.toml"), {"POSTLATCH_CONFIG": "b.toml"}) == (Path("a.toml"),)
    assert default_paths(None, {"POSTLATCH_CONFIG": "b.toml"}) == (Path("b.toml"),)
    assert default_paths(None, {"POSTLATCH_CONFIG": ""}) == usual
    assert default_paths(None, {}) == usual
    assert choose_path(tmp_path / "absent.toml", {}) == tmp_path / "absent.toml"
