"""
Ctrl-C and SIGTERM between two steps, not in the middle of one.

The exception that such a signal becomes can be raised anywhere. Between the taking of a lock and its ``with`` it leaves
the lock taken for ever, in a finalizer it is dropped: urllib3, which keeps its connections in a ``queue.Queue``, then
waits for itself, or goes on as if nothing had been said.
"""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

STOPPING: Final = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def held() -> Iterator[Callable[[], None]]:
    """
    Hold back what asks this process to stop; what is yielded lets it in, and so does the end.

    A second request does not wait. For the main thread alone, whose handlers these are.

    :raises KeyboardInterrupt: when a request is let in
    """
    came: list[int] = []

    def note(number: int, _: object) -> None:
        if came:
            raise KeyboardInterrupt
        came.append(number)

    def let_in() -> None:
        if came:
            raise KeyboardInterrupt

    # What this process was started to ignore stays ignored.
    heard = [number for number in STOPPING if callable(signal.getsignal(number))]
    before = {number: signal.signal(number, note) for number in heard}
    try:
        yield let_in
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    let_in()
