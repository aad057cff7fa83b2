"""What a failed attempt means for its run: again later, or never."""

import random
from datetime import datetime

from sqlalchemy import Connection, func, select

from worker import backoff
from worker.errors import AttemptError, Retry, WorkerLost
from worker.models import run_attempts
from worker.runs.claim import Claim
from worker.runs.finish import fail, retry, set_apart
from worker.runs.overdue import Abandoned


def set_back(
    connection: Connection,
    held: Claim | Abandoned,
    error: AttemptError,
    policy: backoff.Policy,
    *,
    now: datetime | None = None,
) -> str:
    """
    Queue a run again or give it up, as its error's class and its history say; return ``retried`` or ``failed``.

    A run of a batch is not charged for what may be another's fault: it is tried again alone.

    :raises ClaimLost: when the run is no longer ours
    """
    if held.batch and error.retry is Retry.TRANSIENT:
        set_apart(connection, held, error, now=now)
        return "retried"
    decision = backoff.decide(
        error,
        failures=held.failures + 1,
        charged=held.attempts if error.retry.charged else held.attempts - 1,
        first_claimed_at=held.first_claimed_at,
        now=now or connection.execute(select(func.now())).scalar_one(),
        chance=random.random(),  # noqa: S311 - spreads retries, hides nothing
        policy=policy,
        first_loss=isinstance(error, WorkerLost) and not _lost_before(connection, held),
    )
    if isinstance(decision, backoff.Again):
        retry(connection, held, error, due_at=decision.due_at, charged=decision.charged, now=now)
        return "retried"
    fail(connection, held, decision.error(), charged=decision.charged, cause=error, now=now)
    return "failed"


def _lost_before(connection: Connection, held: Claim | Abandoned) -> bool:
    """Return whether the run has lost a worker before, whatever else went wrong since it was queued."""
    lost = select(run_attempts.c.fence).where(
        run_attempts.c.run_id == held.run_id, run_attempts.c.error_code == WorkerLost.code
    )
    return connection.execute(lost.limit(1)).first() is not None
