"""
The ticks: each calls one story and returns its counts.

A tick looks at the state, not at its own call, so a lost one is made up for by the next, and a backlog of them
answers itself: whoever comes within half a period of the last pass returns at once. A pass that takes longer may be
overlapped by the next one; every story bears that.
"""

from collections.abc import Callable
from typing import Any

from worker import announce, daily, figures, loads, log, prune, rescue, settings, tasks, ticked
from worker.app import app
from worker.database import transaction

logger = log.get(__name__)

# Counts of what stands rather than of what a pass did, or of every pass: they alone are no reason for a line in the log.
STANDING = frozenset({"due", "ready", "future", "counted"})


@app.task(name="control.ring")
def ring() -> dict[str, Any]:
    """Ring for whatever is due, and where nobody has been seen lately."""

    def story() -> dict[str, int]:
        rung = tasks.ring_due()
        tasks.ring_silent()
        return rung

    return _tick("ring", settings.current().ring_seconds, story)


@app.task(name="control.queue_daily_runs")
def queue_daily_runs() -> dict[str, Any]:
    """Queue the day's runs of the audiences that are due."""
    counts = _tick("queue_daily_runs", settings.current().queue_seconds, daily.queue_daily_runs)
    if counts.get("queued"):
        tasks.ring_due()
    return counts


@app.task(name="control.watch_data")
def watch_data() -> dict[str, Any]:
    """Mirror the days whose data is complete."""
    return _tick("watch_data", settings.current().watch_seconds, loads.watch)


@app.task(name="control.rescue_announcements")
def rescue_announcements() -> dict[str, Any]:
    """Take back the exports and mails of lost workers."""
    return _tick("rescue_announcements", settings.current().rescue_seconds, announce.rescue)


@app.task(name="control.rescue")
def rescue_lost() -> dict[str, Any]:
    """Give back the runs of lost workers."""
    counts = _tick("rescue", settings.current().rescue_seconds, rescue.rescue)
    if counts.get("retried"):
        tasks.ring_due()
    return counts


@app.task(name="control.count")
def count() -> dict[str, Any]:
    """Bring the totals of /metrics up to date."""
    return _tick("count", settings.current().count_seconds, figures.count)


@app.task(name="control.prune")
def prune_outlived() -> dict[str, Any]:
    """Let go of what has outlived its retention."""
    return _tick("prune", settings.current().prune_seconds, prune.prune)


def _tick(name: str, period_seconds: float, story: Callable[[], dict[str, int]]) -> dict[str, Any]:
    """Call a story, unless somebody else has just done so; a server at fault is a result, not a traceback."""
    return tasks.sheltered(lambda: _passed(name, period_seconds, story))


def _passed(name: str, period_seconds: float, story: Callable[[], dict[str, int]]) -> dict[str, Any]:
    """Take the tick's turn; one that came to nothing is given back, so that its age shows the trouble."""
    with transaction() as connection:
        before = ticked.last(connection, name)
        ours = ticked.take(connection, name, period_seconds=period_seconds)
    if not ours:
        return {"skipped": True}
    try:
        counts = story()
    except Exception:
        with transaction() as connection:
            ticked.give_back(connection, name, before)
        raise
    if any(count for name, count in counts.items() if name not in STANDING):
        logger.info("tick_passed", tick=name, **counts)
    return counts
