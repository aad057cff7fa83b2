"""
Lead completed runs from one snapshot to another, and tell which runs may still publish what they have read.

The status stays; what a run shows becomes less by those who were taken out.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import ARRAY, ColumnElement, Connection, Uuid, any_, literal, select, update

from worker.database import moment
from worker.models import run_attempts, runs
from worker.runs.status import COMPLETED, PREVIEW, RUNNING


def under_way(connection: Connection) -> Mapping[tuple[UUID, int], Sequence[str]]:
    """Return the running runs by id and fence, each with the query ids of its open attempt."""
    query = select(runs.c.id, runs.c.fence, run_attempts.c.query_ids).outerjoin(
        run_attempts, (run_attempts.c.run_id == runs.c.id) & run_attempts.c.outcome.is_(None)
    )
    rows = connection.execute(query.where(runs.c.status == RUNNING))
    return {(row.id, row.fence): row.query_ids or () for row in rows}


def showing(connection: Connection, keys: Sequence[UUID], *, now: datetime | None = None) -> set[UUID]:
    """Return those of these snapshot keys that somebody may still read by a run."""
    query = select(runs.c.snapshot_key).where(*_shows(keys), runs.c.results_expire_at > moment(now))
    return set(connection.scalars(query))


def republish(
    connection: Connection, old_key: UUID, new_key: UUID, *, gone: int, now: datetime | None = None
) -> Sequence[UUID]:
    """
    Lead every run that shows one snapshot to another, and return their ids.

    :param gone: how many people the new one has fewer; who was a result was a candidate too
    """
    fewer = {name: runs.c[name] - gone for name in ("candidate_count", "result_count")}
    led = update(runs).where(*_shows([old_key])).values(snapshot_key=new_key, updated_at=moment(now), **fewer)
    return connection.scalars(led.returning(runs.c.id)).all()


def expire_previews(connection: Connection, keys: Sequence[UUID], *, now: datetime | None = None) -> None:
    """End the results of previews that show one of these snapshots: of their first rows none could be made up for."""
    over = update(runs).where(*_shows(keys), runs.c.run_type == PREVIEW, runs.c.results_expire_at > moment(now))
    connection.execute(over.values(results_expire_at=moment(now), updated_at=moment(now)))


def _shows(keys: Sequence[UUID]) -> tuple[ColumnElement[bool], ...]:
    """Match the runs that show one of these snapshots."""
    return runs.c.status == COMPLETED, runs.c.snapshot_key == any_(literal(list(keys), ARRAY(Uuid)))
