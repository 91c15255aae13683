"""Postlatch and a Postfix with OpenDKIM and OpenDMARC, each the other's stranger, over name servers of the test's own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import NamedTuple

import dns.zonefile
import pytest
from recording_sink import RecordingSink
from running_support import client, in_ci, logged_in, submit

from postlatch.senderauth.dkim.sign import SigningKey, generate, load_private_key, public_record
from postlatch.testing.peers.name_server import NameServer
from postlatch.testing.peers.opendkim import OpenDkimMilter
from postlatch.testing.peers.opendmarc import OpenDmarcMilter
from postlatch.testing.peers.ports import wait_until
from postlatch.testing.peers.postfix import Postfix
from postlatch.testing.running import ACCOUNT, BASE, PASSWORD, RunningRelay

pytestmark = pytest.mark.real

NUMBERS = count(1)
SHIM = Path(__file__).with_name("clock_shim.c")
PEER_KEY = generate("rsa")
CONFIG = """
[authentication]
timeout = 5

[outbound]
resolver = ["NAMES:53"]

[outbound.routes]
"peer.example" = "smtp://127.0.0.1:PEER"
"""


def needs(*programs: str) -> None:
    path = os.environ["PATH"] + ":/usr/sbin:/sbin"
    missing = [program for program in programs if shutil.which(program, path=path) is None]
    if not missing and os.geteuid() == 0:
        return
    why = f"needs root and {', '.join(missing) or 'nothing else'}: run script/bootstrap dev as root"
    pytest.fail(why) if in_ci() else pytest.skip(why)


class Place(NamedTuple):
    """The relay, what the peer has taken from it, and the peer's own way in."""

    relay: RunningRelay
    sink: RecordingSink
    names: NameServer
    peer: Postfix
    shift: Path  # the hand of the relay's clock, seconds


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    needs("opendkim", "opendmarc", "postfix", "cc")
    folder = tmp_path_factory.mktemp("opendmarc")
    process = os.getpid()
    address = f"127.{128 + process % 64}.{process // 64 % 256}.{next(NUMBERS)}"
    peer_key = SigningKey("peer.example", "their", "rsa", load_private_key(PEER_KEY))
    record = public_record(peer_key)
    zone = {
        "example.com": {"NS": ["ns.example.com."], "TXT": ['"v=spf1 ip4:127.0.0.1 -all"']},
        "ns.example.com": {"A": [address]},
        "_dmarc.example.com": {"TXT": ['"v=DMARC1; p=reject"']},
        "peer.example": {"TXT": ['"v=spf1 ip4:127.0.0.1 -all"']},
        "_dmarc.peer.example": {"TXT": ['"v=DMARC1; p=reject"']},
        "their._domainkey.peer.example": {"TXT": [f'"{record[:255]}" "{record[255:]}"']},
    }
    with ExitStack() as stack:
        names = stack.enter_context(NameServer(zone, address, 53))
        sink = stack.enter_context(RecordingSink())
        checks = _checking_peer(stack, folder, address, sink)
        config = CONFIG.replace("NAMES", address).replace("PEER", str(checks.port))
        relay = RunningRelay(folder / "relay", BASE + config)
        library, shift = folder / "clock.so", folder / "shift"
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, SHIM, "-ldl"], check=True)
        shift.write_text("0")
        relay.start(prefix=("env", f"LD_PRELOAD={library}", f"CLOCK_SHIFT={shift}"))
        stack.callback(relay.stop)
        relay.add_account()
        yield Place(relay, sink, names, _signing_peer(stack, folder, relay.port("mx")), shift)


def _checking_peer(stack: ExitStack, folder: Path, address: str, sink: RecordingSink) -> Postfix:
    """A Postfix that checks what comes by OpenDKIM and OpenDMARC and passes it on."""
    ignored = folder / "internal"
    ignored.write_text("192.0.2.1\n")  # else loopback is not checked but signed for
    keys = folder / "test-keys"
    keys.write_text("")
    milter = {"Mode": "v", "InternalHosts": str(ignored), "Nameservers": address}
    dkim = stack.enter_context(OpenDkimMilter(folder / "verifier", milter))
    dmarc = stack.enter_context(OpenDmarcMilter(folder / "opendmarc", resolver=address, trusted="opendkim.test"))
    settings = {
        **dkim.settings_for_postfix,
        "smtpd_milters": f"inet:127.0.0.1:{dkim.port}, {dmarc.milter}",
        "relayhost": f"[127.0.0.1]:{sink.url.rpartition(':')[2]}",
    }
    return stack.enter_context(Postfix(folder / "checks", settings))


