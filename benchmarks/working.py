"""The daily lane at work: a worker of the Procfile started, a tick, and how long until the last run was completed."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Final

from sqlalchemy import text

from benchmarks.site import Site, awaited
from local.programs import Programs
from worker import daily, loads, settings
from worker.app import ring
from worker.database import transaction
from worker.tasks import ring_due

# How all runs stand, one row.
STANDING: Final = """
SELECT
    count(*) FILTER (WHERE status IN ('queued', 'running')) AS open,
    count(*) FILTER (WHERE status IN ('failed', 'cancelled')) AS lost,
    max(completed_at) AS last
FROM runs
"""
# A worker of the daily lane has looked for work.
HEARD: Final = "SELECT count(*) FROM workers WHERE lane = 'daily'"
CLOCK: Final = "SELECT clock_timestamp()"
PATIENCE: Final = 24 * 3600


@contextmanager
def worker(here: Site) -> Iterator[None]:
    """Start the daily worker, wait until it has heard a bell, and stop it at the end of the block."""
    with Programs(here.folder / "programs", here.environment) as programs:
        programs.start(["worker"])
        awaited(lambda: ring("daily", 1) + _value(HEARD), "A worker that hears its bell", seconds=60)
        awaited(lambda: _value(HEARD), "A worker that hears its bell", seconds=60)
        yield


def served(audiences: int) -> float:
    """
    Queue the daily runs of all due audiences as the tick does, and return the seconds to the last completed one.

    The data is mirrored first, so that an index is missing until the tick.
    """
    loads.watch()
    started: datetime = _value(CLOCK)
    queued = daily.queue_daily_runs()["queued"]
    if queued != audiences:
        sys.exit(f"{queued} of {audiences} runs were queued.")
    ring_due()
    rung = [time.monotonic()]
    stood = awaited(lambda: _done(rung), "The last completed run", seconds=PATIENCE, every=0.1)
    return float((stood["last"] - started).total_seconds())


def _done(rung: list[float]) -> Any:
    """Return how all runs ended, once they have; ring as often as the ring tick does."""
    with transaction() as connection:
        stands = connection.execute(text(STANDING)).mappings().one()
    if stands["lost"]:
        sys.exit(f"{stands['lost']} runs were not completed.")
    if time.monotonic() > rung[-1] + settings.current().ring_seconds:
        rung.append(time.monotonic())
        ring_due()
    return None if stands["open"] else stands


def _value(sql: str) -> Any:
    """Read one value from Postgres."""
    with transaction() as connection:
        return connection.scalar(text(sql))
