"""A web server on loopback that answers as an index, as OSV, or as it likes."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from postlatch.app.fetch import HttpFetcher
from postlatch.testing.dns import FakeResolver


class Page(NamedTuple):
    """What is answered at a path. ``late``: never."""

    body: bytes = b""
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    late: bool = False


class Site:
    """``pages`` by path; ``asked`` are the requests that came, with their bodies."""

    def __init__(self, server: ThreadingHTTPServer) -> None:
        self.pages: dict[str, Page] = {}
        self.asked: list[tuple[str, str, bytes]] = []
        self.closing = threading.Event()
        self.url = f"http://127.0.0.1:{server.server_address[1]}"

    def json(self, path: str, value: Any) -> None:
        self.pages[path] = Page(json.dumps(value).encode())

    def clear(self) -> None:
        self.pages.clear()
        self.asked.clear()


@contextmanager
def served() -> Iterator[Site]:
    """One for a module of tests."""
    sites: list[Site] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            self._answer()

        def _answer(self) -> None:
            site = sites[0]
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            site.asked.append((self.command, self.path, body))
            page = site.pages.get(self.path, Page(b"nothing here", 404))
            if page.late:
                site.closing.wait(10)
                return
            self.send_response(page.status)
            for name, value in page.headers:
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(page.body)))
            self.end_headers()
            try:
                self.wfile.write(page.body)
            except OSError:
                return

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
            """Nothing is printed."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    sites.append(Site(server))
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield sites[0]
    finally:
        sites[0].closing.set()
        server.shutdown()
        server.server_close()
        thread.join()


def fetcher() -> HttpFetcher:
    """The real one."""
    return HttpFetcher(FakeResolver({}))


LIES = {
    "large": Page(b"[" + b" " * 10_000_000 + b"]"),
    "nested": Page(b"[" * 500_000),
    "no JSON": Page(b"<html>Welcome to our portal</html>"),
    "another form": Page(b'{"results": 7, "files": {}, "name": []}'),
    "a list": Page(b"[1, 2, 3]"),
    "a redirect": Page(b"", 302, (("Location", "http://127.0.0.1:1/"),)),
    "an error": Page(b"oh", 500),
    "octets": Page(bytes(range(256))),
    "a number without end": Page(b"9" * 100_000),
}
