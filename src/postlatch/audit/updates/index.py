"""Postlatch itself against a package index: its newest release, and whether the files of that are what the index says.

The index is asked by the simple API in its JSON form (PEP 691), which mirrors serve too. Of the newest release each file is
fetched and hashed, and its attestations (PEP 740) are verified as far as that goes. What was not verified is said in the note.
"""

from __future__ import annotations

import asyncio
import hashlib
import shlex
from collections.abc import Sequence
from typing import Any, Final, NamedTuple
from urllib.parse import urljoin, urlsplit

from postlatch.audit.printable import printable
from postlatch.audit.updates.attestation import UNVERIFIED, AttestationError, verify
from postlatch.audit.updates.data import AdvisoryDataError, load
from postlatch.audit.updates.values import Item, Kind, State
from postlatch.audit.updates.versions import is_final, python
from postlatch.model.fetch import Fetcher, FetchError

NAME: Final = "postlatch"
SECONDS: Final = 30.0  # for one question
ALL_SECONDS: Final = 90.0  # for all of them together
MOST_PAGE: Final = 4 * 1024 * 1024
MOST_FILE: Final = 64 * 1024 * 1024
MOST_PROVENANCE: Final = 1024 * 1024
_MOST_FILES: Final = 4  # of the newest release that are fetched
_MOST_LISTED: Final = 5_000
_MOST_SIGNS: Final = 200  # characters of a URL's path part that is shown
_ACCEPT: Final = {"Accept": "application/vnd.pypi.simple.v1+json"}


class File(NamedTuple):
    """One file of a release. ``provenance`` is empty where the index offers none."""

    name: str
    version: str
    url: str
    sha256: str
    yanked: bool
    provenance: str


class IndexAnswerError(Exception):
    """An answer that cannot be used. Its text is safe to show."""


async def look(fetcher: Fetcher, index: str, installed: str, seconds: float = ALL_SECONDS) -> Item:
    """One item. An index that cannot be asked, or lies, leaves it unknown, with the reason."""
    try:
        async with asyncio.timeout(seconds):
            files = await _files(fetcher, index)
            return await _judge(fetcher, index, installed, files)
    except TimeoutError:
        return _unknown(installed, f"the index took more than {seconds:g} seconds")
    except (FetchError, IndexAnswerError) as error:
        return _unknown(installed, printable(str(error), 300))


def unasked(installed: str, *, online: bool) -> Item:
    """What is said where no index may be asked."""
    why = "No index was named: say from which one it was installed." if online else "The network was not asked."
    return Item(Kind.POSTLATCH, NAME, installed, "", State.UNKNOWN, (), "postlatch updates --online --index URL", why)


def _unknown(installed: str, why: str) -> Item:
    note = f"The index gave no usable answer: {why}."
    return Item(Kind.POSTLATCH, NAME, installed, "", State.UNKNOWN, (), "", note)


async def _files(fetcher: Fetcher, index: str) -> list[File]:
    base = f"{index.rstrip('/')}/{NAME}/"
    answer = await fetcher.get(base, timeout=SECONDS, limit=MOST_PAGE, trusted=True, headers=_ACCEPT)
    if answer.status == 404:
        raise IndexAnswerError(f"it has no package {NAME}")
    if answer.status != 200:
        raise IndexAnswerError(f"it answered with {answer.status}")
    try:
        page = load(answer.body)
    except AdvisoryDataError as error:
        raise IndexAnswerError(f"its page cannot be read as JSON (PEP 691): {error}") from None
    listed = page.get("files") if isinstance(page, dict) else None
    if not isinstance(listed, list) or page.get("name") != NAME:
        raise IndexAnswerError(f"its page is not that of {NAME} (PEP 691)")
    return [file for one in listed[:_MOST_LISTED] if (file := _file(one, base)) is not None]


def _file(value: Any, base: str) -> File | None:
    """A file that can be read whole; others count for nothing."""
    if not isinstance(value, dict) or not isinstance(value.get("hashes"), dict):
        return None
    name, url, digest = value.get("filename"), value.get("url"), value["hashes"].get("sha256", "")
    if not (isinstance(name, str) and isinstance(url, str) and isinstance(digest, str)) or max(len(name), len(url)) > 1_000:
        return None
    version = _version(name)
    if not version:
        return None
    provenance = value.get("provenance")
    try:
        return File(
            printable(name, _MOST_SIGNS),
            version,
            urljoin(base, url),
            digest.lower() if _is_digest(digest.lower()) else "",
            bool(value.get("yanked")),
            urljoin(base, provenance) if isinstance(provenance, str) and len(provenance) <= 1_000 else "",
        )
    except ValueError:
        return None


