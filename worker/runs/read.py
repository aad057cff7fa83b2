"""Look at runs; nothing here changes one."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ARRAY, Connection, RowMapping, Uuid, any_, func, literal, select

from worker.database import moment
from worker.errors import RunNotFound
from worker.models import organization_limits, run_attempts, runs
from worker.runs.status import QUEUED, RUNNING

# Up to 64 KiB each, which no list shows.
BUT_CONFIG: Final = tuple(column for column in runs.c if column.name != "config")


def get(
    connection: Connection, run_id: UUID, organization_id: UUID | None = None, audience_id: UUID | None = None
) -> RowMapping:
    """
    Return one run.

    :param organization_id: the only organization to look in; None for an operator
    :param audience_id: the only audience to look in
    :raises RunNotFound: when there is no such run
    """
    query = select(runs).where(runs.c.id == run_id)
    if organization_id is not None:
        query = query.where(runs.c.organization_id == organization_id)
    if audience_id is not None:
        query = query.where(runs.c.audience_id == audience_id)
    row = connection.execute(query).mappings().one_or_none()
    if row is None:
        raise RunNotFound(f"There is no run {run_id}.")
    return row


def latest(
    connection: Connection,
    *,
    organization_id: UUID | None = None,
    audience_id: UUID | None = None,
    status: str | None = None,
    held: bool = False,
    limit: int = 25,
) -> Sequence[RowMapping]:
    """
    Return runs without their configs, newest first, narrowed by what is given.

    :param held: only those that are held back
    """
    query = select(*BUT_CONFIG).order_by(runs.c.created_at.desc(), runs.c.id).limit(limit)
    if held:
        query = query.where(runs.c.held)
    narrowed: dict[Any, object] = {
        runs.c.organization_id: organization_id,
        runs.c.audience_id: audience_id,
        runs.c.status: status,
    }
    for column, value in narrowed.items():
        if value is not None:
            query = query.where(column == value)
    return connection.execute(query).mappings().all()


def attempts(connection: Connection, run_id: UUID) -> Sequence[RowMapping]:
    """Return a run's attempts, oldest first."""
    query = select(run_attempts).where(run_attempts.c.run_id == run_id).order_by(run_attempts.c.fence)
    return connection.execute(query).mappings().all()


def in_flight(connection: Connection, *, audience_id: UUID | None = None) -> Sequence[UUID]:
    """Return the ids of the runs that are queued or running, oldest first; of one audience or of all."""
    query = select(runs.c.id).where(runs.c.status.in_((QUEUED, RUNNING))).order_by(runs.c.created_at, runs.c.id)
    if audience_id is not None:
        query = query.where(runs.c.audience_id == audience_id)
    return connection.scalars(query).all()


def progress(connection: Connection, run_ids: Sequence[UUID]) -> Sequence[RowMapping]:
    """Return how these runs stand, without their configs, oldest first."""
    query = (
        select(*BUT_CONFIG)
        .where(runs.c.id == any_(literal(list(run_ids), ARRAY(Uuid))))
        .order_by(runs.c.created_at, runs.c.id)
    )
    return connection.execute(query).mappings().all()


def due(connection: Connection, *, limit: int, now: datetime | None = None) -> dict[str, int]:
    """
    Count the due runs of each lane, up to a limit per lane; those of organizations that an operator paused are not due.

    :param limit: where counting stops; a bell needs to know "many", not how many
    """
    counted = {}
    paused = select(organization_limits.c.organization_id).where(
        organization_limits.c.organization_id == runs.c.organization_id, organization_limits.c.statements == 0
    )
    for lane in ("manual", "daily"):
        some = (
            select(runs.c.id)
            .where(runs.c.lane == lane, runs.c.status == QUEUED, runs.c.due_at <= moment(now), ~paused.exists())
            .limit(limit)
            .subquery()
        )
        counted[lane] = connection.scalar(select(func.count()).select_from(some)) or 0
    return counted
