"""The private halves of signing keys: files beside the database, ``data/dkim/<domain>/<selector>.pem``."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

from postlatch.senderauth.dkim.sign import SigningKey, load_private_key, public_record
from postlatch.store.dkim_keys import StoredKey
from postlatch.store.files import sync_directory

FOLDER = "dkim"
_MOST = 65_536  # octets of a file that is read


class KeyFileProblem(Exception):
    """A key cannot be used. The message names the file, what is wrong, and what would be right."""


def path_of(data_dir: Path, domain: str, selector: str) -> Path:
    """Where the private half of a key is. Names of domains are A-labels, so they are names of folders too."""
    return data_dir / FOLDER / domain / f"{selector}.pem"


def write(path: Path, pem: bytes) -> None:
    """Write a new key's file, whole and durable or not at all. KeyFileProblem if it cannot be, or if there is one."""
    part = path.with_name(f".{path.name}.part")
    try:
        for folder in (path.parent.parent, path.parent):
            folder.mkdir(mode=0o700, exist_ok=True)
            sync_directory(folder.parent)
        part.unlink(missing_ok=True)
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:  # noqa: PTH123 - a descriptor
            file.write(pem)
            file.flush()
            os.fsync(file.fileno())
        os.link(part, path)  # unlike a rename it never replaces a key
        part.unlink()
        sync_directory(path.parent)
    except OSError as error:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise KeyFileProblem(f"{path} cannot be written ({error.strerror})") from None


def remove(path: Path) -> None:
    """Remove a key's file, and its domain's folder with the last one. A file that is gone already is no problem."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise KeyFileProblem(f"{path} cannot be removed ({error.strerror})") from None
    with suppress(OSError):
        path.parent.rmdir()


def load(data_dir: Path, key: StoredKey) -> SigningKey:
    """The key, ready to sign. KeyFileProblem if it is missing, cannot be read, may be read by others, or is another key."""
    path = path_of(data_dir, key.domain, key.selector)
    advice = f"put it back from a copy, or make new keys with `postlatch dkim keygen {key.domain}`"
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            content = file.read(_MOST)
    except FileNotFoundError:
        raise KeyFileProblem(f"{path} is missing: {advice}") from None
    except OSError as error:
        raise KeyFileProblem(f"{path} cannot be read ({error.strerror}): it belongs to the relay's user, mode 600") from None
    if mode & 0o077:
        raise KeyFileProblem(f"{path} may be read by others (mode {mode:o}): make it mode 600")
    try:
        loaded = SigningKey(key.domain, key.selector, key.algorithm, load_private_key(content))
        same = public_record(loaded) == key.record
    except Exception:  # noqa: BLE001 - whatever a spoiled file makes the library raise
        raise KeyFileProblem(f"{path} is not a key that can sign: {advice}") from None
    if not same:
        raise KeyFileProblem(f"{path} is not the key whose record is published: {advice}")
    return loaded
