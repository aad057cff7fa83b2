"""When audiences are refreshed, and by which run they were."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    Connection,
    DateTime,
    RowMapping,
    Uuid,
    any_,
    column,
    func,
    literal,
    or_,
    select,
    true,
    tuple_,
    update,
)

from worker.database import moment
from worker.models import audiences, runs

# Made once, because it copies every column of the table.
FORMER = runs.alias("former")


def waiting(
    connection: Connection, data_date: date, *, limit: int, now: datetime | None = None
) -> Sequence[RowMapping]:
    """
    Hold the audiences that are due and have no daily run of this data date yet.

    Rows that another scheduler holds are left to it.
    """
    query = (
        select(audiences.c.id, audiences.c.refresh_cron, audiences.c.timezone, audiences.c.refresh_window_minutes)
        .where(
            audiences.c.next_due_at <= moment(now),
            or_(audiences.c.last_daily_date.is_(None), audiences.c.last_daily_date < data_date),
        )
        .order_by(audiences.c.next_due_at)
        .limit(limit)
        .with_for_update(skip_locked=True, key_share=True)
    )
    return connection.execute(query).mappings().all()


def scheduled(
    connection: Connection,
    data_date: date,
    slots: Mapping[UUID, tuple[datetime, datetime]],
    *,
    now: datetime | None = None,
) -> None:
    """
    Note that these audiences have their daily run of a data date, and when the next is due.

    :param slots: audience id to its next slot and the moment it is due
    """
    ids, starts, dues = list(slots), [one[0] for one in slots.values()], [one[1] for one in slots.values()]
    upcoming = (
        func.unnest(
            literal(ids, ARRAY(Uuid)),
            literal(starts, ARRAY(DateTime(timezone=True))),
            literal(dues, ARRAY(DateTime(timezone=True))),
        )
        .table_valued(column("id", Uuid), column("slot"), column("due"))
        .render_derived()
    )
    connection.execute(
        update(audiences)
        .where(audiences.c.id == upcoming.c.id)
        .values(
            last_daily_date=data_date,
            next_slot_at=upcoming.c.slot,
            next_due_at=upcoming.c.due,
            updated_at=moment(now),
        )
    )


def unserved(connection: Connection, audience_id: UUID) -> None:
    """Note that an audience lacks the daily run of its last date after all, if that run was cancelled."""
    standing = select(runs.c.id).where(
        runs.c.audience_id == audiences.c.id,
        runs.c.data_date == audiences.c.last_daily_date,
        runs.c.run_type == "daily",
        runs.c.status != "cancelled",
    )
    lacking = update(audiences).where(audiences.c.id == audience_id, ~standing.exists())
    connection.execute(lacking.values(last_daily_date=None))


def refreshed(connection: Connection, run_id: UUID, *, now: datetime | None = None) -> None:
    """
    Take over a completed run's count, if it is the newest of the audience's present config.

    An older data date, an older run of the same date, a run of a former config and a preview change nothing. The first
    run of a new config counts, whatever day the runs of the former one have read.
    """
    # A value, not NOT EXISTS: whoever waited for the audience's row looks at the former run again. One that is not
    # there, or no more, stands in nobody's way.
    newer = func.coalesce(
        select(tuple_(FORMER.c.data_date, FORMER.c.created_at) < tuple_(runs.c.data_date, runs.c.created_at))
        .where(FORMER.c.id == audiences.c.refreshed_by_run_id, FORMER.c.config_hash == runs.c.config_hash)
        .scalar_subquery(),
        true(),
    )
    connection.execute(
        update(audiences)
        .where(
            runs.c.id == run_id,
            audiences.c.id == runs.c.audience_id,
            audiences.c.config_hash == runs.c.config_hash,
            runs.c.run_type != "preview",
            newer,
        )
        .values(
            audience_size=runs.c.result_count,
            last_refreshed_at=moment(now),
            refreshed_by_run_id=runs.c.id,
            updated_at=moment(now),
        )
    )


def resized(connection: Connection, run_ids: Sequence[UUID], *, now: datetime | None = None) -> None:
    """Take over the count of these runs once more, wherever an audience has its size from one of them."""
    connection.execute(
        update(audiences)
        .where(audiences.c.refreshed_by_run_id == runs.c.id, runs.c.id == any_(literal(list(run_ids), ARRAY(Uuid))))
        .values(audience_size=runs.c.result_count, updated_at=moment(now))
    )
