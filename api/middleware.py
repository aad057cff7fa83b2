"""What every request passes: an id, one line in the log, headers that keep browsers careful, a bound on its body."""

import re
import time
from collections.abc import Mapping
from typing import Final
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bound_contextvars

from worker import log

logger = log.get(__name__)

REQUEST_ID: Final = re.compile(r"[0-9A-Za-z._-]{8,64}")
CAREFUL: Final[Mapping[str, str]] = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Passage:
    """Give each request an id, and say one line about it when it is over."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request through."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = _request_id(Headers(scope=scope))
        scope.setdefault("state", {})["request_id"] = request_id
        started, status = time.monotonic(), 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-Id"] = request_id
                for name, value in CAREFUL.items():
                    headers.setdefault(name, value)
            await send(message)

        with bound_contextvars(request_id=request_id):
            try:
                await self.app(scope, receive, answer)
            finally:
                route = getattr(scope.get("route"), "path", None)  # the template: paths hold tokens
                elapsed_ms = round((time.monotonic() - started) * 1000)
                logger.info("request", method=scope["method"], route=route, status=status, elapsed_ms=elapsed_ms)


def _request_id(headers: Headers) -> str:
    """Take the caller's request id when it looks like one."""
    given = headers.get("x-request-id", "")
    return given if REQUEST_ID.fullmatch(given) else str(uuid4())
