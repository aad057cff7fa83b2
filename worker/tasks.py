"""The doors: each task calls one story and rings the next bell after its commits."""

import signal
from collections.abc import Callable
from typing import Any

from celery import signals
from sqlalchemy.exc import SQLAlchemyError
from structlog.contextvars import bind_contextvars, clear_contextvars

from worker import announce, clickhouse, database, drain, indexing, log, presence, runs, settings, storage, ticked
from worker.app import QUEUES, app, leaving, ring, stopping, worker_name
from worker.errors import AttemptError

logger = log.get(__name__)

# A drain that finds the ring tick this late rings itself: the scheduler may be down.
RING_LATE_SECONDS = 30
# A lane that nobody was seen to serve for this long is rung for even though nothing is due.
SILENT_SECONDS = 60


@app.task(name="runs.drain")
def drain_runs(lane: str) -> dict[str, Any]:
    """Work on a lane's due runs until none is left or the bell's time is over."""

    def story() -> dict[str, Any]:
        done = drain.drain(lane, worker_name(), stopping=stopping, leaving=leaving)
        _ring_on(lane, done)
        if done.get("completed"):
            ring("announce", 1)
        return done

    return sheltered(story)


@app.task(name="announce.drain")
def drain_announcements() -> dict[str, Any]:
    """Write the exports and send the mails that are due."""

    def story() -> dict[str, Any]:
        done: dict[str, Any] = announce.announce(
            worker_name(), seconds=settings.current().drain_seconds, stopping=stopping
        )
        _ring_on("announce", done)
        return done

    return sheltered(story)


def sheltered(story: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Call a story; a server at fault is a result of one word, not a traceback with its address in it."""
    try:
        return story()
    except AttemptError as error:
        broken = error.code
    except SQLAlchemyError as error:
        broken = type(error).__name__
    logger.warning("server_at_fault", code=broken)
    return {"broken": broken}


def ring_due() -> dict[str, int]:
    """Ring each queue that has due work, and return the bells sent."""
    bells = settings.current().lane_bells
    with database.transaction() as connection:
        due = runs.due(connection, limit=bells)
    due["announce"] = min(bells, announce.due())
    if indexing.wanted():
        due["daily"] = max(1, due["daily"])
    return {queue: ring(queue, count) for queue, count in due.items() if count}


def ring_silent() -> None:
    """Ring once for each queue that nobody was seen to serve lately: a bell that waits shows who is deaf."""
    with database.transaction() as connection:
        seen = {worker["lane"] for worker in presence.alive(connection, within_seconds=SILENT_SECONDS)}
    for queue in set(QUEUES) - {"control"} - seen:
        ring(queue, 1)


def _ring_on(queue: str, done: dict[str, Any]) -> None:
    """Ring for what a drain had no time for, and for everybody when the scheduler has fallen silent."""
    if done.get("more") and not stopping():
        ring(queue, 1)
    with database.transaction() as connection:
        silent = ticked.take(connection, "ring", period_seconds=2 * RING_LATE_SECONDS)
    if silent:
        ring_due()


@signals.worker_process_init.connect
def _forget_inherited(**_: object) -> None:
    """Let go of the parent's connections, and leave SIGTERM to it: a signal to the whole group must not cut a run short."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    database.forget()
    clickhouse.forget()
    storage.forget()


@signals.task_prerun.connect
def _bind(task_id: str, task: Any, **_: object) -> None:
    """Say in every line which task it comes from."""
    clear_contextvars()
    bind_contextvars(task=task.name, task_id=task_id)


@signals.task_postrun.connect
def _unbind(**_: object) -> None:
    """Forget what was bound for the task."""
    clear_contextvars()
