"""The key that signs heads: a file beside the database, not in it. It is made once, and never silently a second time.

``journal.key`` (mode 0600) is the private key; ``journal.keys`` has a line for each key that ever signed here, so that heads of
an earlier one can still be checked; ``journal.heads`` has the heads.
"""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import NamedTuple

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from postlatch.journal.heads import key_name
from postlatch.store.files import sync_directory

KEY_FILE, KEYS_FILE, HEADS_FILE = "journal.key", "journal.keys", "journal.heads"
KEY_SCHEMA = "postlatch.journal-key/1"
_END = b"-----END PUBLIC KEY-----"


class KeyProblem(Exception):
    """The key cannot be used. The message names the file, what is wrong, and what would be right."""


class PublicKey(NamedTuple):
    """A key that signed, or signs, heads here; ``since`` when, in seconds since 1970."""

    name: str
    key: Ed25519PublicKey
    since: float

    def pem(self) -> str:
        """For a file elsewhere."""
        return self.key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode("ascii")


def is_untouched(directory: Path) -> bool:
    """Whether no key was ever made here."""
    return not any((directory / name).exists() for name in (KEY_FILE, KEYS_FILE, HEADS_FILE))


def make_key(directory: Path, now: float) -> PublicKey:
    """Make a key; one that is there already goes out of use, its public half stays known. The caller journals it."""
    private = Ed25519PrivateKey.generate()
    made = PublicKey(key_name(private.public_key()), private.public_key(), now)
    try:
        _append_key(directory, made)  # first: a key that signs and is not known would look like a forger's
        fresh = directory / f".{KEY_FILE}.new"
        fresh.unlink(missing_ok=True)
        with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:  # noqa: PTH123 - a descriptor
            file.write(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(directory / KEY_FILE)
        sync_directory(directory)
    except OSError as error:
        raise KeyProblem(f"{directory / KEY_FILE} cannot be written ({error.strerror})") from None
    return made


def _append_key(directory: Path, key: PublicKey) -> None:
    raw = key.key.public_bytes(Encoding.Raw, PublicFormat.Raw).hex()
    line = json.dumps({"schema": KEY_SCHEMA, "key": key.name, "public": raw, "since": key.since}) + "\n"
    with (directory / KEYS_FILE).open("ab") as file:
        file.write(line.encode("ascii"))
        file.flush()
        os.fsync(file.fileno())


def load_private(directory: Path) -> Ed25519PrivateKey:
    """The key that signs. KeyProblem if it is missing, cannot be read, or others may read it."""
    path = directory / KEY_FILE
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            content = file.read(65_536)
    except FileNotFoundError:
        advice = "put it back, or make a new one with `postlatch journal key --new`"
        raise KeyProblem(f"{path} is missing: {advice}") from None
    except OSError as error:
        raise KeyProblem(f"{path} cannot be read ({error.strerror}): it belongs to the relay's user, mode 600") from None
    if mode & 0o077:
        raise KeyProblem(f"{path} may be read by others (mode {mode:o}): make it mode 600")
    try:
        key = load_pem_private_key(content, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyProblem(
            f"{path} is not an Ed25519 key: put the right one back, or make one with `postlatch journal key --new`"
        )
    return key


def known_keys(directory: Path) -> dict[str, PublicKey]:
    """Every key that signed here, by name, oldest first. KeyProblem if the list cannot be read."""
    path = directory / KEYS_FILE
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise KeyProblem(f"{path} cannot be read ({error.strerror})") from None
    try:
        found = [_key_of(line) for line in lines]
    except (ValueError, KeyError, TypeError):
        raise KeyProblem(f"{path} is damaged: put it back from a copy") from None
    return {key.name: key for key in found}


def _key_of(line: bytes) -> PublicKey:
    found = json.loads(line)
    key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(found["public"]))
    if found["schema"] != KEY_SCHEMA or found["key"] != key_name(key):
        raise ValueError("not the name of this key")
    return PublicKey(found["key"], key, float(found["since"]))


def keys_of_pem(content: bytes) -> dict[str, PublicKey]:
    """The Ed25519 keys of a PEM file; ValueError if there is none, or another kind."""
    found: dict[str, PublicKey] = {}
    for part in content.split(_END)[:-1]:
        try:
            key = load_pem_public_key(part + _END + b"\n")
        except (ValueError, UnsupportedAlgorithm):
            raise ValueError("a key in it is damaged") from None
        if not isinstance(key, Ed25519PublicKey):
            raise ValueError("a key in it is not an Ed25519 key")  # noqa: TRY004 - a file is wrong, not a caller
        found[key_name(key)] = PublicKey(key_name(key), key, 0.0)
    if not found:
        raise ValueError("there is no public key in it")
    return found
