"""Signing and verifying a message of 10 KB with RSA-2048, beside dkimpy and the bare RSA operation; 25 MB signed, its memory.

One core, processor time, all in turns within each round. dkimpy comes from the environment of script/oracle; without it, its
rows stay empty.

    python benchmarks/signing.py [--messages 200] [--rounds 5] [--json]
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from bench.command import run_alone
from bench.figures import OURS, Aim, Plan, Row
from postlatch.senderauth.dkim.key import PKCS1, PREHASHED
from postlatch.senderauth.dkim.private import PrivateKey
from postlatch.senderauth.dkim.sign import Signer, SigningKey, generate, load_private_key, public_record
from postlatch.senderauth.dkim.verify import Verifier
from postlatch.senderauth.results import Result
from postlatch.testing.dns import FakeResolver

RAW, DKIMPY = "raw RSA", "dkimpy"
NOW: Final = float(int(time.time()))  # dkimpy has a clock of its own
_PYTHON: Final = Path(__file__).resolve().parents[1] / ".venv-oracles" / "bin" / "python"
_LINE: Final = b"The quick brown fox jumps over the lazy dog, and nobody asks why.\r\n"
_BODY: Final = (_LINE * 160)[:10_230].rstrip() + b"\r\n"
_WIDE_LINE: Final = b"  The quick  brown fox jumps\tover the lazy dog, and nobody asks. \r\n"
_BLOCK: Final = (
    b"Received: from client.example.com (client.example.com [192.0.2.1])\r\n\tby mx.example.com with ESMTPSA id 1;\r\n"
    b"From: Alice <alice@example.com>\r\nTo: Bob <bob@example.org>\r\nSubject: a message of ten kilobytes\r\n"
    b"Date: Thu, 01 Jan 2026 00:00:00 +0000\r\nMessage-ID: <1@example.com>\r\nMIME-Version: 1.0\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\n"
)
_CHUNK: Final = 65_536
_LARGE: Final = 25 * 1024 * 1024

# Runs in the environment of the oracles: signs, or verifies, so many times, and prints the processor seconds of each.
_DKIMPY: Final = """
import json, sys, time
import dkim
task = json.load(sys.stdin)
message, signed = task["message"].encode("latin-1"), task["signed"].encode("latin-1")
names = [name.encode() for name in task["names"]]
def sign():
    kinds = (b"relaxed", b"relaxed")
    dkim.sign(message, b"rsa", b"example.com", task["pem"].encode(), canonicalize=kinds, include_headers=names)
def verify():
    assert dkim.verify(signed, dnsfunc=lambda name, timeout=5: task["record"].encode())
found = []
for action in (sign, verify):
    action()
    began = time.process_time()
    for _ in range(task["count"]):
        action()
    found.append((time.process_time() - began) / task["count"])
