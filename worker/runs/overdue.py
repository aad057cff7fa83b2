"""Running runs taken from their workers: find them, raise their fence, hold them for whoever gives them back."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, Connection, RowMapping, Select, Uuid, any_, func, literal, select, update

from worker.database import moment
from worker.errors import NotAllowed, RunNotFound
from worker.models import run_attempts, runs
from worker.runs.status import RUNNING

# The name that rescuers claim under.
RESCUER = "rescue"


@dataclass(frozen=True, slots=True)
class Abandoned:
    """A running run as whoever took it from its worker sees it; the seconds are negative where its lease held."""

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
    expired = _running(now).where(runs.c.lease_expires_at < moment(now)).order_by(runs.c.lease_expires_at).limit(limit)
    return _take(connection, expired.with_for_update(skip_locked=True), seconds, now)


def seize(connection: Connection, run_id: UUID, *, seconds: float, now: datetime | None = None) -> Abandoned:
    """
    Take one running run from its worker, whether or not its lease is over, and hold it like a rescuer.

    :param seconds: how long it is held
    :raises RunNotFound: when there is no such run
    :raises NotAllowed: when it is not running
    """
    status = connection.scalar(select(runs.c.status).where(runs.c.id == run_id).with_for_update())
    if status is None:
        raise RunNotFound(f"There is no run {run_id}.")
    if status != "running":
        raise NotAllowed("RUN_NOT_RUNNING", f"Only a running run can be released; this one is {status}.")
    [taken] = _take(connection, _running(now).where(runs.c.id == run_id).with_for_update(), seconds, now)
    return taken


def faltering(connection: Connection, *, seconds: float, now: datetime | None = None) -> Sequence[RowMapping]:
    """
    Return the runs whose workers have let their lease run down, the worst first.

    :param seconds: a lease that ends later than this from now is well
    :returns: ``id``, ``claimed_by``, and ``left``: seconds of the lease, negative once it is over
    """
    left = func.extract("epoch", runs.c.lease_expires_at - moment(now)).label("left")
    query = select(runs.c.id, runs.c.claimed_by, left).where(
        runs.c.status == RUNNING,
        runs.c.lease_expires_at < moment(now) + func.make_interval(0, 0, 0, 0, 0, 0, seconds),
    )
    return connection.execute(query.order_by(runs.c.lease_expires_at)).mappings().all()


def _running(now: datetime | None) -> Select[tuple[Any, ...]]:
    """Select running runs, with who holds them and for how many seconds their lease has been over."""
    overdue = func.extract("epoch", moment(now) - runs.c.lease_expires_at).label("overdue")
    return select(runs.c.id, runs.c.fence, runs.c.claimed_by, overdue).where(runs.c.status == RUNNING)


def _take(
    connection: Connection, chosen: Select[tuple[Any, ...]], seconds: float, now: datetime | None
) -> list[Abandoned]:
    """Raise the fence of the chosen runs, which are locked, and hold them."""
    before = chosen.cte("before")
    taken = connection.execute(
        update(runs)
        .where(runs.c.id == before.c.id, runs.c.fence == before.c.fence, runs.c.status == RUNNING)
        .values(
            fence=runs.c.fence + 1,
            claimed_by=RESCUER,
            lease_expires_at=moment(now) + func.make_interval(0, 0, 0, 0, 0, 0, seconds),
            updated_at=moment(now),
        )
        .returning(
            *(runs.c.id, runs.c.fence, runs.c.attempts, runs.c.failures, runs.c.first_claimed_at),
            *(before.c.claimed_by, before.c.overdue, runs.c.batch),
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
