"""The system's mail packages, from what apt tells; and the servers that are installed."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postlatch.audit.updates import local, programs
from postlatch.audit.updates.packages import look, parse, read_lists, security_of
from postlatch.audit.updates.values import Item, Kind, State

# As apt-cache 2.6.1 of Debian 12 wrote it.
POLICY = """\
postfix:
  Installed: 3.7.11-0+deb12u1
  Candidate: 3.7.11-0+deb12u1
  Version table:
 *** 3.7.11-0+deb12u1 500
        500 http://deb.example/debian bookworm/main amd64 Packages
        100 /var/lib/dpkg/status
libssl3:
  Installed: 3.0.19-1~deb12u2
  Candidate: 3.0.22-1~deb12u2
  Version table:
     3.0.22-1~deb12u2 500
        500 http://deb.example/debian-security bookworm-security/main amd64 Packages
     3.0.20-1~deb12u2 500
        500 http://deb.example/debian bookworm/main amd64 Packages
 *** 3.0.19-1~deb12u2 100
        100 /var/lib/dpkg/status
     3.0.17-1~deb12u2 500
        500 http://deb.example/debian bookworm-updates/main amd64 Packages
unbound:
  Installed: 1.17.1-2+deb12u4
  Candidate: 1.17.1-2+deb12u5
  Version table:
     1.17.1-2+deb12u5 500
        500 http://deb.example/debian bookworm/main amd64 Packages
 *** 1.17.1-2+deb12u4 500
        500 http://deb.example/debian-security bookworm-security/main amd64 Packages
        100 /var/lib/dpkg/status
exim4-base:
  Installed: (none)
  Candidate: 4.96-15+deb12u10
  Version table:
     4.96-15+deb12u10 500
        500 http://deb.example/debian bookworm/main amd64 Packages
