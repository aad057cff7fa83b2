"""
Retention: what nobody can ask for any more goes, a little at a time.

A file leaves the storage before the row that knows of it, so a pass that is cut short leaves nothing that nobody
knows. Every step says for itself what may go; the next pass goes on where this one stopped. Result rows are not
touched here: ClickHouse drops them by whole parts.
"""

import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final

from worker import exports, log, presence, runs, settings
from worker.database import transaction

logger = log.get(__name__)

BATCH: Final = 200
PASS_SECONDS: Final = 20
WORKER_DAYS: Final = 30

Step = Callable[[datetime | None], int]
"""Lets a batch go and returns how much; less than :data:`BATCH` says that there is no more."""


def prune(*, now: datetime | None = None) -> dict[str, int]:
    """Let go of what has outlived its retention, for a while, and return the counts."""
    until = time.monotonic() + PASS_SECONDS
    counts = {}
    for name, step in STEPS.items():
        done = step(now)
        counts[name] = done
        while done >= BATCH and time.monotonic() < until:
            done = step(now)
            counts[name] += done
    return counts


def _workers(now: datetime | None) -> int:
    """Forget workers that were not seen for a month."""
    with transaction() as connection:
        return presence.forget(connection, days=WORKER_DAYS, now=now)


def _attempts(now: datetime | None) -> int:
    """Forget what the attempts of old runs were like."""
    days = settings.current().attempt_retention_days
    with transaction() as connection:
        return runs.forget_attempts(connection, days=days, limit=BATCH, now=now)


def _files(now: datetime | None) -> int:
    """Remove the files of exports that are no longer offered."""
    with transaction() as connection:
        expired = exports.expired_files(connection, limit=BATCH, now=now)
    for file in expired:
        exports.clear(file.run_id, file.below)
    with transaction() as connection:
        exports.removed(connection, expired, now=now)
    return len(expired)


def _runs(now: datetime | None) -> int:
    """Remove whatever files old runs have left, and then the runs with all that hangs on them."""
    days = settings.current().run_retention_days
    with transaction() as connection:
        old = runs.outlived(connection, days=days, limit=BATCH, now=now)
    for run_id, has_file in old:
        if has_file:
            exports.clear(run_id)
    with transaction() as connection:
        return runs.forget(connection, [run_id for run_id, _ in old], days=days, now=now)


# What needs the storage comes last: it may not answer.
STEPS: Final[Mapping[str, Step]] = {"workers": _workers, "attempts": _attempts, "files": _files, "runs": _runs}
