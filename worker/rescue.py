"""
Expired leases: take over, kill the orphan query, requeue.

The kill saves work and guards nothing, for the old snapshot key can never be published; so a pass insists on it for
a bounded time, once, and requeues whatever came of it.
"""

from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import datetime

from structlog.contextvars import bound_contextvars

from worker import clickhouse, errors, log, runs
from worker import settings as configuration
from worker.database import transaction

logger = log.get(__name__)

MOST_A_PASS = 200
KILL_SECONDS = 20
# A rescuer may be lost as well: what it has taken is held for little longer than it insists on the kill.
HOLD_SECONDS = 30


def rescue(*, now: datetime | None = None) -> dict[str, int]:
    """Give every run whose lease is over back to the queue, or up, and return the counts."""
    with transaction() as connection:
        abandoned = runs.take_over(connection, limit=MOST_A_PASS, seconds=HOLD_SECONDS, now=now)
    for lost in abandoned:
        with _bound(lost):
            logger.warning("run_rescued", worker=lost.worker, lease_over_seconds=round(lost.overdue_seconds, 1))
    _kill(abandoned)
    outcomes = Counter(_requeue(lost, now) for lost in abandoned)
    return {outcome: outcomes[outcome] for outcome in ("retried", "failed", "lost")}


def _bound(lost: runs.Abandoned) -> AbstractContextManager[None]:
    """Say in every log line which run it is about."""
    return bound_contextvars(run_id=str(lost.run_id), fence=lost.fence)


def _kill(abandoned: Sequence[runs.Abandoned]) -> None:
    """Try to stop what the lost workers left running, all at once; what a rescuer has tried is not tried again."""
    query_ids = {query_id for lost in abandoned if lost.worker != runs.RESCUER for query_id in lost.query_ids}
    try:
        gone = clickhouse.kill(query_ids, seconds=KILL_SECONDS) if query_ids else True
    except errors.AttemptError as error:
        logger.warning("orphans_not_killed", code=error.code)
        return
    if not gone:
        logger.warning("orphans_still_running")


def _requeue(lost: runs.Abandoned, now: datetime | None) -> str:
    """Decide what becomes of the run."""
    policy = configuration.current().retry_policy
    try:
        with _bound(lost), transaction() as connection:
            return runs.set_back(connection, lost, errors.WorkerLost(), policy, now=now)
    except errors.ClaimLost:
        return "lost"