print(json.dumps(found))
"""


class Keys(NamedTuple):
    """What signs: RSA-2048 for the comparison, Ed25519 beside it, as it is by default."""

    rsa: SigningKey
    ed25519: SigningKey
    pem: bytes


def measure(plan: Plan) -> list[Row]:
    """Signing, verifying, memory."""
    rows = [
        Row("dkim_sign", "Signing 10 KB with RSA-2048", "µs"),
        Row("dkim_sign_gain", "Signing 10 KB with RSA-2048, times as fast as dkimpy", "times", Aim(5, ratio=False)),
        Row("dkim_sign_overhead", "Signing 10 KB: above the bare RSA operation", "%", Aim(25, ratio=False, least=False)),
        Row("dkim_sign_both", "Signing 10 KB with RSA-2048 and Ed25519", "µs"),
        Row("dkim_verify", "Verifying 10 KB with RSA-2048, warm DNS", "µs"),
        Row("dkim_large", "Signing 25 MB with both: memory that it adds", "MB", Aim(16, ratio=False, least=False)),
        Row("dkim_large_seconds", "Signing 25 MB with both", "s"),
    ]
    by_key = {row.key: row for row in rows}
    pem = generate("rsa")
    keys = Keys(_key("rsa", load_private_key(pem)), _key("ed25519", load_private_key(generate("ed25519"))), pem)
    if not _PYTHON.exists():
        for key in ("dkim_sign", "dkim_verify"):
            by_key[key].absent[DKIMPY] = "the environment of script/oracle is not there"
    for number in range(plan.rounds + 1):
        found = _round(keys, plan.count(200))
        plan.say(f"{number or 'warm-up'}: " + ", ".join(f"{server} {key} {value:,.1f}" for server, key, value in found))
        if number:
            for server, key, value in found:
                by_key[key].add(server, value)
    for key in ("dkim_sign", "dkim_verify"):
        row = by_key[key]
        row.notes += [f"{server}: {row.median(server) or 0:,.0f} µs" for server in row.values if server != OURS]
    if by_key["dkim_large"].values.get(OURS):
        by_key["dkim_large"].notes.append("as Python's allocator counts; the message itself comes in chunks of 64 KiB")
    return rows


def _key(algorithm: str, private: PrivateKey) -> SigningKey:
    return SigningKey("example.com", algorithm, algorithm, private)


def _round(keys: Keys, count: int) -> list[tuple[str, str, float]]:
    """Raw, ours, raw, ours, …: what the machine does meanwhile hits both."""
    private = keys.rsa.private
    assert isinstance(private, RSAPrivateKey)
    digest = bytes(32)
    raw, ours, both, verified = [], [], [], []
    signed = sign([keys.rsa]) + _BLOCK + b"\r\n" + _BODY
    with asyncio.Runner() as runner:
        for _ in range(10):
            raw.append(_timed(lambda: private.sign(digest, PKCS1, PREHASHED), count // 10))
            ours.append(_timed(lambda: sign([keys.rsa]), count // 10))
            both.append(_timed(lambda: sign([keys.rsa, keys.ed25519]), count // 10))
            verified.append(runner.run(_verify(keys.rsa, signed, count // 10)))
    megabytes, seconds = _large(keys)
    mine, bare = _median(ours), _median(raw)
    found = [
        (OURS, "dkim_sign", mine * 1e6),
        (RAW, "dkim_sign", bare * 1e6),
        (OURS, "dkim_sign_overhead", (_median([one / other for one, other in zip(ours, raw, strict=True)]) - 1) * 100),
        (OURS, "dkim_sign_both", _median(both) * 1e6),
        (OURS, "dkim_verify", _median(verified) * 1e6),
        (OURS, "dkim_large", megabytes),
        (OURS, "dkim_large_seconds", seconds),
    ]
    if _PYTHON.exists():
        theirs, their_check = _dkimpy(keys, signed, max(count // 4, 10))
        found += [
            (DKIMPY, "dkim_sign", theirs * 1e6),
            (DKIMPY, "dkim_verify", their_check * 1e6),
            (OURS, "dkim_sign_gain", theirs / mine),
        ]
    return found


def sign(keys: Sequence[SigningKey]) -> bytes:
    """The message of 10 KB."""
    signer = Signer(keys, _BLOCK, now=NOW, valid=864_000)
    signer.feed(_BODY)
    return signer.finish()


async def _verify(key: SigningKey, signed: bytes, count: int) -> float:
    """The seconds of each time, from the message's octets to the result."""
    resolver = FakeResolver({f"{key.selector}._domainkey.{key.domain}": {"TXT": [public_record(key)]}})
    began = time.process_time()
    for _ in range(count):
        head, _, body = signed.partition(b"\r\n\r\n")
        verifier = Verifier(head + b"\r\n", now=NOW)
        verifier.start(resolver)
        verifier.feed(body)
        (found,) = await verifier.finish(resolver)
        if found.result is not Result.PASS:
            raise RuntimeError(found.reason)
    return (time.process_time() - began) / count


def _timed(action: Callable[[], object], count: int) -> float:
    began = time.process_time()
    for _ in range(count):
        action()
    return (time.process_time() - began) / count


def _median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


def _large(keys: Keys) -> tuple[float, float]:
    """Every line has white space to take away, so that nothing goes the short way."""
    chunk = (_WIDE_LINE * (_CHUNK // len(_WIDE_LINE) + 1))[:_CHUNK]
    began = time.process_time()
    _sign_large(keys, chunk)
    seconds = time.process_time() - began
    tracemalloc.start()
    _sign_large(keys, chunk)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 1024 / 1024, seconds


def _sign_large(keys: Keys, chunk: bytes) -> None:
    signer = Signer([keys.rsa, keys.ed25519], _BLOCK, now=NOW, valid=864_000)
    for _ in range(_LARGE // _CHUNK):
        signer.feed(chunk)
    signer.finish()


def _dkimpy(keys: Keys, signed: bytes, count: int) -> tuple[float, float]:
    """Seconds of one signature, and of one check. It covers the same fields, oversigned as ours."""
    names = "from from to to cc subject subject date date message-id message-id content-type content-type mime-version"
    task = {
        "message": (_BLOCK + b"\r\n" + _BODY).decode("latin-1"),
        "signed": signed.decode("latin-1"),
        "pem": keys.pem.decode(),
        "record": public_record(keys.rsa),
        "names": names.split(),
        "count": count,
    }
    done = subprocess.run([_PYTHON, "-P", "-c", _DKIMPY], input=json.dumps(task), capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"dkimpy: {done.stderr[-2000:]}")
    signing, checking = json.loads(done.stdout)
    return signing, checking


if __name__ == "__main__":
    sys.exit(run_alone(measure, __doc__))
