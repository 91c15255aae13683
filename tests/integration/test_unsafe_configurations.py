"""An unsafe configuration is refused by ``serve`` and by ``check``, each by its own sentence, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from running_support import REST, SAFE, alive, client, holds, postlatch, reading, reply, submit, with_ports
from unsafe_configurations import RIGHT, SAFE_ONES, UNSAFE, Unsafe, right

from postlatch.app.certificate import write_self_signed
from postlatch.app.check import check
from postlatch.store.schema import SCHEMA_VERSION
from postlatch.testing.peers.ports import end, listens, wait_until
from postlatch.testing.running import RunningRelay

_LATE = '[domains."late.example"]\ndeliver = "lmtp://127.0.0.1:1"\nrecipients = ["carol"]\n'


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a certificate and a data directory in which mail was delivered and mail waits."""
    folder = tmp_path_factory.mktemp("used")
    (folder / "secret").write_text("not a key\n")
    (folder / "empty.pem").touch()
    write_self_signed("other.example", folder / "other.pem", folder / "other-key.pem", time.time())
    with RunningRelay(folder, with_ports(SAFE + _LATE)[0]) as relay:
        with client(relay.port("mx")) as session:
            assert submit(session, "delivered", "x@other.example", "bob@example.com").startswith("250")
            assert submit(session, "waiting", "x@other.example", "carol@late.example").startswith("250")
        wait_until(lambda: holds(relay, "bob@example.com", "delivered"), 10, "the delivery")
    return folder


@pytest.fixture
def folder(used: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(used, tmp_path / "relay", ignore=shutil.ignore_patterns("control.sock")))


def contents(data: Path) -> tuple[list[Any], list[str]]:
    """What must survive: the queue's rows and the delivered files."""
    with reading(data / "postlatch.db") as connection:
        recipients = connection.execute("SELECT message, address, state FROM recipients ORDER BY message, number").fetchall()
    return recipients, sorted(str(path.relative_to(data)) for path in (data / "mail").rglob("new/*"))


def processes_in(folder: Path) -> Iterator[int]:
    """Living processes whose working directory is ``folder``: whatever was started there."""
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and (entry / "cwd").readlink() == folder and alive(int(entry.name)):
                yield int(entry.name)
        except OSError:
            continue


def both(config: Path) -> tuple[dict[str, Any], int, subprocess.CompletedProcess[str]]:
    """Run ``check`` and ``serve`` side by side: the JSON and status of the one, the end of the other."""
    command = [sys.executable, "-m", "postlatch", "--config", str(config), "serve"]
    serving = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=config.parent)
    try:
        checked = postlatch(config, "check", "--json")
        out, err = serving.communicate(timeout=30)
    finally:
        end(serving)
    return json.loads(checked.stdout), checked.returncode, subprocess.CompletedProcess(command, serving.returncode, out, err)


def assert_nothing_started(folder: Path, ports: dict[str, int], before: tuple[list[Any], list[str]]) -> None:
    """No socket listens, no process is left, no mail is lost."""
    assert [name for name, port in ports.items() if listens(port)] == []
    assert list(processes_in(folder)) == []
    assert contents(folder / "data") == before


def answered(config: Path) -> tuple[dict[str, Any], int]:
    """What ``check`` says, asked in this process: a start of the command costs more than its work."""
    answer = check(config, {})
    return answer.data, answer.status


def assert_told(case: Unsafe, text: str, config: Path, found: dict[str, Any]) -> None:
    """One error, with its sentence and its place."""
    assert found["closed"] is False
    told = [error for error in found["errors"] if error["key"] == case.key and case.words in error["message"]]
    assert len(told) == 1, found["errors"]
    assert told[0]["file"] == str(config)
    if case.line:
        assert case.line in text.splitlines()[told[0]["line"] - 1]


