"""Random configurations of Postfix, started for real and asked: who gets through, in life and by the linter?

Used by ``test_lint_life.py`` and ``benchmarks/lint_life.py``. Every configuration is a function of its seed. All its services
listen on ports of their own, so that a reload brings new processes and nothing of the one before is left.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
from collections.abc import Iterator
from ipaddress import ip_address
from itertools import product
from pathlib import Path
from typing import NamedTuple, Self

from postlatch.audit.lint.postfix.configuration import Configuration, Passage
from postlatch.testing.peers.ports import free_port, listens, wait_until
from postlatch.testing.peers.postfix import Postfix

CLIENTS = ("127.0.0.1", "127.0.0.2", "127.9.0.7")
SENDERS = (
    "someone@stranger.example", "", "boss@corp.example", "other@corp.example", "boss@sub.corp.example", "boss@stranger.example",
    "corp.example@stranger.example", "x@localhost", "boss+tag@corp.example",
)  # fmt: skip
HELOS = ("mail.stranger.example", "printer", "mail.corp.example", "192.0.2.1", None)
RECIPIENTS = (
    "someone@elsewhere.example", "abuse@elsewhere.example", "someone@elsewhere.test", "abuse@elsewhere.test",
    "someone@sub.elsewhere.example", "someone@partner.test",
)  # fmt: skip
_FOREIGN = RECIPIENTS[:5]  # partner.test is sometimes a domain that the server relays for

_ACTIONS = ("OK", "OK", "DUNNO", "REJECT", "554 5.7.1 no", "550", "DEFER", "permit", "DEFER_IF_PERMIT", "trusted", "closed",
            "permit_mynetworks", "reject_unauth_destination", "permit_mynetworks, reject", "INFO seen", "RELAY", "1234",
            "WARN x", "DEFER_IF_REJECT", "no_such_thing", "check_sender_access")  # fmt: skip
_KEYS = {
    "client": ("127.0.0.1", "127.0.0.2", "127.0", "127.9.0", "127", "localhost", "unknown", "10.0.0.1"),
    "helo": ("printer", "mail.corp.example", "corp.example", ".corp.example", "example", "stranger.example"),
    "sender": ("boss@corp.example", "corp.example", ".corp.example", "boss@", "<>", "example", "stranger.example", "localhost"),
    "recipient": (
        "abuse@",
        "test",
        "elsewhere.example",
        "abuse@elsewhere.test",
        "partner.test",
        "postmaster@",
        ".elsewhere.example",
    ),
}
_PATTERNS = {
    "client": ("/^127\\.0\\.0\\.2$/", "/^127/", "/localhost/", "/./", "!/^127\\.0/", "/^unknown$/"),
    "helo": ("/^printer$/", "/corp/", "/^[0-9.]+$/", "/./", "!/example/", "/^mail\\.(corp|stranger)\\./"),
    "sender": ("/^boss@/", "/corp\\.example/", "/@corp\\.example$/", "/^<>$/", "/./", "!/corp/", "/^boss\\+/"),
    "recipient": ("/^abuse@/", "/\\.test$/", "/@elsewhere\\.example$/", "/./", "!/elsewhere/", "/^someone@(sub\\.)?elsewhere/"),
}
_NETWORKS = (
    "127.0.0.1",
    "127.0.0.0/30",
    "127.9.0.0/16",
    "127.0.0.2/32",
    "10.0.0.0/8",
    "0.0.0.0/0",
    "!127.0.0.2/32",
    "127.0.0.0/8",
)


class Lot(NamedTuple):
    """One configuration: main.cf, the services with their options, and the files of tables."""

    seed: int
    settings: dict[str, str]
    services: list[tuple[int, dict[str, str]]]
    files: dict[str, str]


class Outcome(NamedTuple):
    """What one client of one service met. ``life``: what got through; ``lint``: what the linter says would."""

    seed: int
    client: str
    service: str
    life: str
    lint: str
    agree: bool
    decided: bool


class _Maker:
    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.seed = seed
        self.files: dict[str, str] = {}

    def table(self, kind: str) -> str:
        """A table for look-ups of one kind, in a random type."""
        rng = self.random
        shape = rng.choice(("texthash", "texthash", "hash", "inline", "regexp", "regexp", "static", "cidr"))
        if shape == "cidr" and kind != "client":
            shape = "regexp"
        if shape == "static":
            return f"static:{rng.choice(('DUNNO', 'OK', 'REJECT', 'trusted', 'closed'))}"
        if shape == "inline":
            pairs = ", ".join(f"{{ {key} = {rng.choice(_ACTIONS)} }}" for key in self.some(_KEYS[kind]) if key != "<>")
            return f"inline:{{ {pairs} }}" if pairs else "static:DUNNO"
        keys = {"regexp": _PATTERNS[kind], "cidr": tuple(key.lstrip("!") for key in _NETWORKS)}.get(shape, _KEYS[kind])
        name = f"{kind}{len(self.files)}"
        self.files[name] = "".join(f"{key}\t{rng.choice(_ACTIONS)}\n" for key in self.some(keys)) or "# empty\n"
        return f"{shape}:/etc/postfix/{name}"

    def some(self, keys: tuple[str, ...]) -> list[str]:
        """One to four of them, in any order."""
        return self.random.sample(keys, self.random.randint(1, 4))

    def restrictions(self, stage: str) -> str:
        """A list for one stage: mostly what people write, now and then what they should not."""
        rng = self.random
        words = [
            self.word(stage)
            for _ in range(rng.choice((0, 0, 1, 2, 3) if stage in {"client", "helo", "sender"} else (1, 2, 3, 4)))
        ]
        if stage in {"relay", "recipient"} and rng.random() < 0.75:
            guard = rng.choice(
                ("reject_unauth_destination", "defer_unauth_destination", "reject", "check_relay_domains", "defer")
            )
            words.insert(rng.randint(0, len(words)), guard)
        return ", ".join(words)

    def word(self, stage: str) -> str:
        """One restriction."""
        rng = self.random
        kind = rng.choice(("client", "helo", "sender", "recipient"))
        checks = (f"check_{kind}_access {self.table(kind)}",)
        plain = (
            "permit_mynetworks", "permit_mynetworks", "permit_sasl_authenticated", "reject_unauth_destination",
            "permit_auth_destination",
            "reject_non_fqdn_sender", "reject_non_fqdn_helo_hostname", "reject_invalid_helo_hostname", "permit_inet_interfaces",
            "trusted", "closed", "permit", "reject", "defer_if_permit", "defer_if_reject", "reject_unauth_pipelining",
            "permit_naked_ip_address", "reject_unlisted_recipient", "reject_unknown_client_hostname",
            "permit_tls_all_clientcerts",
            "reject_unauthenticated_sender_login_mismatch", "reject_plaintext_session",
        )  # fmt: skip
        word = rng.choice(checks * 9 + plain)
        if stage in {"client", "helo", "sender"} and word in {"reject", "defer_if_permit"} and rng.random() < 0.8:
            word = "permit_mynetworks"
        return f"warn_if_reject {word}" if rng.random() < 0.07 else word

    def settings(self) -> dict[str, str]:
        """main.cf."""
        rng = self.random
        values = {
            "compatibility_level": rng.choice(("0", "2", "3.6", "3.6")),
            "mynetworks": " ".join(self.some(_NETWORKS)) if rng.random() < 0.6 else "127.0.0.1/32",
            "mydestination": "corp.example, localhost",
            "smtpd_restriction_classes": "trusted, closed",
            "trusted": rng.choice(
                ("permit", "permit_mynetworks", "check_sender_access inline:{ boss@=OK }", "permit_inet_interfaces")
            ),
            "closed": rng.choice(("reject", "reject_unauth_destination", "permit_mynetworks, reject", "warn_if_reject reject")),
            "relay_domains": rng.choice(
                ("", "partner.test", "test", ".test", "static:all", "regexp:{{/^elsewhere/ x}}", "inline:{test=1}")
            ),
        }
        for stage in ("client", "helo", "sender", "relay", "recipient"):
            if rng.random() < (0.75 if stage in {"relay", "recipient"} else 0.4):
                values[f"smtpd_{stage}_restrictions"] = self.restrictions(stage)
        if rng.random() < 0.15:
            values["smtpd_data_restrictions"] = rng.choice(
                ("reject_unauth_pipelining", "check_sender_access inline:{boss@=REJECT}", "permit")
            )
        if rng.random() < 0.1:
            values["smtpd_end_of_data_restrictions"] = rng.choice(
                ("permit", "check_recipient_access static:REJECT", "static:OK")
            )
        for name, odds in (("smtpd_helo_required", 0.4), ("smtpd_relay_before_recipient_restrictions", 0.5)):
            if rng.random() < odds:
                values[name] = rng.choice(("yes", "no"))
        if rng.random() < 0.2:
            values["smtpd_delay_reject"] = "no"
        if rng.random() < 0.2:
            values["parent_domain_matches_subdomains"] = rng.choice(("", "relay_domains", "smtpd_access_maps"))
        if rng.random() < 0.2:
            values["recipient_delimiter"] = "+"
        if rng.random() < 0.15:
            values["smtpd_authorized_xclient_hosts"] = rng.choice(("127.0.0.2", "127.9.0.0/16"))
        return values

    def options(self) -> dict[str, str]:
        """``-o`` of one service."""
        rng = self.random
        chosen: dict[str, str] = {}
        if rng.random() < 0.4:
            chosen["mynetworks"] = " ".join(self.some(_NETWORKS))
        for stage in ("client", "relay", "recipient"):
            if rng.random() < 0.35:
                chosen[f"smtpd_{stage}_restrictions"] = self.restrictions(stage)
        return chosen


def draw(seed: int) -> Lot:
    """The configuration of a seed. Ports are free ones of this moment."""
    maker = _Maker(seed)
    settings = maker.settings()
    services = [(free_port(), maker.options() if number else {}) for number in range(maker.random.choice((1, 1, 2, 3)))]
    return Lot(seed, settings, services, maker.files)


class Lottery:
    """One Postfix that gets one configuration after the other."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.peer = Postfix(folder, _FIXED, 20)
        self._main = (folder / "config" / "main.cf").read_text()
        self._master = (folder / "config" / "master.cf").read_text()

    def outcomes(self, lot: Lot) -> Iterator[Outcome]:
        """Installs a configuration and asks it as every client, by every way there is."""
        directory = self._folder / "config"
        for name, text in lot.files.items():
            (directory / name).write_text(text)
        here = {name: value.replace("/etc/postfix/", f"{directory}/") for name, value in lot.settings.items()}
        (directory / "main.cf").write_text(self._main + "".join(f"{name} = {value}\n" for name, value in here.items()))
        (directory / "master.cf").write_text(self._master + "".join(_service(*service, directory) for service in lot.services))
        hashed = [name for name in lot.files if f"hash:/etc/postfix/{name}" in repr(lot)]
        if hashed:
            names = [f"hash:{directory}/{name}" for name in hashed]
            subprocess.run(["/usr/sbin/postmap", "-c", str(directory), *names], check=True, capture_output=True)
        os.kill(self.peer.master(), signal.SIGHUP)
        wait_until(lambda: all(listens(port) for port, _ in lot.services), 20, "Postfix to listen on the new ports")
        configuration = Configuration(directory)
        for port, _ in lot.services:
            for client in CLIENTS:
                yield self._outcome(lot, configuration, port, client)

    def _outcome(self, lot: Lot, configuration: Configuration, port: int, client: str) -> Outcome:
        service = f"127.0.0.1:{port}"
        smtpd = next(found for found in configuration.smtpd if found.service.name == service)
        if not smtpd.starts():  # master does not try again for a minute
            life = _greets(client, port) if client == CLIENTS[0] else ""
            return Outcome(lot.seed, client, service, life, "does not start", not life, decided=True)
        passages = list(configuration.passages(ip_address(client), asked=True))
        passage = next((found for found in passages if found.service.service.name == service), None)
        if passage is not None and not passage.way.assumed:
            life = _follow(client, port, passage)
        else:
            life = _try_all(client, port, _worth(lot))
        lint = (
            "closed"
            if passage is None
            else "unknown"
            if passage.way.assumed
            else f"open {passage.way.sender} {passage.way.helo}"
        )
        decided = passage is None or not passage.way.assumed
        return Outcome(lot.seed, client, service, life, lint, not decided or bool(life) == (passage is not None), decided)


