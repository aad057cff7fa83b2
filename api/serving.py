"""
Serve two applications from one process until a signal says to stop.

The first signal stops the listening and lets what is under way finish within the grace; the second ends the process
at once. A client gets a bound on the size of a request's head and on the time it takes to send it.
"""

import asyncio
import errno
import logging
import os
import signal
import socket
import sys
import threading
import time
from asyncio import TimerHandle, Transport
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from worker import log, settings
from worker.errors import InvalidSetting

logger = log.get(__name__)

# Of request line and headers together, in bytes.
MOST_HEAD: Final = 32 * 1024
# For a new connection and a request's head, in seconds.
HEAD_SECONDS: Final = 10
# Longer than load balancers keep idle connections, 60 s mostly: who closes first must not be this side.
KEEP_ALIVE_SECONDS: Final = 75
# Between the last request's end and the platform's SIGKILL.
LEAVE_SECONDS: Final = 3


class Protocol(HttpToolsProtocol):
    """HTTP with bounds: the parser itself takes a head of any size, for as long as it may take."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._head_bytes = 0
        self._in_head = True
        self._head_timer: TimerHandle | None = None

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """Expect a request."""
        super().connection_made(transport)
        self._head_timer = self.loop.call_later(HEAD_SECONDS, transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        """Expect nothing more."""
        self._head_done()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take more of a request; refuse one whose head does not end."""
        super().data_received(data)
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MOST_HEAD and not self.transport.is_closing():
                self.send_400_response("The request's headers are too large.")

    def on_message_begin(self) -> None:
        """Begin a request's head."""
        super().on_message_begin()
        self._in_head = True
        self._head_bytes = 0
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; what trails a body is nobody's, and would be kept without bound."""
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """End a request's head."""
        self._in_head = False
        self._head_done()
        if len(self.url) + sum(len(name) + len(value) for name, value in self.headers) > MOST_HEAD:
            raise ValueError("the head is too large")  # the parser turns this into a 400
        super().on_headers_complete()

    def _head_done(self) -> None:
        """Stop the clock."""
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


class Server(uvicorn.Server):
    """A server that leaves the signals to the process."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


def serve(public: ASGIApp, internal: ASGIApp) -> None:
    """
    Serve both until SIGTERM or SIGINT, and return once the last request is over.

    :raises InvalidSetting: naming the variable of an address that cannot be listened on
    """
    current = settings.current()
    sockets = [
        _bound("WEB", current.web_host, current.web_port),
        _bound("INTERNAL", current.internal_host, current.internal_port),
    ]
    grace = int(current.shutdown_grace_seconds) - LEAVE_SECONDS
    outer, inner = Server(_config(public, grace)), Server(_config(internal, 1))
    with asyncio.Runner(loop_factory=outer.config.get_loop_factory()) as runner:
        runner.run(_served(outer, inner, sockets))
    _leave()


async def _served(outer: Server, inner: Server, sockets: list[socket.socket]) -> None:
    """Run both servers; the internal one answers until the public one has ended."""
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, _stop, outer, number)
    logger.info("serving", web_port=sockets[0].getsockname()[1], internal_port=sockets[1].getsockname()[1])
    async with asyncio.TaskGroup() as group:
        group.create_task(inner.serve(sockets[1:]))
        await outer.serve(sockets[:1])
        inner.should_exit = True
    logger.info("served")


def _stop(server: Server, number: int) -> None:
    """Begin to stop; the second time, stop."""
    if server.should_exit:
        os._exit(128 + number)
    server.should_exit = True


def _config(app: ASGIApp, grace: int) -> uvicorn.Config:
    """Build a server's settings; its lines go through our formatter, and none of them shows a path."""
    return uvicorn.Config(
        app,
        http=Protocol,
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # nothing here asks where a request came from
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=grace,
    )


def _bound(name: str, host: str, port: int) -> socket.socket:
    """Take an address before anything else starts."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        why = {errno.EADDRINUSE: "is taken", errno.EACCES: "is not for this user to listen on"}.get(error.errno or 0)
        sentence = f"{name}_PORT {port} {why}" if why else f"{name}_HOST names no address of this machine"
        raise InvalidSetting(sentence) from None


def _leave() -> None:
    """End the process although threads still wait for an answer that nobody will hear."""
    until = time.monotonic() + 1
    others = [thread for thread in threading.enumerate() if thread is not threading.main_thread() and not thread.daemon]
    for thread in others:
        thread.join(max(0.0, until - time.monotonic()))
    cut_short = sum(thread.is_alive() for thread in others)
    if cut_short:
        logger.warning("requests_cut_short", count=cut_short)
        logging.shutdown()
        sys.stderr.flush()
        os._exit(0)
