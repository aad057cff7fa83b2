"""
Expired leases: take over, kill the orphan query, requeue. An operator who knows more may ask for one run at once.

The kill saves work and guards nothing, for the old snapshot key can never be published; so a pass insists on it for
a bounded time, once, and requeues whatever came of it.
"""

from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from uuid import UUID

from structlog.contextvars import bound_contextvars

from worker import audit, clickhouse, errors, log, runs
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


def release(run_id: UUID, *, by: str, now: datetime | None = None) -> bool:
    """
    Give one running run back to the queue, uncharged and due at once, and return whether its queries are gone.

    Its worker may be gone or alive: the fence is raised first, so it can publish nothing any more.

    :param by: the operator whose act it is, for the audit
    :raises RunNotFound: when there is no such run
    :raises NotAllowed: when it is not running, or was taken by a rescuer meanwhile
    """
    with transaction() as connection:
        lost = runs.seize(connection, run_id, seconds=HOLD_SECONDS, now=now)
        audit.note(connection, by, "runs release", run_id, now=now)
    with _bound(lost):
        logger.warning("run_taken_from_worker", worker=lost.worker)
    gone = _kill([lost])
    try:
        with transaction() as connection:
            runs.release(connection, lost, now=now)
    except errors.ClaimLost:
        raise errors.NotAllowed("RUN_RESCUED", "A rescuer took the run over meanwhile.") from None
    return gone


def _bound(lost: runs.Abandoned) -> AbstractContextManager[None]:
    """Say in every log line which run it is about."""
    return bound_contextvars(run_id=str(lost.run_id), fence=lost.fence)


def _kill(abandoned: Sequence[runs.Abandoned]) -> bool:
    """
    Try to stop what the lost workers left running, all at once, and return whether it is known to be gone.

    What a rescuer has tried is not tried again.
    """
    query_ids = {query_id for lost in abandoned if lost.worker != runs.RESCUER for query_id in lost.query_ids}
    try:
        gone = clickhouse.kill(query_ids, seconds=KILL_SECONDS) if query_ids else True
    except errors.AttemptError as error:
        logger.warning("orphans_not_killed", code=error.code)
        return False
    if not gone:
        logger.warning("orphans_still_running")
    return gone


def _requeue(lost: runs.Abandoned, now: datetime | None) -> str:
    """Decide what becomes of the run."""
    policy = configuration.current().retry_policy
    try:
        with _bound(lost), transaction() as connection:
            return runs.set_back(connection, lost, errors.WorkerLost(), policy, now=now)
    except errors.ClaimLost:
        return "lost"
