"""Which version is older? Three orders: upstream releases, Python packages (PEP 440) and Debian packages.

Any text is put into an order: what cannot be read is old, so that nothing counts as mended by mistake. All are pure string
methods over bounded text.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

MOST: Final = 200  # characters of a version that are looked at
_BEFORE: Final = {"dev": -5, "a": -4, "alpha": -4, "b": -3, "beta": -3, "c": -2, "rc": -2, "pre": -2, "preview": -2}
_SAME: Final = {"alpha": "a", "beta": "b", "c": "rc", "pre": "rc", "preview": "rc", "r": "post", "rev": "post"}

Key = tuple[tuple[int, int], ...]


def _runs(text: str) -> Iterator[str]:
    """Digits and letters, each run by itself; all else only separates."""
    run = ""
    for letter in text[:MOST].lower():
        if not (letter.isascii() and letter.isalnum()):
            if run:
                yield run
            run = ""
        elif run and letter.isdigit() != run[-1].isdigit():
            yield run
            run = letter
        else:
            run += letter
    if run:
        yield run


def upstream(text: str) -> Key:
    """A release: "4.97.1", "8.17.1.9", "6.6.2p1", "4.99-RC2". Greater is newer; a zero at the end counts for nothing.

    What follows a dash and is no release candidate says how far a snapshot is from the release ("4.96-58-g4e9ed49f8"), which
    tells nothing of what is mended in it: it is left out.
    """
    release, _, rest = text.strip()[:MOST].partition("-")
    parts = list(_runs(release))
    candidate = next(iter(_runs(rest)), "")
    if candidate in _BEFORE:
        parts += list(_runs(rest))[:2]
    return _key(parts)


def _key(parts: list[str]) -> Key:
    """Each part as (rank, number). Marks of what comes before a release sort below its end, other words above it."""
    found = [(2, int(part[:30])) if part[0].isdigit() else (_BEFORE.get(part, 1), ord(part[0])) for part in parts[:20]]
    while found and found[-1] == (2, 0):
        found.pop()
    return (*found, (0, 0))


def older(one: str, other: str) -> bool:
    """Whether upstream release ``one`` came before ``other``."""
    return upstream(one) < upstream(other)


def branch(version: str, depth: int = 2) -> str:
    """The branch that a release is of: "3.8" of "3.8.4"."""
    return ".".join(version.split(".")[:depth])


def python(text: str) -> tuple[int, Key]:
    """PEP 440: the epoch and the release with its pre-, post- and development marks. A local version counts for nothing."""
    public = text.strip()[:MOST].lower().partition("+")[0].removeprefix("v")
    epoch, mark, rest = public.partition("!")
    if not mark:
        epoch, rest = "0", public
    parts = [_SAME.get(part, part) for part in _runs(rest)]
    return (int(epoch[:30]) if epoch.isascii() and epoch.isdigit() else 0, _trimmed(parts))


def _trimmed(parts: list[str]) -> Key:
    """As `_key`, with the zeros before a mark taken away too: 1.0rc1 is of 1 (PEP 440, "Version comparison")."""
    end = next((place for place, part in enumerate(parts) if not part[0].isdigit()), len(parts))
    release = parts[:end]
    while len(release) > 1 and not int(release[-1][:30]):
        release.pop()
    return _key(release + parts[end:])


def is_final(text: str) -> bool:
    """Whether a Python version is a release for everybody: no pre-release and no development snapshot."""
    return not any(run in _BEFORE for run in _runs(text.partition("+")[0]))


def debian(one: str, other: str) -> int:
    """-1, 0 or 1 as dpkg orders them (deb-version(7)): epoch, then upstream version, then revision."""
    first, second = _debian_parts(one), _debian_parts(other)
    if first[0] != second[0]:
        return -1 if first[0] < second[0] else 1
    return _compare(first[1], second[1]) or _compare(first[2], second[2])


def _debian_parts(text: str) -> tuple[int, str, str]:
    text = text.strip()[:MOST]
    epoch, mark, rest = text.partition(":")
    if not (mark and epoch.isascii() and epoch.isdigit()):
        epoch, rest = "0", text
    version, mark, revision = rest.rpartition("-")
    return int(epoch[:30]), version if mark else rest, revision if mark else ""


def _compare(one: str, other: str) -> int:
    """Alternating runs of what is no digit and of digits; a tilde sorts before everything, even the end."""
    while one or other:
        first, one = _split(one, digits=False)
        second, other = _split(other, digits=False)
        if order := _words(first, second):
            return order
        first, one = _split(one, digits=True)
        second, other = _split(other, digits=True)
        left, right = int(first[:30] or "0"), int(second[:30] or "0")
        if left != right:
            return -1 if left < right else 1
    return 0


def _split(text: str, *, digits: bool) -> tuple[str, str]:
    end = 0
    while end < len(text) and (text[end] in "0123456789") == digits:
        end += 1
    return text[:end], text[end:]


def _words(one: str, other: str) -> int:
    for place in range(max(len(one), len(other))):
        left, right = _order(one[place : place + 1]), _order(other[place : place + 1])
        if left != right:
            return -1 if left < right else 1
    return 0


def _order(letter: str) -> int:
    if letter == "~":
        return -1
    if not letter:
        return 0
    return ord(letter) if letter.isascii() and letter.isalpha() else ord(letter) + 0x110000