_FIXED = {
    "default_transport": "discard:", "relay_transport": "discard:", "local_transport": "discard:",
    "smtpd_hard_error_limit": "10000",
    "smtpd_soft_error_limit": "10000", "smtpd_error_sleep_time": "0", "smtpd_junk_command_limit": "10000",
    "smtpd_peername_lookup": "yes", "maillog_file": "",
}  # fmt: skip


def _service(port: int, options: dict[str, str], directory: Path) -> str:
    lines = [f"127.0.0.1:{port} inet n - n - 20 smtpd"]
    for name, value in options.items():
        lines.append(f"  -o {{ {name} = {value.replace('/etc/postfix/', f'{directory}/')} }}")
    return "\n".join(lines) + "\n"


class _Session:
    """SMTP by hand: what is sent is exactly what a case needs."""

    def __init__(self, client: str, port: int, patience: float = 20) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), patience, source_address=(client, 0))
        self._file = self._socket.makefile("rb")
        try:
            self.greeting = self.reply()
        except TimeoutError:
            self.greeting = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._socket.close()

    def reply(self) -> str:
        """One reply; empty if the server has gone."""
        while line := self._file.readline().decode("latin-1"):
            if line[3:4] != "-":
                return line.strip()
        return ""

    def say(self, *lines: str) -> list[str]:
        """Sends lines at once; their replies."""
        self._socket.sendall("".join(line + "\r\n" for line in lines).encode())
        return [self.reply() for _ in lines]


