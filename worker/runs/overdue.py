"""Running runs whose lease is over: find them, raise their fence, hold them for the rescuer."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import ARRAY, CTE, Connection, Uuid, any_, func, literal, select, update

from worker.database import moment
from worker.models import run_attempts, runs
from worker.runs.status import RUNNING

# The name that rescuers claim under.
RESCUER = "rescue"


@dataclass(frozen=True, slots=True)
class Abandoned:
    """A running run whose lease is over, as the rescuer that took it sees it."""

    run_id: UUID
    fence: int
    attempts: int
    failures: int
    first_claimed_at: datetime
    query_ids: Sequence[str]
    worker: str
    overdue_seconds: float
    batch: UUID | None


def take_over(connection: Connection, *, limit: int, seconds: float, now: datetime | None = None) -> list[Abandoned]:
    """
    Raise the fence of running runs whose lease is over, and hold them for the rescuer.

    :param limit: most runs taken in one pass
    :param seconds: how long the rescuer holds them
    """
    expired = _expired(limit, now)
    taken = connection.execute(
        update(runs)
        .where(runs.c.id == expired.c.id, runs.c.fence == expired.c.fence, runs.c.status == RUNNING)
        .values(
            fence=runs.c.fence + 1,
            claimed_by=RESCUER,
            lease_expires_at=moment(now) + func.make_interval(0, 0, 0, 0, 0, 0, seconds),
            updated_at=moment(now),
        )
        .returning(
            *(runs.c.id, runs.c.fence, runs.c.attempts, runs.c.failures, runs.c.first_claimed_at),
            *(expired.c.claimed_by, expired.c.overdue, runs.c.batch),
        )
    ).all()
    ids = _query_ids(connection, [row.id for row in taken])
    return [
        Abandoned(
            *(row.id, row.fence, row.attempts, row.failures, row.first_claimed_at),
            query_ids=ids.get(row.id, ()),
            worker=row[5],
            overdue_seconds=float(row.overdue),
            batch=row.batch,
        )
        for row in taken
    ]


def _expired(limit: int, now: datetime | None) -> CTE:
    """Lock the running runs whose lease is over, the longest overdue first, and who held them."""
    overdue = func.extract("epoch", moment(now) - runs.c.lease_expires_at).label("overdue")
    return (
        select(runs.c.id, runs.c.fence, runs.c.claimed_by, overdue)
        .where(runs.c.status == RUNNING, runs.c.lease_expires_at < moment(now))
        .order_by(runs.c.lease_expires_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte("expired")
    )


def _query_ids(connection: Connection, run_ids: Sequence[UUID]) -> dict[UUID, list[str]]:
    """Collect the query ids of the attempts that never ended."""
    rows = connection.execute(
        select(run_attempts.c.run_id, run_attempts.c.query_ids).where(
            run_attempts.c.run_id == any_(literal(list(run_ids), ARRAY(Uuid))), run_attempts.c.outcome.is_(None)
        )
    )
    found: dict[UUID, list[str]] = {}
    for run_id, ids in rows:
        found.setdefault(run_id, []).extend(ids)
    return found
