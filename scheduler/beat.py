"""
The timetable.

Beat is a metronome: it says when, and each tick looks for itself what is due. Two beats are harmless. Start it with
``celery -A scheduler.beat beat``.
"""

import time
from datetime import UTC, datetime
from typing import Any

from celery.schedules import schedule

from scheduler import ticks
from worker import settings
from worker.app import app

__all__ = ["app"]


def steady() -> datetime:
    """Return a time that nobody can set, of no date: by the wall's, beat is silent for as long as it was set back."""
    return datetime.fromtimestamp(time.monotonic(), UTC)


@app.on_after_finalize.connect
def _timetable(sender: Any, **_: object) -> None:
    """Enter each tick with its period."""
    current = settings.current()
    periods = {
        ticks.ring: current.ring_seconds,
        ticks.queue_daily_runs: current.queue_seconds,
        ticks.watch_data: current.watch_seconds,
        ticks.rescue_lost: current.rescue_seconds,
        ticks.rescue_announcements: current.rescue_seconds,
        ticks.count: current.count_seconds,
        ticks.prune_outlived: current.prune_seconds,
    }
    for tick, seconds in periods.items():
        sender.add_periodic_task(schedule(seconds, nowfun=steady, app=sender), tick.s(), name=tick.name)
