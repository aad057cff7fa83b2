"""
What every request passes: an id, one line in the log, headers that keep browsers careful, a bound on its body.

Whatever happens further in, the answer has the form of every answer.
"""

import asyncio
import re
import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bound_contextvars, unbind_contextvars

from api import envelope
from worker import log, settings

logger = log.get(__name__)

REQUEST_ID: Final = re.compile(r"[0-9A-Za-z._-]{8,64}")
MOST_BYTES: Final = 256 * 1024
# How long the rest of too large a body is read and thrown away: a connection that is closed while its client still
# sends is reset, and the answer is lost with it.
LINGER_SECONDS: Final = 5.0
# For a body to arrive, and for a client to take what was sent before more is sent.
BODY_SECONDS: Final = 30.0
READER_SECONDS: Final = 60.0
# The mail programs that follow List-Unsubscribe send a form.
FORMS: Final = "/v1/intent/unsubscribe/"
# No answer was given, because nobody waits for one: the number that proxies write for it.
HUNG_UP: Final = 499
CAREFUL: Final[Mapping[str, str]] = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
TRANSPORT_SECURITY: Final = {"Strict-Transport-Security": "max-age=31536000"}


class Passage:
    """Give each request an id, and say one line about it when it is over."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        secure = settings.current().public_url.startswith("https://")
        self.headers = {**CAREFUL, **(TRANSPORT_SECURITY if secure else {})}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request through."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        unbind_contextvars("caller", "organization_id")  # a pipelined request begins in the context of the one before
        request_id = _request_id(Headers(scope=scope))
        scope.setdefault("state", {})["request_id"] = request_id
        started = time.monotonic()
        answer = Answer(self.headers, scope, receive, send)
        with bound_contextvars(request_id=request_id):
            try:
                await self._through(scope, receive, answer)
            finally:
                route = getattr(scope.get("route"), "path", None)  # the template: paths hold tokens
                elapsed_ms = round((time.monotonic() - started) * 1000)
                logger.info("request", method=scope["method"], route=route, status=answer.status, elapsed_ms=elapsed_ms)

    async def _through(self, scope: Scope, receive: Receive, answer: "Answer") -> None:
        """Let a request further in once its body is known to be one; answer whatever is raised there."""
        request = Request(scope)
        try:
            body = await _body(request.headers, receive)
            refused = _refused(request, body)
            if refused:
                await envelope.problem(request, refused)(scope, receive, answer)
            else:
                await self.app(scope, receive if body is None else _again(body, receive), answer)
        except ClientDisconnect:
            logger.debug("client_hung_up")
        except TooSlow:
            logger.info("reader_stopped")
        except Late:
            late = envelope.problem(request, HTTPStatus.REQUEST_TIMEOUT, headers={"Connection": "close"})
            await late(scope, receive, answer)
        except Exception as error:  # noqa: BLE001 - the last one to ask
            broken = envelope.unforeseen(request, error)
            if answer.status == HUNG_UP:  # else it is cut short, and its client sees that it is
                await broken(scope, receive, answer)


class Late(Exception):
    """A body did not arrive in time."""


class TooSlow(Exception):
    """A client takes nothing of its answer any more: its connection is given up."""


class Answer:
    """
    The way back: the headers of every answer, and the end of a connection whose body is too large.

    :param status: what was answered
    """

    def __init__(self, headers: Mapping[str, str], scope: Scope, receive: Receive, send: Send) -> None:
        self.status = HUNG_UP
        self._headers = headers
        self._scope = scope
        self._receive = receive
        self._send = send

    async def __call__(self, message: Message) -> None:
        """Send a part of the answer."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self._head(MutableHeaders(scope=message))
        last = message["type"] == "http.response.body" and not message.get("more_body", False)
        if last and self.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            await self._send({**message, "more_body": True})
            await self._linger()
            message = {"type": "http.response.body"}
        try:
            async with asyncio.timeout(READER_SECONDS):
                await self._send(message)
        except TimeoutError:
            raise TooSlow from None

    def _head(self, headers: MutableHeaders) -> None:
        """Add the headers of every answer, and those that were left for this one."""
        state: Mapping[str, Any] = self._scope["state"]
        headers["X-Request-Id"] = state["request_id"]
        headers.update(state.get("answer_headers", {}))
        if self.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            headers["Connection"] = "close"
        for name, value in self._headers.items():
            headers.setdefault(name, value)

    async def _linger(self) -> None:
        """Read what a client still sends until it has seen the answer, or time is over."""
        try:
            async with asyncio.timeout(LINGER_SECONDS):
                while (await self._receive()).get("more_body"):
                    pass
        except TimeoutError:
            return


async def _body(headers: Headers, receive: Receive) -> bytes | None:
    """
    Read a body, up to the first byte too many.

    :returns: None where there is none, or where it is not read because it says itself that it is too large
    :raises ClientDisconnect: when its client is gone before its end
    :raises Late: when it takes too long
    """
    length = int(headers.get("content-length", 0))
    if length > MOST_BYTES or not (length or "transfer-encoding" in headers):
        return None
    body, more = b"", True
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while more and len(body) <= MOST_BYTES:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientDisconnect
                body += message.get("body", b"")
                more = message.get("more_body", False)
    except TimeoutError:
        raise Late from None
    return body


def _again(body: bytes, receive: Receive) -> Receive:
    """Hand out a body that was read already, then whatever comes after it."""
    parts = [body]

    async def replay() -> Message:
        return {"type": "http.request", "body": parts.pop()} if parts else await receive()

    return replay


def _refused(request: Request, body: bytes | None) -> int | None:
    """Return the status that a body is refused with, if it is."""
    if int(request.headers.get("content-length", 0)) > MOST_BYTES or len(body or b"") > MOST_BYTES:
        return HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if body and kind != envelope.JSON and not request.url.path.startswith(FORMS):
        return HTTPStatus.UNSUPPORTED_MEDIA_TYPE
    return None


def _request_id(headers: Headers) -> str:
    """Take the caller's request id when it looks like one."""
    given = headers.get("x-request-id", "")
    return given if REQUEST_ID.fullmatch(given) else str(uuid4())
