"""Ask a server that may be deaf: one question at a time, however many want to know, and nobody waits for long."""

import asyncio
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from anyio import CapacityLimiter, to_thread

Answer = TypeVar("Answer")


class Once(Generic[Answer]):
    """
    One question, asked in a thread of its own, whose answer serves all who ask meanwhile and shortly after.

    A deaf server holds one thread and no more. The threads that requests work in are not touched, so the answer
    comes while all of those are busy, too.

    :param ask: the question; what it raises is raised to whoever waits
    :param fresh_seconds: how long an answer serves
    """

    def __init__(self, ask: Callable[[], Answer], *, fresh_seconds: float) -> None:
        self._ask = ask
        self._fresh_seconds = fresh_seconds
        self._asked: asyncio.Task[Answer] | None = None
        self._answered_at = 0.0

    async def answer(self, *, seconds: float) -> Answer | None:
        """
        Return the answer; None when there is none yet.

        :param seconds: how long to wait for it
        """
        if self._asked is None or (self._asked.done() and time.monotonic() - self._answered_at > self._fresh_seconds):
            self._asked = asyncio.create_task(self._run())
        asked = self._asked
        await asyncio.wait({asked}, timeout=seconds)
        return asked.result() if asked.done() else None

    async def _run(self) -> Answer:
        """Ask, and note when the answer came."""
        try:
            return await to_thread.run_sync(self._ask, limiter=CapacityLimiter(1))
        finally:
            self._answered_at = time.monotonic()