"""
INSTALLED = "installed\tpostfix\t3.7.11-0+deb12u1\ninstalled\tlibssl3\t3.0.19-1~deb12u2\ninstalled\tunbound\t1.17.1-2+deb12u4\n"
GONE = "config-files\texim4-base\t4.96-15\n"
DAY = 86_400


class Machine:
    """Answers as the programs of a machine would; the commands that were run are kept."""

    def __init__(self, told: dict[str, str]) -> None:
        self.told = told
        self.commands: list[list[str]] = []

    def __call__(self, command: Sequence[str]) -> str | None:
        self.commands.append(list(command))
        return self.told.get(command[0])


@pytest.fixture
def debian() -> Machine:
    return Machine({"dpkg-query": INSTALLED + GONE, "apt-cache": POLICY})


@pytest.fixture
def lists(tmp_path: Path) -> Path:
    """The indexes of a stable and of a security archive, both fetched now."""
    for name in (
        "deb.example_debian_dists_bookworm_InRelease",
        "deb.example_debian-security_dists_bookworm-security_InRelease",
    ):
        (tmp_path / name).write_text("Origin: Debian\nDate: Mon, 23 Nov 2026 11:22:37 UTC\n")
    return tmp_path


def by_name(items: list[Item]) -> dict[str, Item]:
    return {item.name: item for item in items}


def test_a_waiting_security_update_is_told_with_its_command(debian: Machine, lists: Path) -> None:
    found = by_name(look(debian, time.time(), lists))
    assert sorted(found) == ["libssl3", "postfix", "unbound"]
    ssl = found["libssl3"]
    assert (ssl.state, ssl.security, ssl.newest) == (State.OUTDATED, True, "3.0.22-1~deb12u2")
    assert ssl.fix == "apt-get update && apt-get install --only-upgrade libssl3"
    assert found["postfix"].state is State.CURRENT
    assert found["postfix"].note == "The package lists are 0 days old."


def test_a_newer_version_that_is_no_security_update_is_outdated_and_no_more(debian: Machine, lists: Path) -> None:
    unbound = by_name(look(debian, time.time(), lists))["unbound"]
    assert (unbound.state, unbound.security, unbound.newest) == (State.OUTDATED, False, "1.17.1-2+deb12u5")


def test_a_package_that_was_removed_is_not_asked_for(debian: Machine, lists: Path) -> None:
    look(debian, time.time(), lists)
    assert debian.commands[-1] == ["apt-cache", "policy", "libssl3", "postfix", "unbound"]


def test_old_lists_make_silence_unknown_but_not_a_waiting_update(debian: Machine, lists: Path) -> None:
    found = by_name(look(debian, time.time() + 8.5 * DAY, lists))
    assert found["postfix"].state is State.UNKNOWN
    assert "8 days old" in found["postfix"].note
    assert found["postfix"].fix == "apt-get update"
    assert found["libssl3"].state is State.OUTDATED


def test_a_security_archive_past_its_validity_says_nothing(debian: Machine, lists: Path) -> None:
    index = lists / "deb.example_debian-security_dists_bookworm-security_InRelease"
    index.write_text("Origin: Debian\nValid-Until: Mon, 01 Jan 2024 00:00:00 UTC\n")
    assert by_name(look(debian, time.time(), lists))["postfix"].state is State.UNKNOWN


def test_without_lists_or_without_a_security_archive_nothing_is_called_good(debian: Machine, tmp_path: Path) -> None:
    assert by_name(look(debian, time.time(), tmp_path))["postfix"].state is State.UNKNOWN
    assert by_name(look(debian, time.time(), tmp_path / "absent"))["postfix"].state is State.UNKNOWN
    (tmp_path / "deb.example_debian_dists_bookworm_InRelease").write_text("Origin: Debian\n")
    item = by_name(look(debian, time.time(), tmp_path))["postfix"]
    assert (item.state, item.note) == (State.UNKNOWN, "No archive of security fixes is among the sources of apt.")


def test_the_age_is_that_of_the_security_archive_not_of_a_release_that_seldom_changes(lists: Path) -> None:
    old = time.time() - 100 * DAY
    os.utime(lists / "deb.example_debian_dists_bookworm_InRelease", (old, old))
    assert read_lists(lists, time.time()).days == 0


def test_another_system_is_unknown_and_its_command_named() -> None:
    [item] = look(Machine({"dnf": "4.18"}), 0.0)
    assert (item.state, item.fix) == (State.UNKNOWN, "dnf updateinfo list --security")
    [item] = look(Machine({}), 0.0)
    assert item.state is State.UNKNOWN


def test_a_debian_without_any_mail_package_has_nothing_to_tell() -> None:
    assert look(Machine({"dpkg-query": ""}), 0.0) == []


def test_an_answer_of_apt_that_cannot_be_read_is_unknown(lists: Path) -> None:
    for told in ("", "E: Could not open lock file\n", "postfix:\n nothing of the kind\n"):
        items = look(Machine({"dpkg-query": INSTALLED, "apt-cache": told}), time.time(), lists)
        assert {item.state for item in items} == {State.UNKNOWN}


def test_ubuntus_archives_of_fixes_are_known_by_their_suites() -> None:
    for suite in ("jammy-security/main", "jammy-apps-security/main"):
        told = POLICY.replace("bookworm-security/main", suite)
        assert security_of(parse(told)["libssl3"]) == "3.0.22-1~deb12u2"
    assert security_of(parse(POLICY.replace("bookworm-security/main", "bookworm-security-not/main"))["libssl3"]) == ""


@settings(max_examples=200, deadline=None)
@given(st.text() | st.lists(st.sampled_from(POLICY.splitlines()), max_size=20).map("\n".join))
def test_any_answer_of_apt_is_read_without_harm(told: str) -> None:
    for policy in parse(told).values():
        security_of(policy)


def test_an_installed_server_is_told_by_its_program_and_its_package(tmp_path: Path) -> None:
    release = tmp_path / "os-release"
    release.write_text('ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian"\n')
    rows = "installed\tpostfix\t3.7.11-0+deb12u1\ninstalled\texim4-base\t4.96-15+deb12u9\nconfig-files\topensmtpd\t6.8.0p2-4\n"
    machine = Machine({"dpkg-query": rows, "postconf": "3.7.11\n", "exim4": "Exim version 4.96 #2 built 01-Jan-2026\n"})
    exim, postfix = local.servers(machine, release)
    assert (exim.product, exim.version) == ("exim", "4.96")
    assert (postfix.product, postfix.version) == ("postfix", "3.7.11")
    assert postfix.package is not None
    assert postfix.package == ("debian", "12", "postfix", "3.7.11-0+deb12u1")


def test_a_server_without_a_package_is_told_by_its_program_alone(tmp_path: Path) -> None:
    [server] = local.servers(Machine({"postconf": "3.9.1\n"}), tmp_path / "absent")
    assert (server.product, server.version, server.package) == ("postfix", "3.9.1", None)


def test_a_program_that_is_missing_or_hangs_tells_nothing() -> None:
    assert programs.run(["postlatch-has-no-such-program"]) is None
    assert programs.run(["true"]) == ""
    assert programs.run(["sh", "-c", "echo told; exit 3"]) == "told\n"


@pytest.mark.real
@pytest.mark.skipif(shutil.which("apt-cache") is None, reason="needs apt")
def test_the_real_apt_is_understood() -> None:
    items = look(programs.run, time.time())
    found = by_name(items)
    assert found["python3"].installed
    told = programs.run(["apt-cache", "policy", "python3"])
    assert told is not None
    policy = parse(told)["python3"]
    assert policy.installed == found["python3"].installed
    assert policy.offers
    assert all(item.kind is Kind.PACKAGE for item in items)