def _worth(lot: Lot) -> tuple[list[str | None], list[tuple[str, str]]]:
    """What can make a difference: nothing looks at HELO in a configuration that does not speak of it."""
    text = repr(lot)
    helos: list[str | None] = (
        list(HELOS) if "helo" in text.replace("smtpd_helo_required", "") or "naked" in text else [HELOS[0]]
    )
    senders = SENDERS if "sender" in text else SENDERS[:1]
    foreign = [recipient for recipient in _FOREIGN if recipient not in text]  # one that a table names is meant
    recipients = foreign if "recipient_access" in text or "relay_domains" in text else foreign[:1]
    return helos, list(product(senders, recipients))


def _try_all(client: str, port: int, worth: tuple[list[str | None], list[tuple[str, str]]]) -> str:
    """The first of all combinations that gets through, or nothing."""
    helos, pairs = worth
    for helo in helos:
        with _Session(client, port) as session:
            if not session.greeting.startswith("220"):
                return ""
            if helo is not None and not session.say(f"EHLO {helo}")[0].startswith("250"):
                continue
            if found := _try_pairs(session, helo, pairs):
                return found
    return ""


def _try_pairs(session: _Session, helo: str | None, pairs: list[tuple[str, str]]) -> str:
    lines = [line for sender, recipient in pairs for line in (f"MAIL FROM:<{sender}>", f"RCPT TO:<{recipient}>", "RSET")]
    # Pipelining is for those who said EHLO.
    replies = session.say(*lines) if helo else [session.say(line)[0] for line in lines]
    for (sender, recipient), reply in zip(pairs, replies[1::3], strict=True):
        if reply.startswith("250") and _passes(session, sender, recipient):
            return f"HELO {helo} MAIL {sender or '<>'} RCPT {recipient}"
    return ""


