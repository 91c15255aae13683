"""The HTTP application: four pages, all of them read only."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from fastapi import FastAPI, Response
from fastapi.responses import HTMLResponse, JSONResponse

from postlatch.web.guard import Guard
from postlatch.web.metrics import CONTENT_TYPE, exposition
from postlatch.web.model import Check, StatusModel, StatusUnknown
from postlatch.web.page import STYLE_SOURCE, status_page, unknown_page

PATIENCE = 2.0  # seconds that a page waits for the relay
_READ = ["GET", "HEAD"]

T = TypeVar("T")


def build_app(model: StatusModel, *, patience: float = PATIENCE) -> FastAPI:
    """The application over ``model``. ``patience`` in seconds."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    app.add_middleware(Guard, style_source=STYLE_SOURCE)

    async def asked(question: Callable[[], Awaitable[T]]) -> T:
        try:
            async with asyncio.timeout(patience):
                return await question()
        except TimeoutError:
            raise StatusUnknown(f"There was no answer within {patience:g} seconds.") from None

    async def checked(schema: str, question: Callable[[], Awaitable[list[Check]]]) -> Response:
        try:
            checks = await asked(question)
        except StatusUnknown as unknown:
            checks = [Check("answer", ok=False, why=str(unknown))]
        return _checks(schema, checks)

    @app.api_route("/healthz", methods=_READ)
    async def healthz() -> Response:
        return await checked("postlatch.health/1", model.health)

    @app.api_route("/readyz", methods=_READ)
    async def readyz() -> Response:
        return await checked("postlatch.ready/1", model.ready)

    @app.api_route("/metrics", methods=_READ)
    async def metrics() -> Response:
        try:
            return Response(exposition(await asked(model.metrics)), media_type=CONTENT_TYPE)
        except StatusUnknown as unknown:
            return Response(f"{unknown}\n", 503, media_type="text/plain")

    @app.api_route("/", methods=_READ)
    async def page() -> Response:
        try:
            return HTMLResponse(status_page(await asked(model.status)))
        except StatusUnknown as unknown:
            return HTMLResponse(unknown_page(str(unknown)), 503)

    return app


def _checks(schema: str, checks: list[Check]) -> Response:
    """200 if all is well, else 503. Nothing checked is not well."""
    ok = bool(checks) and all(check.ok for check in checks)
    body = {"schema": schema, "ok": ok, "checks": [check._asdict() for check in checks]}
    return JSONResponse(body, 200 if ok else 503)