@pytest.mark.parametrize("case", UNSAFE.values(), ids=UNSAFE)
def test_an_unsafe_configuration_is_refused_with_its_own_sentence(case: Unsafe, folder: Path) -> None:
    text, _ = with_ports(case.config)
    config = folder / "postlatch.toml"
    config.write_text(text, "utf-8")
    found, status = answered(config)
    assert status == case.status
    assert_told(case, text, config, found)


# Each start of the program takes seconds: all of them are run beside `-m soak`, a sample always.
STARTS = [
    pytest.param(case, id=name, marks=() if number % 10 == 0 else pytest.mark.soak)
    for number, (name, case) in enumerate(UNSAFE.items())
]


@pytest.mark.parametrize("case", STARTS)
def test_serve_refuses_it_in_the_same_words_and_leaves_nothing_behind(case: Unsafe, folder: Path) -> None:
    text, ports = with_ports(case.config)
    config = folder / "postlatch.toml"
    config.write_text(text, "utf-8")
    before = contents(folder / "data")

    found, status, served = both(config)

    assert (status, served.returncode) == (case.status, case.status)
    assert served.stdout == ""
    assert_told(case, text, config, found)
    for error in found["errors"]:  # serve says the same, with the place
        line = "" if error["line"] is None else f":{error['line']}"
        assert f"{error['file']}{line}: " in served.stderr
        assert error["message"] in served.stderr
    assert "Traceback" not in served.stderr
    assert_nothing_started(folder, ports, before)


def test_no_two_cases_share_a_sentence() -> None:
    sentences = [(case.key, case.words) for case in UNSAFE.values()]
    assert len(set(sentences)) == len(sentences) == len(UNSAFE) >= 40


@pytest.mark.parametrize("text", SAFE_ONES.values(), ids=SAFE_ONES)
def test_what_is_narrow_or_accepted_in_writing_is_closed(text: str, folder: Path) -> None:
    config = folder / "postlatch.toml"
    config.write_text(with_ports(text)[0], "utf-8")
    found, status = answered(config)
    assert (status, found["closed"], found["errors"], found["counterexamples"]) == (0, True, [], [])


def test_an_expired_right_is_refused_by_check_but_keeps_no_server_down(folder: Path) -> None:
    text = right('"127.0.0.1"', 'masked = "test"\n').replace("2099-06-30", "2020-06-30")
    relay = RunningRelay(folder, with_ports(text)[0])
    done = relay.run("check", "--json")
    [error] = json.loads(done.stdout)["errors"]
    assert done.returncode == 1
    assert error["key"] == "rights.printers.expires"
    assert error["message"] == "the right printers expired at 2020-07-01T00:00:00Z: renew it or remove it"
    assert relay.config.read_text().splitlines()[error["line"] - 1] == "expires = 2020-06-30"
    with relay:
        assert error["message"] in relay.read_log()
        with client(relay.port("relay")) as session:
            assert reply(session.mail("alice@example.com")) == "550 5.7.1 the right to relay has expired"
        with client(relay.port("mx")) as session:
            assert submit(session, "still", "x@other.example", "bob@example.com").startswith("250")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give up root")
def test_what_only_root_can_read_is_of_no_use_once_root_is_given_up(folder: Path) -> None:
    config = folder / "postlatch.toml"
    config.write_text(with_ports(f'user = "nobody"\n{SAFE}')[0], "utf-8")
    done = postlatch(config, "serve")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    # Where the tests run from root's own home, the interpreter itself is already out of reach.
    said = ("cannot be read: Permission denied", "no permission to read it", "user: nobody may not run")
    assert any(words in done.stderr for words in said), done.stderr
    assert list(processes_in(folder)) == []


def test_a_taken_port_is_named_and_nothing_is_left_of_the_start(folder: Path) -> None:
    text, ports = with_ports(SAFE)
    config = folder / "postlatch.toml"
    config.write_text(text, "utf-8")
    before = contents(folder / "data")
    with closing(socket.create_server(("127.0.0.1", ports["RELAY"]))):
        done = postlatch(config, "serve")
    assert done.returncode == 2
    assert f"listener relay: cannot bind 127.0.0.1:{ports['RELAY']}: Address already in use" in done.stderr
    assert_nothing_started(folder, ports, before)


