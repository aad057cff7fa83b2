"""
Expired leases: take over, kill the orphan query, requeue.

Nobody waits for the kill: the old snapshot key can never be published, so it saves work and guards nothing.
"""

from datetime import datetime

from structlog.contextvars import bound_contextvars

from worker import clickhouse, errors, log, runs
from worker import settings as configuration
from worker.database import transaction

logger = log.get(__name__)

MOST_A_PASS = 50
HOLD_SECONDS = 60
KILL_SECONDS = 20


def rescue(*, now: datetime | None = None) -> dict[str, int]:
    """Give every run whose lease is over back to the queue, or up, and return the counts."""
    with transaction() as connection:
        abandoned = runs.take_over(connection, limit=MOST_A_PASS, seconds=HOLD_SECONDS, now=now)
    counts = {"retried": 0, "failed": 0, "lost": 0}
    for lost in abandoned:
        with bound_contextvars(run_id=str(lost.run_id), fence=lost.fence):
            logger.warning("run_rescued", worker=lost.worker, lease_over_seconds=lost.overdue_seconds)
            _kill(lost)
            counts[_requeue(lost, now)] += 1
    return counts


def _kill(lost: runs.Abandoned) -> None:
    """Try to stop what the lost worker left running."""
    try:
        gone = clickhouse.kill(lost.query_ids, seconds=KILL_SECONDS) if lost.query_ids else True
    except errors.AttemptError as error:
        logger.warning("orphan_not_killed", code=error.code)
        return
    if not gone:
        logger.warning("orphan_still_running")


def _requeue(lost: runs.Abandoned, now: datetime | None) -> str:
    """Decide what becomes of the run."""
    policy = configuration.current().retry_policy
    try:
        with transaction() as connection:
            return runs.set_back(connection, lost, errors.WorkerLost(), policy, now=now)
    except errors.ClaimLost:
        return "lost"