def _version(filename: str) -> str:
    """The version in the name of a wheel or a source archive of this package; empty for another file."""
    lower = filename.lower()
    if lower.endswith(".whl"):
        parts = lower.split("-")
        return _sound(parts[1]) if len(parts) in {5, 6} and parts[0] == NAME else ""
    stem = lower.removesuffix(".tar.gz")
    name, _, version = stem.partition("-")
    return _sound(version) if stem != lower and name == NAME else ""


def _sound(version: str) -> str:
    """A version only if it can stand in a command: the index wrote it."""
    sound = (
        version[:1].isdigit()
        and len(version) <= 60
        and all(one.isascii() and (one.isalnum() or one in ".!+_") for one in version)
    )
    return version if sound else ""


def _is_digest(text: str) -> bool:
    return len(text) == 64 and all(letter in "0123456789abcdef" for letter in text)


async def _judge(fetcher: Fetcher, index: str, installed: str, files: Sequence[File]) -> Item:
    offered = {file.version for file in files if not file.yanked and is_final(file.version)}
    if not offered:
        return _unknown(installed, "it lists no release that can be installed")
    newest = max(offered, key=python)
    chosen = [file for file in files if file.version == newest and not file.yanked][:_MOST_FILES]
    words, sound = await _verified(fetcher, index, chosen)
    withdrawn = any(file.yanked and python(file.version) == python(installed) for file in files)
    notes = [f"Release {newest}: {words}."]
    if withdrawn:
        notes.insert(0, f"Release {installed}, which is installed, was withdrawn (yanked).")
    behind = python(newest) > python(installed)
    state = State.OUTDATED if behind or withdrawn else State.CURRENT
    fix = ""
    if not sound:
        fix = "Do not install this release from this index; tell its owner, and the authors of Postlatch."
    elif behind:
        fix = _install(index, newest, chosen)
    if not sound and state is State.CURRENT:
        state = State.UNKNOWN
    return Item(Kind.POSTLATCH, NAME, installed, newest, state, (), fix, " ".join(notes), security=withdrawn or not sound)


def _install(index: str, version: str, files: Sequence[File]) -> str:
    """With the digests that were verified, so that pip takes these files and no others."""
    hashes = " ".join(f"--hash=sha256:{file.sha256}" for file in files)
    wanted = f"printf '%s\\n' '{NAME}=={version} {hashes}'"
    return f"{wanted} | pip install --no-deps --require-hashes --index-url {shlex.quote(index)} -r /dev/stdin && pip check"


async def _verified(fetcher: Fetcher, index: str, files: Sequence[File]) -> tuple[str, bool]:
    """What is true of the files of a release, in words, and whether nothing is wrong with them."""
    attested, publishers = 0, list[str]()
    try:
        for file in files:
            await _hashed(fetcher, index, file)
            if file.provenance:
                publishers.append(await _attested(fetcher, index, file))
                attested += 1
    except _WrongError as error:
        return printable(str(error), 400), False
    words = f"{len(files)} files fetched, their SHA-256 is that of the index"
    if not attested:
        return f"{words}; the index offers no attestations (PEP 740), so who made them was not verified", True
    missing = f" for {attested} of them" if attested < len(files) else ""
    claimed = f"; the index names as publisher: {publishers[0]}" if publishers[0] else ""
    return f"{words}; attestations{missing} of that digest, their signatures hold ({UNVERIFIED}){claimed}", True


class _WrongError(Exception):
    """A file is not what the index says of it."""


async def _hashed(fetcher: Fetcher, index: str, file: File) -> None:
    if not file.sha256:
        raise _WrongError(f"the index lists no SHA-256 for {file.name}")
    answer = await fetcher.get(file.url, timeout=SECONDS, limit=MOST_FILE, trusted=_same_place(index, file.url))
    if answer.status != 200:
        raise IndexAnswerError(f"{file.name} cannot be fetched: status {answer.status}")
    if hashlib.sha256(answer.body).hexdigest() != file.sha256:
        raise _WrongError(f"{file.name} has another SHA-256 than the index lists for it")


async def _attested(fetcher: Fetcher, index: str, file: File) -> str:
    answer = await fetcher.get(
        file.provenance, timeout=SECONDS, limit=MOST_PROVENANCE, trusted=_same_place(index, file.provenance)
    )
    if answer.status != 200:
        raise _WrongError(f"the attestations of {file.name} that the index announces cannot be fetched: status {answer.status}")
    try:
        return verify(answer.body, file.name, file.sha256).publisher
    except AttestationError as error:
        raise _WrongError(f"the attestation of {file.name} does not hold: {error}") from None


def _same_place(index: str, url: str) -> bool:
    """Whether the operator's word for the index goes for this URL too: the index must not send us into the private network."""
    first, second = urlsplit(index), urlsplit(url)
    return (first.scheme, first.netloc) == (second.scheme, second.netloc)