def test_a_second_start_on_one_data_directory_is_refused_and_the_first_serves_on(folder: Path) -> None:
    with RunningRelay(folder, with_ports(SAFE)[0]) as relay:
        assert relay.process is not None
        second = folder / "second.toml"
        text, ports = with_ports(SAFE)
        second.write_text(text, "utf-8")
        done = postlatch(second, "serve")
        assert done.returncode == 2
        assert f"{folder}/data is in use by process {relay.process.pid}: stop it first" in done.stderr
        assert [name for name, port in ports.items() if listens(port)] == []
        with client(relay.port("mx")) as session:
            assert submit(session, "on", "x@other.example", "bob@example.com").startswith("250")


def _garbage(whole: bytes) -> bytes:
    return b"garbage\n" * (len(whole) // 8)


def _cut(whole: bytes) -> bytes:
    return whole[: len(whole) // 2]


def _empty(_whole: bytes) -> bytes:
    return b""


def _first_page(whole: bytes) -> bytes:
    return whole[:100] + b"\xff" * 300 + whole[400:]


def _version(whole: bytes) -> bytes:
    return whole[:60] + (99).to_bytes(4, "big") + whole[64:]  # PRAGMA user_version


def _another_program(whole: bytes) -> bytes:
    return whole[:68] + (1).to_bytes(4, "big") + whole[72:]  # PRAGMA application_id


DAMAGE = {
    _garbage: "is not a database, or its beginning is destroyed; save what can be read with `postlatch salvage`",
    _cut: "is cut short",
    _empty: "is not a database",
    _first_page: "database disk image is malformed",
    _version: "has schema 99, which a newer version of Postlatch wrote; this one knows schemas up to "
    f"{SCHEMA_VERSION}: run the version",
    _another_program: "is another program's database: name a file of Postlatch's own in [store] url",
}


@pytest.mark.parametrize(
    "damage", [pytest.param(one, marks=() if one in {_cut, _version} else pytest.mark.soak) for one in DAMAGE]
)
def test_a_store_that_cannot_open_is_never_replaced_by_a_fresh_one(damage: Any, folder: Path) -> None:
    text, ports = with_ports(SAFE)
    config, database = folder / "postlatch.toml", folder / "data" / "postlatch.db"
    config.write_text(text, "utf-8")
    damaged = damage(database.read_bytes())
    database.write_bytes(damaged)

    found, status, served = both(config)

    assert (status, served.returncode) == (2, 2)
    [error] = found["errors"]
    assert error["key"] == "store"
    assert DAMAGE[damage] in error["message"]
    assert str(database) in error["message"]
    assert error["message"] in served.stderr
    assert postlatch(config, "queue", "list").returncode == 2
    assert database.read_bytes() == damaged
    assert list(processes_in(folder)) == []
    assert [name for name, port in ports.items() if listens(port)] == []


def test_a_right_of_the_database_is_judged_at_start_like_one_of_the_file(folder: Path) -> None:
    """Two rights, each allowed alone, one in each place: together they are too many."""
    relay = RunningRelay(folder, with_ports(SAFE)[0])
    words = ("--network", "203.0.113.0/24", "--listener", "relay", "--owner", "ops", "--expires", "2099-01-01")
    assert relay.run("right", "add", "scanners", *words).returncode == 0
    text, ports = with_ports(SAFE.replace(REST, RIGHT.replace("NETWORKS", '"198.51.100.0/24"') + REST))
    relay.config.write_text(text, "utf-8")
    found, status, served = both(relay.config)
    assert (status, served.returncode) == (1, 1)
    assert any("cover 512 IPv4 addresses on listener relay" in error["message"] for error in found["errors"])
    assert "cover 512 IPv4 addresses" in served.stderr
    assert [name for name, port in ports.items() if listens(port)] == []
    assert relay.run("right", "revoke", "scanners").returncode == 0  # what takes away works although it may not serve
    assert relay.run("check").returncode == 0
