"""What holds for every answer, also for errors: security headers, only GET and HEAD, no word about what went wrong inside."""

from __future__ import annotations

import structlog
from starlette.datastructures import MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Guard:
    """ASGI middleware. ``style_source`` is the CSP source of the one style sheet, which is inline."""

    def __init__(self, app: ASGIApp, style_source: str) -> None:
        self._app = app
        self._headers = {
            "content-security-policy": f"default-src 'none'; style-src {style_source}; img-src data:; base-uri 'none'; "
            "form-action 'none'; frame-ancestors 'none'",
            "x-content-type-options": "nosniff",
            "x-frame-options": "DENY",
            "referrer-policy": "no-referrer",
            "cross-origin-opener-policy": "same-origin",
            "cross-origin-resource-policy": "same-origin",
            "permissions-policy": "camera=(), geolocation=(), microphone=()",
            "cache-control": "no-store",
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; whatever else ASGI may carry is not for us."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def guarded(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                MutableHeaders(scope=message).update(self._headers)
            await send(message)

        if scope["method"] not in {"GET", "HEAD"}:
            refusal = PlainTextResponse("Method not allowed\n", 405, {"allow": "GET, HEAD"})
            await refusal(scope, receive, guarded)
            return
        try:
            await self._app(scope, receive, guarded)
        except Exception:
            structlog.get_logger().exception("web.failed", path=scope["path"])
            if started:
                raise
            await PlainTextResponse("Internal error\n", 500)(scope, receive, guarded)
