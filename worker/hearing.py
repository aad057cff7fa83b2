"""
Whether this worker still hears its bells, and what follows when it does not.

Celery workers were seen that had reconnected to Redis, answered every remote control, a ping included, and took
nothing from their queue any more (docs/decisions/0013-deaf-workers-leave.md). So the parent process looks for itself:
bells that wait while one of its processes is free, look after look, mean that it is deaf. It then leaves as on SIGTERM,
and whoever supervises it starts a new one.
"""

import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from celery import signals
from celery.worker import control, state

from worker import log, settings
from worker.app import app, stopping, waiting

logger = log.get(__name__)

LOOKS: Final = 12
"""So many looks in a row without a sign of hearing make a worker deaf; half as many make it unhealthy."""


@dataclass(slots=True)
class Ear:
    """
    What one worker knows of its own hearing.

    Looks are counted rather than seconds, so that a process that was stopped and wakes up takes no harm.

    :param waits: whether bells wait in its queues; None when Redis does not say
    :param taken: how many bells it has taken so far
    :param busy: whether each of its processes has work, so that bells must wait
    :param every: seconds between two looks
    """

    waits: Callable[[], bool | None]
    taken: Callable[[], int]
    busy: Callable[[], bool]
    every: float
    unheard: int = 0
    before: int = -1

    def look(self) -> None:
        """Count one more look without a sign of hearing, or begin anew."""
        taken = self.taken()
        heard = taken != self.before or self.busy() or not self.waits()
        self.before = taken
        self.unheard = 0 if heard else self.unheard + 1

    def report(self) -> dict[str, Any]:
        """Say how it stands, as it goes over the wire."""
        return {"deaf": self.unheard >= LOOKS // 2, "seconds": round(self.unheard * self.every, 1)}


def listen(ear: Ear, leave: Callable[[], object]) -> None:
    """Look until the worker stops by itself, or is found deaf and has to leave."""
    while ear.unheard < LOOKS:
        time.sleep(ear.every)
        if stopping():
            return
        ear.look()
    logger.error("worker_deaf", seconds=round(ear.unheard * ear.every, 1))
    leave()


def leave() -> None:
    """Stop this process as the platform would: SIGTERM, the grace, then an end without more ado."""
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(settings.current().shutdown_grace_seconds)
    os._exit(1)  # not SIGKILL: the first process of a container gets none from itself


def ask(node: str, *, seconds: float) -> dict[str, Any] | None:
    """
    Ask a worker how it hears, as :meth:`Ear.report` puts it; None when it does not answer.

    :param node: its name, ``daily@host`` for example
    :param seconds: how long to wait for the answer
    """
    replies = app.control.broadcast("hearing", destination=[node], reply=True, timeout=seconds)
    answers = [reply[node] for reply in replies or [] if "deaf" in reply.get(node, {})]
    return answers[0] if answers else None


_ears: list[Ear] = []


@control.inspect_command(name="hearing")
def _hearing(_state: object) -> dict[str, Any]:
    """Answer :func:`ask`."""
    return _ears[0].report() if _ears else {}


@signals.worker_ready.connect
def _listen(sender: Any, **_: object) -> None:
    """Begin to listen; the queues are noted now, because a worker that lost one would no longer name it."""
    queues = list(app.amqp.queues.consume_from)
    ear = Ear(
        waits=lambda: _waits(queues),
        taken=lambda: int(state.all_total_count[0]),
        busy=lambda: len(state.reserved_requests) >= int(sender.pool.num_processes),
        every=settings.current().deaf_seconds / LOOKS,
    )
    _ears[:] = [ear]
    threading.Thread(target=listen, args=(ear, leave), name="hearing", daemon=True).start()


def _waits(queues: Sequence[str]) -> bool | None:
    """Return whether bells wait in one of these queues; None when Redis does not say."""
    counts = [waiting(queue) for queue in queues]
    return None if None in counts else any(counts)
