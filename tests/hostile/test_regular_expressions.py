"""No regular expression explodes: each is attacked with worst cases of its own structure, as long as its inputs can be."""

from __future__ import annotations

import re

import pytest
from regex_attacks import Used, all_patterns, attacks, cost

from postlatch.server.headers import MAX_FROM

LIMIT = 0.05  # seconds
LINE = 4096  # octets of a command, [session] line
AUTH = 12_288
HEADER = 262_144
ADDRESS = 254  # the parser has looked at the length before
FILE = 16_384  # the configuration: nobody's but the administrator's
SHORT = 1000

# Every regular expression, and the longest text that can reach it. A new one belongs here.
REACH: dict[str, int] = {
    "audit.lint.compose.docker._ASSIGNMENT": FILE,
    "audit.lint.compose.docker._PORT": FILE,
    "audit.lint.compose.docker._VARIABLE": FILE,
    "audit.lint.compose.trust._MAILSERVER": FILE,
    "audit.lint.compose.trust._OPEN_IMAGES": FILE,
    "audit.lint.compose.trust:re.split": FILE,
    "audit.lint.exim.config.VERB": FILE,
    "audit.lint.exim.config._FLAG": FILE,
    "audit.lint.exim.config._NAME": FILE,
    "audit.lint.exim.config._NAMED_LIST": FILE,
    "audit.lint.exim.config._OPTION": FILE,
    "audit.lint.exim.config:re.sub": FILE,
    "audit.lint.exim.debian._PIECE": FILE,
    "audit.lint.exim.debian._SETTING": FILE,
    "audit.lint.exim.expand._CHOSEN": FILE,
    "audit.lint.exim.expand._NAME": FILE,
    "audit.lint.exim.expand:re.match": FILE,
    "audit.lint.exim.lists._KEY": FILE,
    "audit.lint.exim.lists._LOOKUP": FILE,
    "audit.lint.exim.source._MACRO": FILE,
    "audit.lint.exim.source._UPPER": FILE,
    "audit.lint.haraka.config._ENTRY": FILE,
    "audit.lint.haraka.config._SECTION": FILE,
    "audit.lint.hmailserver.ranges._INSERT": FILE,
    "audit.lint.hmailserver.ranges._VALUE": FILE,
    "audit.lint.hmailserver.ranges:re.compile": FILE,
    "audit.lint.opensmtpd.source._TOKEN": FILE,
    "audit.lint.opensmtpd.source:re.sub": FILE,
    "audit.lint.sendmail.config._FILE_CLASS": FILE,
    "audit.lint.sendmail.config._MAP": FILE,
    "audit.lint.sendmail.config._OPTION": FILE,
    "audit.lint.sendmail.config._TRACE": FILE,
    "audit.lint.sendmail.config:re.search": FILE,
    "audit.lint.sendmail.m4._CALL": FILE,
    "audit.lint.sendmail.m4._SKIPPED": FILE,
    "accounts.app_passwords._NAME": AUTH,
    "accounts.app_passwords._SECRET": AUTH,
    "accounts.directory_ldap_text._PLACE": FILE,
    "app.ban_files._FAIL2BAN": FILE,
    "app.ban_files._DURATION": FILE,
    "app.fetch._URL": 2048,  # the length is looked at before
    "app.fetch._FIELD_VALUE": FILE,
    "app.fetch._MAX_AGE": FILE,
    "app.fetch._TOKEN": FILE,
    "delivery.mta_sts._ID": SHORT,
    "delivery.mta_sts._FIELD": 65_536,
    "delivery.mta_sts._AGE": 65_536,
    "senderauth.authres._FIELD_END": 65_536,
    "senderauth.reputation.names._NUMBERS": SHORT,
    "senderauth.reputation.names._WORDS": SHORT,
    "senderauth.reputation.names:re.sub": SHORT,
    "server.greylist._DIGITS": ADDRESS,
    "settings.directory._ATTRIBUTE": FILE,
    "smtp.commands._BARE": LINE,
    "accounts.names._NAME": AUTH,
    "accounts.oauth._TOKEN": AUTH,
    "app.backend:re.search": FILE,
    "app.commands.masking._TOKEN": SHORT,
    "cli.render.journal._PLAIN": AUTH,
    "delivery.config._NETWORK": FILE,
    "delivery.dsn._MESSAGE_ID": SHORT,
    "delivery.dsn._BARE": 65_536,
    "delivery.dsn_fields._STATUS": SHORT,
    "delivery.dsn_fields._REMOTE": SHORT,
    "delivery.dsn_fields._TYPE": SHORT,
    "delivery.dsn_fields._PRINTABLE": SHORT,
    "delivery.dsn_fields._CODE": SHORT,
    "delivery.dsn_fields._UNSAFE": LINE,
    "delivery.dsn_fields._NOT_XTEXT_UTF8": LINE,
    "delivery.headers._STAMP": HEADER,
    "delivery.mailbox._HOST_UNSAFE": SHORT,
    "delivery.replies._ENHANCED": SHORT,
    "delivery.resolver._SERVER": FILE,
    "delivery.signals._GREYLIST": SHORT,
    "delivery.signals._CROWDED": SHORT,
    "delivery.signals._TOO_FAST": SHORT,
    "journal.logs._BARE": AUTH,
    "limits.limit._FORM": FILE,
    "model.address._DOT_STRING": ADDRESS,
    "model.address._DOT_STRING_UTF8": ADDRESS,
    "model.address._QUOTED": ADDRESS,
    "model.address._CONTROL": LINE,
    "model.address._HOST": LINE,
    "model.address._IPV6_TAG": ADDRESS,
    "model.address:re.sub": ADDRESS,
    "senderauth.reports.compose._SIZE": LINE,
    "senderauth.reports.tlsrpt._TOKEN": 8192,  # longer ones too, in a thread, token by token: its time is linear
    "server.proxy._PORT": SHORT,
    "server.senders._PAIR": HEADER,
    "server.senders._QUOTED": HEADER,
    "senderauth.arc.parse._POSITION": HEADER,
    "senderauth.arc.parse._NUMBER": HEADER,
    "senderauth.arc.parse._FIELD_NAME": HEADER,
    "senderauth.authres._TOKEN": SHORT,
    "senderauth.authres._MAILBOX": SHORT,
    "senderauth.authres._DOT_ATOM": SHORT,
    "senderauth.authres_forged._TOKEN": SHORT,
    "senderauth.authres_forged._QUOTED": SHORT,
    "senderauth.authres_forged._PAIR": SHORT,
    "senderauth.authres_forged._VERSION": SHORT,
    "senderauth.cfws._COMMENT_TEXT": LINE,
    "senderauth.dkim.canon._RUN": HEADER,
    "senderauth.dkim.fields._END": HEADER,
    "senderauth.dkim.signature._NUMBER": HEADER,
    "senderauth.dkim.signature._LENGTH": HEADER,
    "senderauth.dkim.signature._FIELD_NAME": HEADER,
    "senderauth.dkim.signature._QUOTED": HEADER,
    "senderauth.dkim.tags._NAME": HEADER,
    "senderauth.dkim.tags._FORBIDDEN": HEADER,
    "senderauth.dkim.text._WHITE": HEADER,
    "senderauth.dkim.text._PADDED": HEADER,
    "senderauth.dkim.text._SELECTOR": SHORT,
    "senderauth.dmarc.parse._VERSION": 65_536,
    "senderauth.dmarc.parse._VALUE": 65_536,
    "senderauth.dmarc.parse._OTHER_URI": SHORT,
    "senderauth.dmarc.parse._OLD_SIZE": SHORT,
    "server.headers._PLAIN": MAX_FROM,
    "server.trace._UNSAFE": SHORT,
    "settings.load._POSITION": FILE,
    "settings.origin._BARE": FILE,
    "settings.origin._PART": FILE,
    "settings.tomlines._BLANK": FILE,
    "settings.tomlines._SPACE": FILE,
    "settings.tomlines._BARE_KEY": FILE,
    "settings.tomlines._STRING": FILE,
    "settings.tomlines._SCALAR": FILE,
    "settings.tomlines:re.finditer": FILE,
    "settings.values._FINGERPRINT": FILE,
    "settings.values._DURATION": FILE,
    "settings.limits._SIZED": FILE,
    "settings.values._SIZE": FILE,
    "settings.values._LIMIT": FILE,
    "settings.values._NAME": FILE,
    "settings.values._DAY": FILE,
    "settings.values._PREFIX": FILE,
    "smtp.body._FAULT": 65_539,
    "smtp.client_capabilities._NUMBER": LINE,
    "smtp.client_capabilities._LIMIT": LINE,
    "smtp.client_commands._PATH": LINE,
    "smtp.client_commands._VALUE": LINE,
    "smtp.client_commands._HOSTNAME": LINE,
    "smtp.client_commands._MECHANISM": LINE,
    "smtp.client_replies._LINE": LINE,
    "smtp.client_replies._ENHANCED": LINE,
    "smtp.client_replies._UNPRINTABLE": LINE,
    "smtp.commands._PATH": LINE,
    "smtp.commands._PARAMETER": LINE,
    "smtp.commands._HELLO": LINE,
    "smtp.commands._BDAT": LINE,
    "smtp.commands._AUTH": AUTH,
    "smtp.commands._ADDRESS_TYPE": LINE,
    "smtp.commands._PRINTABLE": LINE,
    "smtp.commands._UNITEXT": LINE,
    "smtp.xtext._XTEXT": LINE,
    "smtp.xtext._HEXCHAR": LINE,
    "store.restore._BODY": LINE,
    "testing.ledger._SUBJECT": LINE,
    "testing.peers.opendkim._INSERTED": LINE,
    "testing.peers.opendkim._RESULT": LINE,
    "testing.peers.sink:re.findall": LINE,
    "testing.transcript._ESCAPE": LINE,
    "testing.transcript._LAST_IN_GROUP": LINE,
}

