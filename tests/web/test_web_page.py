from __future__ import annotations

import re
from base64 import b64encode
from hashlib import sha256
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from web_helpers import AUDITED, good_status

from postlatch.web.model import Status
from postlatch.web.page import STYLE, STYLE_SOURCE, status_page, text, unknown_page

HOSTILE = "\"'><script>alert(1)</script>&lt;\x1b[31m\r\n\u202e\ud800\x00"
VOID = {"meta", "link", "br"}


class Page(HTMLParser):
    """A page as a browser sees it; fails where tags are not closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"style", "title"} & set(self._open):
            self.words.append(data)

    @property
    def shown(self) -> str:
        return " ".join(self.words)


def test_the_page_says_that_the_relay_is_closed_and_since_when_that_is_proved() -> None:
    page = Page(status_page(good_status()))
    assert "Closed Policy version 7 was proved closed on  2025-12-31 23:50:00 UTC ." in page.shown
    assert "The database writes." in page.shown


@pytest.mark.parametrize(
    ("closed", "proved_at", "headline"),
    [
        (True, 1.0, "Closed"),
        (True, None, "The state is not known"),
        (None, 1.0, "The state is not known"),
        (None, None, "The state is not known"),
        (False, None, "Not proved closed"),
        (False, 1.0, "Not proved closed"),
    ],
)
def test_only_a_proof_makes_it_say_closed(closed: bool | None, proved_at: float | None, headline: str) -> None:
    page = Page(status_page({**good_status(), "closed": closed, "proved_at": proved_at, "policy_version": None}))
    headings = re.findall(r"<h1[^>]*>([^<]*)</h1>", status_page({**good_status(), "closed": closed, "proved_at": proved_at}))
    assert headings == [headline]
    assert headline in page.shown


@pytest.mark.parametrize(
    ("healthy", "sentence"),
    [
        (True, "The database writes."),
        (False, "mail is refused for now (451)"),
        (None, "Whether the database writes is not known."),
    ],
)
def test_the_state_of_the_database_is_said_in_words(healthy: bool | None, sentence: str) -> None:
    assert sentence in Page(status_page({**good_status(), "store_healthy": healthy})).shown


def test_listeners_queue_and_refusals_are_shown_with_their_counts() -> None:
    shown = Page(status_page(good_status())).shown
    assert "mx mx 0.0.0.0:25 [::]:25 open 1,234 56" in shown
    assert "queued 3 deferred 20,000 held 1" in shown
    assert "The oldest has waited for 2 hours." in shown
    assert "relay 2025-12-31 23:59:59 UTC mx 203.0.113.9 not our domain 56" in shown
    assert "As of  2026-01-01 00:00:00 UTC" in shown


def test_a_listener_that_is_not_bound_is_said_to_be() -> None:
    status = good_status()
    status["listeners"][0]["bound"] = False
    assert "not bound" in Page(status_page(status)).shown


def test_what_there_is_none_of_is_said_and_what_is_not_known_too() -> None:
    empty: Status = {**good_status(), "listeners": [], "queue": {}, "refusals": [], "oldest_seconds": None}
    shown = Page(status_page(empty)).shown
    assert "No listener." in shown
    assert "The queue is empty." in shown
    assert "Nothing was refused yet." in shown
    assert "The queue is not known." in Page(status_page({**empty, "queue": None})).shown


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "less than a minute"), (60, "1 minute."), (3599, "59 minutes."), (3600, "1 hour."), (86_400 * 2.5, "2 days.")],
)
def test_the_age_of_the_queue_is_in_words(seconds: float, words: str) -> None:
    assert words in Page(status_page({**good_status(), "oldest_seconds": seconds})).shown


def hostile_status(hostile: str) -> Status:
    status = good_status()
    status["hostname"] = hostile
    status["listeners"] = [{**status["listeners"][0], "name": hostile, "role": hostile, "addresses": [hostile]}]
    status["queue"] = {hostile: 1}
    status["refusals"] = [{"rule": hostile, "count": 1, "listener": hostile, "client": hostile, "why": hostile}]
    return status


def test_hostile_text_is_text_on_the_page() -> None:
    html = status_page(hostile_status(HOSTILE))
    page, clean = Page(html), Page(status_page(hostile_status("x")))
    assert page.tags == clean.tags
    assert "script" not in {tag for tag, _ in page.tags}
    assert html.encode("utf-8")
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", html)
    assert "alert(1)" in page.shown
    assert Page(unknown_page(HOSTILE)).tags == Page(unknown_page("x")).tags


@given(st.text())
def test_no_text_whatever_changes_the_structure_of_the_page(hostile: str) -> None:
    assert Page(status_page(hostile_status(hostile))).tags == Page(status_page(hostile_status("x"))).tags
    assert text(hostile).isprintable()


def test_the_page_loads_nothing_and_runs_nothing() -> None:
    html = status_page(good_status())
    tags = Page(html).tags
    assert not {"script", "img", "iframe", "form", "object", "a"} & {tag for tag, _ in tags}
    assert [attributes["href"] for tag, attributes in tags if tag == "link"] == ["data:,"]
    assert not any(name.startswith("on") or name in {"src", "style"} for _, attributes in tags for name in attributes)
    assert "url(" not in STYLE
    assert "@import" not in STYLE


def test_the_policy_allows_the_one_style_sheet_by_its_hash() -> None:
    (style,) = re.findall(r"<style>(.*?)</style>", status_page(good_status()), re.DOTALL)
    assert f"'sha256-{b64encode(sha256(style.encode()).digest()).decode()}'" == STYLE_SOURCE


def test_the_page_has_what_a_screen_reader_needs() -> None:
    html = status_page(good_status())
    tags = Page(html).tags
    names = [tag for tag, _ in tags]
    assert dict(tags)["html"] == {"lang": "en"}
    assert (names.count("h1"), names.count("main"), names.count("title")) == (1, 1, 1)
    headings = {attributes["id"] for tag, attributes in tags if tag == "h2"}
    assert [attributes["aria-labelledby"] for tag, attributes in tags if tag == "table"] == [
        "listeners",
        "self-audit",
        "queue",
        "refusals",
    ]
    assert headings == {"listeners", "self-audit", "queue", "refusals"}
    assert all(attributes.get("scope") in {"row", "col"} for tag, attributes in tags if tag == "th")
    assert all(attributes.get("datetime") for tag, attributes in tags if tag == "time")
    ids = [attributes["id"] for _, attributes in tags if "id" in attributes]
    assert len(ids) == len(set(ids))


def luminance(colour: str) -> float:
    """WCAG 2.2, relative luminance."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_every_colour_of_text_has_enough_contrast_for_wcag_aa(scheme: int) -> None:
    colours = re.findall(r"--(\w+): (#[0-9a-f]{6});", STYLE)
    half = len(colours) // 2
    palette = dict(colours[scheme * half : (scheme + 1) * half])
    paper = luminance(palette.pop("paper"))
    palette.pop("line")
    assert set(palette) == {"ink", "quiet", "good", "bad", "unknown"}
    for name, colour in palette.items():
        light, dark = sorted((luminance(colour), paper), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5, name


@pytest.mark.parametrize(
    ("audit", "shown", "bad"),
    [
        (None, "first audit comes two minutes after the start", False),
        ({"at": 1.0, "verdict": "failed", "why": "no process", "addresses": []}, "could not be made: no process", False),
        ({"at": 1.0, "verdict": "closed", "why": "", "addresses": [AUDITED]}, "closed refused all <169> ways A", False),
        ({"at": 1.0, "verdict": "open", "why": "", "addresses": [{**AUDITED, "verdict": "accepts"}]}, "accepts", True),
    ],
)
def test_the_latest_audit_of_the_relay_by_itself_is_shown(audit: Any, shown: str, bad: bool) -> None:
    page = status_page({**good_status(), "self_audit": audit})
    assert shown in Page(page).shown
    assert ('<strong class="bad">' in page) is bad
