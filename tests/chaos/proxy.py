"""
A line between programs and one server that can go wrong the way lines do.

It can stop forwarding without closing anything (half-open), cut every connection, and lose the answer to a message:
the COMMIT was carried out, the mail was taken, and whoever asked never hears of it.
"""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Self, TypeVar

from local.process import HOST, free_port

# How a message ends whose answer may be lost: psycopg's COMMIT, and the dot that ends a mail.
COMMIT = b"Q\x00\x00\x00\x0bCOMMIT\x00"
END_OF_DATA = b"\r\n.\r\n"
CHUNK_BYTES = 65_536

Result = TypeVar("Result")


class Line:
    """
    One client's connection and its counterpart to the server.

    ``swallowing`` is set while the answer to a message is waited for in order to be lost, ``asked`` while one is waited
    for at all.
    """

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self.writers = (client, server)
        self.forwarding = asyncio.Event()
        self.forwarding.set()
        self.swallowing = False
        self.asked = False

    def cut(self) -> None:
        """End both connections at once, without a word."""
        self.forwarding.set()
        for writer in self.writers:
            writer.transport.abort()


class Proxy:
    """
    Forwards a port of its own to a server's port, from a thread of its own.

    :param target: the server's port
    :param sign: how a message ends whose answer may be lost
    :param delay: how long the answer to such a message takes, in seconds
    """

    def __init__(self, target: int, *, sign: bytes = b"", delay: float = 0) -> None:
        self.target = target
        self.delay = delay
        # Bound at once, so that no server started meanwhile can get the same port.
        self._socket = socket.create_server((HOST, free_port()))
        self.port = int(self._socket.getsockname()[1])
        self.sign = sign
        self.lost = 0
        self._lines: set[Line] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._to_lose: list[str] = []
        self._deaf = False
        self._loop = asyncio.new_event_loop()
        self._listening = threading.Event()
        self._ended = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name=f"proxy-{target}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._listening.wait(timeout=10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(timeout=10)

    def half_open(self) -> int:
        """Leave the present connections open and forward nothing on them any more; new ones work. Returns how many."""
        return self._call(lambda: len([line.forwarding.clear() for line in self._lines]))

    def deafen(self) -> None:
        """Forward nothing on any connection, new ones included, until :meth:`hear`."""
        self._call(lambda: self._listen(deaf=True))

    def hear(self) -> None:
        """Forward again, what was held back included."""
        self._call(lambda: self._listen(deaf=False))

    def cut(self) -> int:
        """Break the present connections; returns how many."""
        return self._call(lambda: len([line.cut() for line in list(self._lines)]))

    def lose(self, what: str, times: int) -> None:
        """
        Lose the next messages of the sign, or their answers, and break their connections; 0 times calls it off.

        :param what: ``message``, which the server then never sees, or ``answer``
        """
        self._call(lambda: self._to_lose.__setitem__(slice(None), [what] * times))

    def _listen(self, *, deaf: bool) -> None:
        """Set every line, and those to come, to forward or not."""
        self._deaf = deaf
        for line in self._lines:
            (line.forwarding.clear if deaf else line.forwarding.set)()

    def _call(self, act: Callable[[], Result]) -> Result:
        """Do something between two steps of the loop, and return what came of it."""

        async def acted() -> Result:
            return act()

        return asyncio.run_coroutine_threadsafe(acted(), self._loop).result(timeout=10)

    def _run(self) -> None:
        """The thread: serve until the end."""
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        """Accept connections until told to end, then break what is left."""
        server = await asyncio.start_server(self._accepted, sock=self._socket)
        self._listening.set()
        await self._ended.wait()
        server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take one connection on."""
        task = asyncio.get_running_loop().create_task(self._carried(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _carried(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection to its end."""
        try:
            there = await asyncio.open_connection(HOST, self.target)
        except OSError:
            writer.transport.abort()
            return
        line = Line(writer, there[1])
        if self._deaf:
            line.forwarding.clear()
        self._lines.add(line)
        try:
            await _together(self._asked(line, reader, there[1]), self._answered(line, there[0], writer))
        finally:
            line.cut()
            self._lines.discard(line)

    async def _asked(self, line: Line, reader: asyncio.StreamReader, server: asyncio.StreamWriter) -> None:
        """Forward what the client says, losing what is to be lost."""
        tail = b""
        while data := await reader.read(CHUNK_BYTES):
            await line.forwarding.wait()
            tail = (tail + data)[-len(self.sign) :] if self.sign else b""
            line.asked = bool(tail) and tail == self.sign
            if line.asked and self._to_lose:
                self.lost += 1
                if self._to_lose.pop() == "message":
                    return
                line.swallowing = True
            server.write(data)
            await server.drain()

    async def _answered(self, line: Line, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        """Forward what the server says, until an answer is to be lost."""
        while data := await reader.read(CHUNK_BYTES):
            await line.forwarding.wait()
            if line.asked:
                line.asked = False
                await asyncio.sleep(self.delay)
            if line.swallowing:
                return
            client.write(data)
            await client.drain()


async def _together(*pumps: Coroutine[Any, Any, None]) -> None:
    """Run both directions until one of them ends; a broken connection is an end like any other."""
    tasks = [asyncio.ensure_future(pump) for pump in pumps]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError, OSError):
            await asyncio.gather(*tasks, return_exceptions=True)
