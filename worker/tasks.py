"""The doors: each task calls one story and rings the next bell after its commits."""

from typing import Any

from celery import signals
from structlog.contextvars import bind_contextvars, clear_contextvars

from worker import announce, clickhouse, database, drain, runs, settings, storage, ticked
from worker.app import app, leaving, ring, stopping, worker_name

# A drain that finds the ring tick this late rings itself: the scheduler may be down.
RING_LATE_SECONDS = 30


@app.task(name="runs.drain")
def drain_runs(lane: str) -> dict[str, Any]:
    """Work on a lane's due runs until none is left or the bell's time is over."""
    done = drain.drain(lane, worker_name(), stopping=stopping, leaving=leaving)
    _ring_on(lane, done)
    if done.get("completed"):
        ring("announce", 1)
    return done


@app.task(name="announce.drain")
def drain_announcements() -> dict[str, Any]:
    """Write the exports and send the mails that are due."""
    seconds = settings.current().drain_seconds
    done: dict[str, Any] = announce.announce(worker_name(), seconds=seconds, stopping=stopping)
    _ring_on("announce", done)
    return done


def ring_due() -> dict[str, int]:
    """Ring each queue that has due work, and return the bells sent."""
    bells = settings.current().lane_bells
    with database.transaction() as connection:
        due = runs.due(connection, limit=bells)
    due["announce"] = min(bells, announce.due())
    return {queue: ring(queue, count) for queue, count in due.items() if count}


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
    """Let go of connections that belong to the parent process."""
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