def _signing_peer(stack: ExitStack, folder: Path, port: int) -> Postfix:
    """A Postfix that signs by OpenDKIM and sends to us."""
    pem = folder / "their.pem"
    pem.write_bytes(PEER_KEY)
    pem.chmod(0o600)
    milter = {
        "Mode": "s",
        "Domain": "peer.example",
        "Selector": "their",
        "KeyFile": str(pem),
        "Canonicalization": "relaxed/simple",
    }
    dkim = stack.enter_context(OpenDkimMilter(folder / "signer", milter))
    settings = {**dkim.settings_for_postfix, "relayhost": f"[127.0.0.1]:{port}"}
    return stack.enter_context(Postfix(folder / "signs", settings))


def unfolded(raw: bytes) -> str:
    header = raw.replace(b"\r\n", b"\n").partition(b"\n\n")[0].decode()
    return re.sub(r"\n[ \t]+", " ", header)


def published(place: Place) -> None:
    """Our keys, made by the command, pasted into the zone and seen there."""
    printed = place.relay.run("dkim", "keygen", "example.com").stdout
    text = "".join(re.findall(r"(?m)^\S+ 3600 IN TXT (?:\"[^\"]*\"|\((?:\n  \"[^\"]*\")+\n\))\n", printed))
    for rrset in dns.zonefile.read_rrsets(text, rdclass=None, default_ttl=60):
        place.names.zone[rrset.name.to_text(omit_final_dot=True)] = {"TXT": [record.to_text() for record in rrset]}

    def active() -> bool:
        return {key["state"] for key in place.relay.json("dkim", "list")["keys"]} == {"active"}

    assert not active()  # they are seen now, and used when they still are at a later look
    place.shift.write_text("61")
    wait_until(active, 30, "the keys to sign")
    place.shift.write_text("0")


def test_what_we_send_passes_their_dkim_spf_and_dmarc(place: Place) -> None:
    published(place)
    with logged_in(place.relay.port("submission"), ACCOUNT, PASSWORD) as session:
        assert submit(session, "to-peer", ACCOUNT, "friend@peer.example").startswith("250")
    place.sink.wait_for(1)
    header = unfolded(place.sink.messages[0].unstuffed)
    theirs = [line for line in header.split("\n") if line.startswith("Authentication-Results: opend")]
    assert any("opendkim.test" in line and "dkim=pass" in line and "header.d=example.com" in line for line in theirs), header
    assert any("opendmarc.test" in line and "dmarc=pass" in line for line in theirs), header
    assert any("spf=pass" in line for line in theirs), header


def arrived(place: Place, user: str, token: str) -> bytes:
    """The message with this subject in a mailbox of ours; alerts may lie there too."""

    def find() -> bytes:
        raw = (path.read_bytes().replace(b"\r\n", b"\n") for path in place.relay.maildir(user))
        return next((one for one in raw if f"Subject: {token}\n".encode() in one), b"")

    wait_until(lambda: find() != b"", 30, f"{token} at {user}")
    return find()


def ours(raw: bytes) -> str:
    """The results that we wrote."""
    return next(line for line in unfolded(raw).split("\n") if line.startswith("Authentication-Results: relay.example.com;"))


def test_what_they_send_passes_our_dkim_spf_and_dmarc(place: Place) -> None:
    with client(place.peer.port) as session:
        assert submit(session, "from-peer", "bob@peer.example", "alice@example.com").startswith("250")
    found = ours(arrived(place, "alice@example.com", "from-peer"))
    for part in ("spf=pass", "dkim=pass", "header.d=peer.example", "dmarc=pass", "header.from=peer.example"):
        assert part in found, found


def test_what_was_changed_after_signing_fails_and_spf_still_carries_it(place: Place) -> None:
    with client(place.peer.port) as session:
        submit(session, "fresh", "bob@peer.example", "alice@example.com")
    raw = arrived(place, "alice@example.com", "fresh")
    signed = raw[raw.index(b"DKIM-Signature:") :].replace(b"\n", b"\r\n")
    with client(place.relay.port("mx")) as session:
        session.mail("bob@peer.example")
        session.rcpt("bob@example.com")
        assert session.data(signed.replace(b"Subject: fresh", b"Subject: changed", 1))[0] == 250
    found = ours(arrived(place, "bob@example.com", "changed"))
    assert "dkim=fail" in found
    assert "dmarc=pass" in found
