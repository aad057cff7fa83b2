"""
The heartbeat that renews a claim while others work.

It knows nothing of runs: it is handed what renews and what to do when the claim is lost. Time is the process's
monotonic clock, so a wall clock that jumps neither loses nor prolongs a lease.
"""

import contextvars
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy import Connection

from worker import log
from worker.database import OUTAGES, transaction
from worker.errors import ClaimLost, WorkerLeaving

logger = log.get(__name__)


POLL_SECONDS = 1.0
# Between two attempts to hand work back to a PostgreSQL that does not listen.
AGAIN_SECONDS = 0.5

Handed = TypeVar("Handed")


class Held:
    """
    A claim being renewed in the background.

    :param seconds: how long an unconfirmed claim holds
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._until = time.monotonic() + seconds
        self._lost = threading.Event()
        self._leaving = threading.Event()

    @property
    def leaving(self) -> bool:
        """Whether the worker is going away and the work must be handed back."""
        return self._leaving.is_set()

    def leave(self) -> None:
        """Note that there is no time left."""
        self._leaving.set()

    @property
    def lost(self) -> bool:
        """Whether somebody else may hold the claim by now; true in time even while a renewal hangs."""
        return self._lost.is_set() or time.monotonic() > self._until

    def lose(self) -> None:
        """Note that the claim is gone."""
        self._lost.set()

    def confirm(self, asked: float) -> None:
        """Note that a renewal asked for at this monotonic second was granted."""
        self._until = asked + self._seconds

    def check(self) -> None:
        """
        Go on only while the claim holds and there is time.

        :raises ClaimLost: when somebody else may hold it
        :raises WorkerLeaving: when the work must be handed back
        """
        if self.lost:
            raise ClaimLost
        if self.leaving:
            raise WorkerLeaving


@contextmanager
def kept(
    renew: Callable[[], bool],
    *,
    seconds: float,
    margin: float,
    leaving: Callable[[], bool] = lambda: False,
    on_end: Callable[[], object] = lambda: None,
) -> Iterator[Held]:
    """
    Renew a claim every third of its lease until the block ends.

    :param renew: extends the lease; False when the claim was refused, an exception when nobody answered
    :param seconds: length of the lease
    :param margin: an unconfirmed claim counts as lost this long before its end
    :param leaving: asked every second; True when the worker goes away before the work can end
    :param on_end: called once from the heartbeat's thread when the claim is lost or the worker leaves, to stop what
        must not go on
    """
    held, stop = Held(seconds - margin), threading.Event()
    heartbeat = _Heartbeat(held, stop, renew, seconds, leaving, on_end)
    thread = threading.Thread(
        target=contextvars.copy_context().run, args=(heartbeat.run,), name="heartbeat", daemon=True
    )
    thread.start()
    try:
        yield held
    finally:
        stop.set()
        thread.join()


@dataclass(frozen=True, slots=True)
class _Heartbeat:
    """The thread's side of a kept claim."""

    held: Held
    stop: threading.Event
    renew: Callable[[], bool]
    seconds: float
    leaving: Callable[[], bool]
    on_end: Callable[[], object]

    def run(self) -> None:
        """Renew until told to stop, refused, unheard for too long, or out of time."""
        due = time.monotonic() + self.seconds / 3
        while not self.stop.wait(min(POLL_SECONDS, self.seconds / 12)):
            if self.leaving():
                self.held.leave()
                return self._end()
            asked = time.monotonic()
            if asked < due:
                continue
            answer = self._ask()
            if answer is True:
                self.held.confirm(asked)
                due = asked + self.seconds / 3
            elif answer is False or self.held.lost:
                logger.warning("claim_lost", refused=answer is False)
                self.held.lose()
                return self._end()
        return None

    def _ask(self) -> bool | None:
        """Renew once; None when nobody answered."""
        try:
            return self.renew()
        except Exception as error:  # noqa: BLE001 - whatever kept the renewal from being confirmed, the lease runs on
            # A driver's text carries addresses.
            logger.warning("renewal_unconfirmed", error=type(error).__name__)
            return None

    def _end(self) -> None:
        """Stop what must not go on."""
        try:
            self.on_end()
        except Exception as error:  # noqa: BLE001 - a thread that breaks here would say so to nobody
            logger.warning("work_not_stopped", error=type(error).__name__)


def insisted(held: Held, hand_back: Callable[[Connection], Handed]) -> Handed:
    """
    Write down what became of the work as soon as PostgreSQL listens, while the claim holds.

    Whoever gave up at once would leave it to the end of the lease and a rescuer, who knows less.
    """
    while True:
        try:
            with transaction() as connection:
                return hand_back(connection)
        except OUTAGES as error:
            if held.lost:
                raise
            # Its text carries addresses.
            logger.warning("hand_back_unanswered", error=type(error).__name__)
        time.sleep(AGAIN_SECONDS)
