"""Running the application on sockets that the caller has bound."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

from fastapi import FastAPI
from uvicorn import Config, Server


class HttpServer(Server):
    """``await serve(sockets=[…])`` returns after ``should_exit`` was set. It closes the sockets and leaves signals alone."""

    def __init__(self, app: FastAPI) -> None:
        super().__init__(
            Config(
                app,
                loop="none",
                http="h11",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,  # nothing here depends on who asks
                limit_concurrency=64,
                timeout_keep_alive=5,
                timeout_graceful_shutdown=2,
                h11_max_incomplete_event_size=16_384,
            )
        )

    def capture_signals(self) -> AbstractContextManager[None]:  # type: ignore[override]
        """Signals are the supervisor's: uvicorn would replace the handlers of the whole process."""
        return nullcontext()
