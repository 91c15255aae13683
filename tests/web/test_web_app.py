from __future__ import annotations

import io
import json
import socket
from collections.abc import Iterator

import pytest
import structlog
from web_helpers import FakeModel, Site, good_status, serving

from postlatch.journal.logs import configure
from postlatch.testing.clock import FakeClock
from postlatch.web.metrics import UnknownMetric
from postlatch.web.model import Check, StatusUnknown
from postlatch.web.page import STYLE_SOURCE

PATHS = ["/", "/healthz", "/readyz", "/metrics"]


@pytest.fixture(scope="module")
def model() -> FakeModel:
    return FakeModel()


@pytest.fixture(scope="module")
def site(model: FakeModel) -> Iterator[Site]:
    with serving(model, patience=0.5) as running:
        yield running


@pytest.fixture(autouse=True)
def _fresh_answers(model: FakeModel) -> Iterator[None]:
    yield
    model.__init__()  # type: ignore[misc]


def test_health_is_200_while_all_is_well_and_names_what_was_checked(site: Site) -> None:
    answer = site.ask("/healthz")
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert json.loads(answer.body) == {
        "schema": "postlatch.health/1",
        "ok": True,
        "checks": [{"name": "desk", "ok": True, "why": ""}, {"name": "database", "ok": True, "why": ""}],
    }


def test_not_ready_is_503_with_the_reason_by_name(site: Site, model: FakeModel) -> None:
    model.ready_answer = [Check("relay", ok=True), Check("store", ok=False, why="The disk is full.")]
    answer = site.ask("/readyz")
    assert answer.status == 503
    body = json.loads(answer.body)
    assert (body["schema"], body["ok"]) == ("postlatch.ready/1", False)
    assert body["checks"][1] == {"name": "store", "ok": False, "why": "The disk is full."}


def test_nothing_checked_is_not_ready(site: Site, model: FakeModel) -> None:
    model.ready_answer = []
    assert site.ask("/readyz").status == 503


@pytest.mark.parametrize("path", PATHS)
def test_a_relay_that_does_not_answer_is_503_with_a_sentence_and_soon(site: Site, model: FakeModel, path: str) -> None:
    model.hangs = True
    answer = site.ask(path)
    assert answer.status == 503
    assert "There was no answer within 0.5 seconds." in answer.body


@pytest.mark.parametrize("path", PATHS)
def test_what_the_model_does_not_know_is_503_with_its_sentence(site: Site, model: FakeModel, path: str) -> None:
    unknown = StatusUnknown("The relay is not running.")
    model.health_answer = model.ready_answer = model.status_answer = model.metrics_answer = unknown
    answer = site.ask(path)
    assert answer.status == 503
    assert "The relay is not running." in answer.body


@pytest.mark.parametrize("path", PATHS)
def test_a_mistake_of_ours_is_500_without_a_word_about_it_and_in_the_log(site: Site, model: FakeModel, path: str) -> None:
    log = io.StringIO()
    configure("json", log, FakeClock())
    mistake = KeyError("a secret detail")
    model.health_answer = model.ready_answer = model.status_answer = model.metrics_answer = mistake
    answer = site.ask(path)
    structlog.reset_defaults()
    assert (answer.status, answer.body) == (500, "Internal error\n")
    assert "content-security-policy" in answer.headers
    (line,) = log.getvalue().splitlines()
    assert (json.loads(line)["event"], json.loads(line)["path"]) == ("web.failed", path)
    assert "a secret detail" in json.loads(line)["exception"]


def test_a_metric_that_is_not_in_the_catalogue_is_not_hidden(site: Site, model: FakeModel) -> None:
    model.metrics_answer = [{"name": "postlatch_new_total", "labels": [], "value": 1}]
    configure("json", io.StringIO(), FakeClock())
    assert site.ask("/metrics").status == 500
    structlog.reset_defaults()
    assert issubclass(UnknownMetric, ValueError)


@pytest.mark.parametrize(
    "path", [*PATHS, "/nothing", "/docs", "/openapi.json", "/redoc", "/healthz/", "//", "/%00", "/../etc/passwd"]
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "OPTIONS"])
def test_every_answer_has_the_security_headers(site: Site, path: str, method: str) -> None:
    headers = site.ask(path, method).headers
    policy = headers["content-security-policy"].split("; ")
    assert policy[:3] == ["default-src 'none'", f"style-src {STYLE_SOURCE}", "img-src data:"]
    assert {"base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"} == set(policy[3:])
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["cache-control"] == "no-store"
    assert "server" not in headers
    assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"])
@pytest.mark.parametrize("path", ["/", "/healthz", "/nothing"])
def test_only_get_and_head_are_answered(site: Site, path: str, method: str) -> None:
    answer = site.ask(path, method, b"x=1")
    assert answer.status == 405
    assert answer.headers["allow"] == "GET, HEAD"


@pytest.mark.parametrize("path", PATHS)
def test_head_is_get_without_a_body(site: Site, path: str) -> None:
    get, head = site.ask(path), site.ask(path, "HEAD")
    assert (head.status, head.body) == (get.status, "")
    assert head.headers["content-type"] == get.headers["content-type"]


@pytest.mark.parametrize(
    "path", ["/docs", "/redoc", "/openapi.json", "/static/x", "/healthz/", "/favicon.ico", "/docs/oauth2-redirect"]
)
def test_there_is_nothing_else(site: Site, path: str) -> None:
    assert site.ask(path).status == 404


def test_a_path_comes_back_in_no_answer(site: Site) -> None:
    assert "evil" not in site.ask("/%3Cscript%3Eevil").body


def test_something_that_is_no_http_is_turned_away_and_the_next_is_served(site: Site) -> None:
    with socket.create_connection(("127.0.0.1", site.port), timeout=5) as raw:
        raw.sendall(b"EHLO x\r\n\r\n")
        assert raw.recv(100).startswith(b"HTTP/1.1 400")
    with socket.create_connection(("127.0.0.1", site.port), timeout=5) as raw:
        raw.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 40_000)
        assert raw.recv(100).startswith(b"HTTP/1.1 4")
    assert site.ask("/healthz").status == 200


def test_the_page_is_served_as_html(site: Site, model: FakeModel) -> None:
    model.status_answer = good_status()
    answer = site.ask("/")
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.body.startswith("<!DOCTYPE html>")


def test_the_metrics_are_served_as_prometheus_text(site: Site, model: FakeModel) -> None:
    model.metrics_answer = [{"name": "postlatch_store_healthy", "labels": [], "value": 1}]
    answer = site.ask("/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert "\npostlatch_store_healthy 1.0\n" in answer.body
