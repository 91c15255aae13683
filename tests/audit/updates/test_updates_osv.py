"""The Python packages against OSV, and the refreshing of the file of known faults."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from updates_site import LIES, Page, Site, fetcher, served

from postlatch.audit.updates import osv
from postlatch.audit.updates.data import Data, bundled
from postlatch.audit.updates.dependencies import Dependency, installed, normal
from postlatch.audit.updates.refresh import RefreshError, held, refresh
from postlatch.audit.updates.values import Item, State

PACKAGES = [Dependency("jinja2", "2.4.1"), Dependency("idna", "3.20")]


@pytest.fixture(scope="module")
def running() -> Iterator[Site]:
    with served() as site:
        yield site


@pytest.fixture
def site(running: Site) -> Site:
    running.clear()
    return running


def fault(name: str, *fixed: str, **more: Any) -> dict[str, Any]:
    """As OSV tells it."""
    events = [{"introduced": "0"}, *({"fixed": one} for one in fixed)]
    affected = {"package": {"ecosystem": "PyPI", "name": "Jinja2"}, "ranges": [{"type": "ECOSYSTEM", "events": events}]}
    return {"id": name, "summary": f"what {name} is", "affected": [affected], **more}


def told(site: Site, *faults: dict[str, Any]) -> None:
    """These faults are known of the first package, none of the second."""
    site.json("/v1/querybatch", {"results": [{"vulns": [{"id": one["id"], "modified": "2026-01-01"} for one in faults]}, {}]})
    for one in faults:
        site.json(f"/v1/vulns/{one['id']}", one)


def look(site: Site, seconds: float = 10.0) -> list[Item]:
    return asyncio.run(osv.look(fetcher(), site.url, PACKAGES, seconds=seconds))


def test_a_known_fault_is_told_with_the_release_that_mends_it(site: Site) -> None:
    high = {"database_specific": {"severity": "HIGH"}}
    told(site, fault("GHSA-aaaa", "2.8.1", "2.10.1", aliases=["CVE-2016-1"], **high), fault("PYSEC-2019-2", "2.9"))
    jinja, idna = look(site)
    assert (jinja.state, jinja.newest, jinja.fix) == (State.VULNERABLE, "2.9", "pip install 'jinja2>=2.9' && pip check")
    assert [(one.id, one.severity, one.fixed) for one in jinja.advisories] == [
        ("CVE-2016-1", "high", "2.8.1"),
        ("PYSEC-2019-2", "unknown", "2.9"),
    ]
    assert idna.state is State.CURRENT
    [(_, _, body), *_] = site.asked
    assert json.loads(body)["queries"][0] == {"package": {"ecosystem": "PyPI", "name": "jinja2"}, "version": "2.4.1"}


def test_the_same_fault_from_two_data_bases_is_told_once(site: Site) -> None:
    low = {"database_specific": {"severity": "LOW"}}
    told(site, fault("PYSEC-1", "2.9", aliases=["CVE-2016-1"]), fault("GHSA-aaaa", "2.9", aliases=["CVE-2016-1"], **low))
    assert [(one.id, one.severity) for one in look(site)[0].advisories] == [("CVE-2016-1", "low")]


def test_a_withdrawn_fault_is_none(site: Site) -> None:
    told(site, fault("PYSEC-1", withdrawn="2026-01-01T00:00:00Z"))
    assert look(site)[0].state is State.CURRENT


def test_a_fault_without_a_release_that_mends_it_says_so(site: Site) -> None:
    told(site, fault("PYSEC-1"))
    assert look(site)[0].fix == "No release mends all of these yet."


def test_a_version_of_a_stranger_does_not_get_into_a_command(site: Site) -> None:
    told(site, fault("PYSEC-1", "9'; reboot; '"))
    assert "reboot" not in look(site)[0].fix


def test_a_fault_that_cannot_be_fetched_is_still_a_fault(site: Site) -> None:
    told(site, fault("GHSA-aaaa", "2.9"))
    site.pages["/v1/vulns/GHSA-aaaa"] = LIES["large"]
    assert look(site)[0].state is State.VULNERABLE
    assert [one.id for one in look(site)[0].advisories] == ["GHSA-aaaa"]


@pytest.mark.parametrize("lie", LIES)
def test_an_osv_that_lies_leaves_all_unknown(site: Site, lie: str) -> None:
    site.pages["/v1/querybatch"] = LIES[lie]
    assert {item.state for item in look(site)} == {State.UNKNOWN}
    assert look(site)[0].note.startswith("OSV gave no usable answer")


@pytest.mark.parametrize(
    "results",
    [[], [{}], [{}, {}, {}], [{"vulns": 1}, {}], [None, {}], [{"vulns": [{"id": "../../x"}]}, {}], [{"vulns": [7]}, {}]],
)
def test_results_of_another_form_are_never_good_news(site: Site, results: list[Any]) -> None:
    site.json("/v1/querybatch", {"results": results})
    assert look(site)[0].state is State.UNKNOWN
    assert not any(".." in path for _, path, _ in site.asked)


def test_an_osv_that_is_late_is_unknown_in_time(site: Site) -> None:
    site.pages["/v1/querybatch"] = Page(late=True)
    assert look(site, 0.3)[0].note == "OSV took more than 0.3 seconds."


def test_what_postlatch_runs_on_is_read_from_what_is_installed() -> None:
    found = {one.name: one.version for one in installed()}
    assert {"cryptography", "dnspython", "click", "cffi"} <= set(found)
    assert "pytest" not in found
    assert "postlatch" not in found
    assert [normal(name) for name in ("PyYAML", "typing_extensions", "a.-_b")] == ["pyyaml", "typing-extensions", "a-b"]


# The file of known faults.

NEWER = {"schema": "postlatch.advisories/1", "date": "2027-01-02", "entries": []}


def fetch(site: Site, path: Path, now: Data | None = None, seconds: float = 5.0) -> Data:
    return asyncio.run(refresh(fetcher(), f"{site.url}/data.json", path, now or bundled(), seconds))


def test_a_newer_file_is_kept_and_used_from_then_on(site: Site, tmp_path: Path) -> None:
    kept = tmp_path / "advisories.json"
    site.json("/data.json", NEWER)
    assert fetch(site, kept).date == date(2027, 1, 2)
    assert held(kept).data.date == date(2027, 1, 2)
    assert [path.name for path in tmp_path.iterdir()] == ["advisories.json"]
    assert kept.stat().st_mode & 0o777 == 0o644


def test_an_older_file_is_refused_and_nothing_changes(site: Site, tmp_path: Path) -> None:
    kept = tmp_path / "advisories.json"
    site.json("/data.json", {**NEWER, "date": "2020-01-01"})
    with pytest.raises(RefreshError, match="is of 2020-01-01, older than the data of"):
        fetch(site, kept)
    assert not kept.exists()
    assert held(kept).data == bundled()


@pytest.mark.parametrize("lie", [*LIES, "wrong schema"])
def test_a_server_that_lies_changes_nothing(site: Site, tmp_path: Path, lie: str) -> None:
    kept = tmp_path / "advisories.json"
    kept.write_text(json.dumps(NEWER))
    site.pages["/data.json"] = LIES.get(lie, Page(json.dumps({**NEWER, "schema": "postlatch.advisories/9"}).encode()))
    with pytest.raises(RefreshError):
        fetch(site, kept)
    assert held(kept) == (Data(date(2027, 1, 2), ()), "")
    assert len(list(tmp_path.iterdir())) == 1


def test_a_server_that_is_late_changes_nothing(site: Site, tmp_path: Path) -> None:
    site.pages["/data.json"] = Page(late=True)
    with pytest.raises(RefreshError, match=r"no whole answer within 0\.3 seconds"):
        fetch(site, tmp_path / "advisories.json", seconds=0.3)


@pytest.mark.parametrize("url", ["http://data.example/a.json", "ftp://data.example/a", "data.json", "http://[::1"])
def test_data_without_a_signature_must_come_by_https(tmp_path: Path, url: str) -> None:
    with pytest.raises(RefreshError, match="must come by https://"):
        asyncio.run(refresh(fetcher(), url, tmp_path / "a.json", bundled()))


def test_a_place_that_cannot_be_written_is_told(site: Site, tmp_path: Path) -> None:
    site.json("/data.json", NEWER)
    with pytest.raises(RefreshError, match="No such file or directory"):
        fetch(site, tmp_path / "absent" / "advisories.json")


def test_a_damaged_or_older_file_beside_ours_is_not_used(tmp_path: Path) -> None:
    kept = tmp_path / "advisories.json"
    kept.write_text("{")
    assert held(kept).data == bundled()
    assert "it is not JSON; the data of this release is used instead" in held(kept).trouble
    kept.write_text(json.dumps({**NEWER, "date": "2020-01-01"}))
    assert held(kept) == (bundled(), "")