PATTERNS = list(all_patterns())


def test_every_regular_expression_of_the_program_is_attacked_here() -> None:
    found = {used.name for used in PATTERNS}
    assert found == set(REACH), "a pattern is new or gone: say in REACH how long the texts are that can reach it"


@pytest.mark.parametrize("used", PATTERNS, ids=lambda used: used.name)
def test_it_reads_its_worst_case_in_less_than_50_ms(used: Used) -> None:
    for text in attacks(used.pattern, REACH[used.name]):
        for method in used.methods:
            seconds = cost(used.pattern, method, text)
            assert seconds < LIMIT, f"{method}: {seconds:.3f} s for {text[:60]!r}… of {len(text)}"


@pytest.mark.parametrize(
    ("pattern", "method", "size"),
    [
        (r"(a+)+b", "match", 23),
        (r"(?:a|aa)+b", "fullmatch", 32),
        (r"^\s*data_dir", "search", 8192),
        (r"\s+$", "search", 8192),
        (r'"(?:[^"]|\\.)*"(?:[^"]|\\.)*;', "match", 42),
        (r"(?:[a-z]+[0-9]*)*x", "fullmatch", 24),
    ],
)
def test_the_attacks_find_expressions_that_do_explode(pattern: str, method: str, size: int) -> None:
    compiled = re.compile(pattern, re.MULTILINE)
    assert any(cost(compiled, method, text) > LIMIT for text in attacks(compiled, size))
