"""
Give birth to runs: one by hand, or a day's worth at once.

Whoever queues by hand holds the audience's row lock, so two requests for one audience stand in line; the unique
indexes answer for everybody else.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final
from uuid import UUID, uuid4

from sqlalchemy import ARRAY, Connection, Date, RowMapping, Uuid, any_, func, insert, literal, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from worker.database import moment
from worker.errors import Superseded
from worker.models import audiences, idempotency_keys, runs
from worker.runs.status import QUEUED

LARGE_RESULTS: Final = 100_000
"""An audience that found more people than this the last time shares its statement with nobody."""


@dataclass(frozen=True, slots=True)
class Queued:
    """The run that answers a request, and whether the request created it."""

    run_id: UUID
    created: bool


def answered(connection: Connection, audience_id: UUID, key: str) -> UUID | None:
    """Find the run that an idempotency key has answered with before, whatever became of it."""
    found: UUID | None = connection.scalar(
        select(idempotency_keys.c.run_id).where(
            idempotency_keys.c.audience_id == audience_id, idempotency_keys.c.key == key
        )
    )
    return found


def queue(
    connection: Connection,
    audience: RowMapping,
    data_date: date,
    *,
    key: str | None = None,
    lane: str = "manual",
    recompute: bool = False,
    preview: bool = False,
    now: datetime | None = None,
) -> Queued:
    """
    Queue a manual run or a preview, or return the one that is already doing what is asked for.

    An in-flight run of the same config and data date is returned instead of a second one; a daily one that still waits
    moves to the manual lane. Nothing answers for a preview.

    :param audience: its row, locked; the config is frozen into the run
    :param key: the client's idempotency key, 1 to 120 characters, that :func:`answered` knows nothing of
    :param lane: ``daily`` for a run that nobody waits for; an existing one then stays where it is
    :param recompute: whether a new run must not share the snapshot of an earlier one
    :param preview: whether it is a preview
    """
    values = {"organization_id": audience["organization_id"], "audience_id": audience["id"]}
    found = None if preview else _in_flight(connection, audience, data_date, lane, now)
    run_id = found or uuid4()
    if not found:
        frozen = {"config": audience["config"], "config_hash": audience["config_hash"], "data_date": data_date}
        run_type = "preview" if preview else "manual"
        born = {"id": run_id, "status": "queued", "run_type": run_type, "lane": lane, "idempotency_key": key}
        frozen["recompute"] = recompute
        times = {"due_at": moment(now), "created_at": moment(now)}
        connection.execute(insert(runs).values(**values, **frozen, **born, **times))
    if key:
        connection.execute(insert(idempotency_keys).values(**values, key=key, run_id=run_id, created_at=moment(now)))
    return Queued(run_id, created=not found)


def queue_daily(
    connection: Connection, audience_ids: Sequence[UUID], data_date: date, *, now: datetime | None = None
) -> int:
    """
    Queue one daily run of a data date for each of these audiences and return how many are new.

    Older daily runs of theirs that still wait are cancelled: the new one takes their place.
    """
    born = (
        select(
            func.gen_random_uuid().label("id"),
            audiences.c.organization_id,
            audiences.c.id.label("audience_id"),
            QUEUED.label("status"),
            literal("daily").label("run_type"),
            literal("daily").label("lane"),
            audiences.c.config,
            audiences.c.config_hash,
            literal(data_date, Date).label("data_date"),
            moment(now).label("due_at"),
            moment(now).label("created_at"),
            (func.coalesce(audiences.c.audience_size, 0) > LARGE_RESULTS).label("solo"),
        )
        .where(audiences.c.id == any_(literal(list(audience_ids), ARRAY(Uuid))))
        .order_by(audiences.c.next_due_at)
    )
    queued = connection.execute(
        upsert(runs).from_select([column.name for column in born.selected_columns], born).on_conflict_do_nothing(),
        execution_options={"preserve_rowcount": True},
    )
    _supersede(connection, audience_ids, data_date, now)
    return queued.rowcount


def _supersede(connection: Connection, audience_ids: Sequence[UUID], data_date: date, now: datetime | None) -> None:
    """Cancel the older daily runs of these audiences that nobody has started."""
    error = Superseded()
    connection.execute(
        update(runs)
        .where(
            runs.c.audience_id == any_(literal(list(audience_ids), ARRAY(Uuid))),
            runs.c.status == QUEUED,
            runs.c.run_type == "daily",
            runs.c.data_date < data_date,
        )
        .values(
            status="cancelled",
            error_code=error.code,
            error_message=error.sentence,
            next_attempt_at=None,
            cancelled_at=moment(now),
            finished_at=moment(now),
            updated_at=moment(now),
        )
    )


def _in_flight(
    connection: Connection, audience: RowMapping, data_date: date, lane: str, now: datetime | None
) -> UUID | None:
    """
    Find the run that is already doing what a request asks for, moved to the manual lane if asked for there.

    A running run is not locked: whoever completes it holds its row and waits for the audience's, which we hold.
    """
    found = connection.execute(
        select(runs.c.id, runs.c.status)
        .where(
            runs.c.audience_id == audience["id"],
            runs.c.config_hash == audience["config_hash"],
            runs.c.data_date == data_date,
            runs.c.run_type.in_(("manual", "daily")),
            runs.c.status.in_(("queued", "running")),
        )
        .order_by(runs.c.run_type.desc(), runs.c.created_at)
        .limit(1)
    ).one_or_none()
    if found is None:
        return None
    run_id: UUID = found.id
    waits = (runs.c.id == run_id, runs.c.status == QUEUED)
    moved = {"lane": "manual" if lane == "manual" else runs.c.lane, "updated_at": moment(now)}
    if found.status == "running" or connection.execute(update(runs).where(*waits).values(moved)).rowcount:
        return run_id
    # Claimed or cancelled since we looked.
    return _in_flight(connection, audience, data_date, lane, now)
