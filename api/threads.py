"""
Threads set apart for what waits on ClickHouse or the storage.

A deaf one of those holds its threads for as long as anybody is patient; whoever queues, lists or cancels works in the
others.
"""

from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial, wraps
from typing import Any, Final

from anyio import CapacityLimiter, to_thread
from anyio.lowlevel import RunVar
from starlette.responses import Response

from worker import settings

_LIMITER: Final[RunVar[CapacityLimiter]] = RunVar("api_threads_apart")


def share() -> None:
    """Divide WEB_THREADS of this event loop: one half apart, the other for everything else."""
    whole = settings.current().web_threads
    to_thread.current_default_thread_limiter().total_tokens = max(1, whole - whole // 2)
    _LIMITER.set(CapacityLimiter(max(1, whole // 2)))


def apart(endpoint: Callable[..., Response]) -> Callable[..., Any]:
    """Let an endpoint work in the threads set apart; requests that find none wait without holding one."""

    @wraps(endpoint)
    async def answered(*arguments: Any, **named: Any) -> Response:
        return await to_thread.run_sync(partial(endpoint, *arguments, **named), limiter=_LIMITER.get())

    return answered


async def drawn(chunks: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Yield chunks, each drawn in a thread set apart; none is held while a client takes its time."""
    while (chunk := await to_thread.run_sync(next, chunks, None, limiter=_LIMITER.get())) is not None:
        yield chunk
