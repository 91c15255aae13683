"""A backup file is not trusted: only what a backup holds is taken, all of it, and into an empty place."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from postlatch.store.backup import backup
from postlatch.store.database import StoreError, open_database
from postlatch.store.lock import acquire
from postlatch.store.restore import RestoreReport, restore

Members = dict[str, bytes]


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """A backup of a database that remembers one thing."""
    database = tmp_path / "data" / "postlatch.db"
    database.parent.mkdir()
    with closing(open_database(database, create=True)) as connection:
        connection.execute("INSERT INTO meta VALUES ('a', 'b')")
        backup(database, database.parent / "bodies", tmp_path / "relay.backup", now=0.0)
    return tmp_path / "relay.backup"


def members_of(archive: Path) -> Members:
    with tarfile.open(archive) as found:
        return {name: (found.extractfile(name) or io.BytesIO()).read() for name in found.getnames()}


def write(archive: Path, entries: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    with tarfile.open(archive, "w") as out:
        for info, content in entries:
            info.size = len(content)
            out.addfile(info, io.BytesIO(content))


def entries(members: Members) -> list[tuple[tarfile.TarInfo, bytes]]:
    return [(tarfile.TarInfo(name), content) for name, content in members.items()]


@pytest.mark.parametrize("existing", ["absent", "empty", "in use by this command", "a fresh volume"])
def test_a_backup_is_restored_where_nothing_is(tmp_path: Path, archive: Path, existing: str) -> None:
    target = tmp_path / "restored"
    if existing != "absent":
        target.mkdir()
    if existing == "in use by this command":
        acquire(target).close()
    if existing == "a fresh volume":
        (target / "lost+found").mkdir()
        (target / ".restoring").mkdir()
    assert restore(archive, target) == RestoreReport(0, 0, 0, "1970-01-01T00:00:00Z")
    with closing(open_database(target / "postlatch.db", create=False)) as connection:
        assert connection.execute("SELECT value FROM meta").fetchall() == [("b",)]
    assert {"bodies", "postlatch.db"} <= {entry.name for entry in target.iterdir()}
    assert not (target / ".restoring").exists()
    assert not (target / "manifest.json").exists()


def test_the_database_gets_the_name_that_the_configuration_gives_it(tmp_path: Path, archive: Path) -> None:
    restore(archive, tmp_path / "restored", database="mail.sqlite")
    open_database(tmp_path / "restored" / "mail.sqlite", create=False).close()


@pytest.mark.parametrize("name", ["postlatch.db", "something.else"])
def test_nothing_is_restored_over_anything(tmp_path: Path, archive: Path, name: str) -> None:
    target = tmp_path / "restored"
    target.mkdir()
    (target / name).write_text("mine")
    for place in (target, target / name):
        with pytest.raises(StoreError, match="is not empty"):
            restore(archive, place)
    assert [(entry.name, entry.read_text()) for entry in target.iterdir()] == [(name, "mine")]


def manifest(members: Members, **changed: Any) -> Members:
    found = json.loads(members["manifest.json"])
    return members | {"manifest.json": json.dumps(found | changed).encode()}


def damaged(members: Members) -> Members:
    content = bytearray(members["postlatch.db"])
    content[5000] ^= 1
    return members | {"postlatch.db": bytes(content)}


def without(members: Members, name: str) -> Members:
    return {other: content for other, content in members.items() if other != name}


BODY = "bodies/9Q/01K3F9Q2ZB7NM"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (damaged, "postlatch.db is not what its manifest says"),
        (lambda m: without(m, "manifest.json"), "not a whole backup"),
        (lambda m: without(m, "postlatch.db"), "not a whole backup"),
        (lambda _: {}, "not a whole backup"),
        (lambda m: m | {BODY: b"x"}, f"{BODY} is not what its manifest says"),
        (lambda m: manifest(m, files=json.loads(m["manifest.json"])["files"] | {BODY: {}}), "is not what its manifest says"),
        (lambda m: manifest(m, files=[]), "a format"),
        (lambda m: manifest(m, format="postlatch.backup/2"), "a format"),
        (lambda m: manifest(m, schema=99), "has schema 99"),
        (lambda m: manifest(m, schema=0), "has schema 0"),
        (lambda m: manifest(m, schema="1"), "has schema 1"),
        (lambda m: m | {"manifest.json": b"{"}, "manifest of this backup cannot be read"),
        (lambda m: m | {"manifest.json": b"[]"}, "manifest of this backup cannot be read"),
        (lambda m: m | {"../evil": b"x"}, "holds something that no backup"),
        (lambda m: m | {"/etc/evil": b"x"}, "holds something that no backup"),
        (lambda m: m | {"bodies/../../evil": b"x"}, "holds something that no backup"),
        (lambda m: m | {"bodies/9Q/01K3F9Q2ZB7NM\n": b"x"}, "holds something that no backup"),
        (lambda m: m | {"notes.txt": b"x"}, "holds something that no backup"),
    ],
)
def test_a_backup_that_is_not_whole_or_holds_more_is_refused_without_a_trace(
    tmp_path: Path, archive: Path, change: Callable[[Members], Members], says: str
) -> None:
    write(archive, entries(change(members_of(archive))))
    with pytest.raises(StoreError, match=says):
        restore(archive, tmp_path / "restored")
    assert not list((tmp_path / "restored").iterdir())
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["data", "relay.backup", "restored"]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_only_plain_files_are_taken(tmp_path: Path, archive: Path, kind: bytes) -> None:
    link = tarfile.TarInfo(BODY)
    link.type = kind
    link.linkname = "/etc/passwd"
    write(archive, [(link, b""), *entries(members_of(archive))])
    with pytest.raises(StoreError, match="holds something that no backup"):
        restore(archive, tmp_path / "restored")


def test_a_member_that_is_there_twice_is_refused(tmp_path: Path, archive: Path) -> None:
    found = entries(members_of(archive))
    write(archive, [*found, *found])
    with pytest.raises(StoreError, match="there twice"):
        restore(archive, tmp_path / "restored")


@pytest.mark.parametrize("last", [b"", b"postlatch.db", b"SQLite format 3", b"manifest.json", b"postlatch.backup/1"])
def test_a_file_that_is_cut_short_or_no_archive_is_refused(tmp_path: Path, archive: Path, last: bytes) -> None:
    content = archive.read_bytes()
    archive.write_bytes(content[: content.index(last) + len(last)] if last else b"not an archive at all")
    with pytest.raises(StoreError, match=r"relay\.backup (cannot be restored|is not a whole backup)"):
        restore(archive, tmp_path / "restored")
    with pytest.raises(StoreError, match="cannot be restored"):
        restore(tmp_path / "absent", tmp_path / "restored")