def _passes(session: _Session, sender: str, recipient: str) -> bool:
    """Whether a message is taken, to its end."""
    return any(_takes(session, sender, [recipient] * copies) for copies in (1, 2))


def _takes(session: _Session, sender: str, recipients: list[str]) -> bool:
    """One transaction. Two recipients make a difference: lists at DATA are shown none of them."""
    lines = [f"MAIL FROM:<{sender}>", *(f"RCPT TO:<{recipient}>" for recipient in recipients), "DATA"]
    replies = [session.say(line)[0] for line in lines]
    body = "Subject: lottery\r\n\r\nhello\r\n."
    taken = replies[-1].startswith("354") and session.say(body)[0].startswith("250")
    session.say("RSET")
    return taken and replies[1].startswith("250")


def _follow(client: str, port: int, passage: Passage) -> str:
    """Does what the linter says would get through."""
    way = passage.way
    with _Session(client, port) as session:
        if passage.by and not _claim(session, passage):
            return ""
        if way.helo is not None and not session.say(f"EHLO {way.helo}")[0].startswith("250"):
            return ""
        sender = SENDERS[0] if way.sender is None else way.sender
        return f"HELO {way.helo} MAIL {sender or '<>'} RCPT {way.recipient}" if _passes(session, sender, way.recipient) else ""


def _greets(client: str, port: int) -> str:
    """The greeting within a moment, or nothing."""
    with _Session(client, port, 1.5) as session:
        return session.greeting


def _claim(session: _Session, passage: Passage) -> bool:
    """XCLIENT to the address for which the linter found the way."""
    session.say("EHLO claim.example")
    name = "[UNAVAILABLE]" if passage.way.name == "unknown" else passage.way.name or HELOS[0]
    return session.say(f"XCLIENT NAME={name} ADDR={passage.claimed}")[0].startswith("220")
