"""
Which days are ready: read in ClickHouse, mirrored into Postgres, so that queueing needs Postgres alone.

The mirror holds what can be read now. A day whose load row is gone, or whose newest one says zero rows, has been
withdrawn by its owner and leaves the mirror, so that nothing new is queued for it; runs already queued wait,
uncharged. When the row comes back, so does the day.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Date, case, cast, func, select
from sqlalchemy.dialects.postgresql import insert

from worker import clickhouse, database, errors
from worker.models import data_dates

# The newest versions that one run reads, with their rows; a version nobody wrote is 0.
VERSIONS: Final = """
SELECT
    maxIf(version, dataset = 'signals'),
    argMaxIf(rows, version, dataset = 'signals'),
    maxIf(version, dataset = 'people'),
    argMaxIf(rows, version, dataset = 'people')
FROM data_loads
WHERE dataset = 'people' OR (dataset = 'signals' AND data_date = {data_date:Date})
"""

# Every day's newest load that has rows, with the newest version of people; none while people are not loaded.
COMPLETE: Final = """
WITH
    (SELECT max(version) FROM data_loads WHERE dataset = 'people') AS people_version,
    (SELECT argMax(rows, version) FROM data_loads WHERE dataset = 'people') AS people_rows
SELECT data_date, max(version) AS data_version, people_version, argMax(rows, version) AS day_rows
FROM data_loads
WHERE dataset = 'signals' AND people_rows > 0
GROUP BY data_date
HAVING day_rows > 0
ORDER BY data_date
"""


@dataclass(frozen=True, slots=True)
class Versions:
    """The versions of the data that a run reads, and the rows of its day."""

    data_version: int
    people_version: int
    rows: int


def versions(data_date: date, *, query_id: str | None = None) -> Versions:
    """
    Read the newest versions of one day and of people in ClickHouse.

    :raises DataMissing: when the day or people are not loaded
    :raises AttemptError: named by what went wrong in ClickHouse
    """
    answer = clickhouse.query(VERSIONS, {"data_date": data_date}, query_id=query_id, seconds=clickhouse.SHORT)
    data_version, rows, people_version, people_rows = answer.rows[0]
    if not (rows and people_rows):
        raise errors.DataMissing
    return Versions(int(data_version), int(people_version), int(rows))


def complete() -> dict[date, Versions]:
    """Read every day whose load is complete in ClickHouse, later than today included."""
    return {row[0]: Versions(*map(int, row[1:])) for row in clickhouse.query(COMPLETE, seconds=clickhouse.SHORT).rows}


def watch(*, now: datetime | None = None) -> dict[str, int]:
    """
    Mirror complete loads into ``data_dates``, one pass at a time.

    ClickHouse is read under the lock: a pass that was overtaken between reading and writing would take back what has
    become ready meanwhile. The read touches one small table and is given up after ten seconds.

    :param now: aware; None for the database's own clock
    :returns: how many days are ``ready``, and of them ``new`` and ``moved`` to other versions; how many were
        ``removed``; how many lie in the ``future`` and are not used
    """
    with database.transaction() as connection:
        connection.execute(select(func.pg_advisory_xact_lock(func.hashtextextended("watch_data", 0))))
        found = complete()
        today = connection.execute(select(_today(now))).scalar_one()
        ready = {day: it for day, it in found.items() if day <= today}
        before = mirrored(connection)
        removed = [day for day in before if day not in ready]
        changed = {day: it for day, it in ready.items() if before.get(day) != it}
        _write(connection, changed, now)
        connection.execute(data_dates.delete().where(data_dates.c.data_date.in_(removed)))
    new = len(changed.keys() - before.keys())
    return {
        "ready": len(ready),
        "new": new,
        "moved": len(changed) - new,
        "removed": len(removed),
        "future": len(found) - len(ready),
    }


def mirrored(connection: Connection) -> dict[date, Versions]:
    """Read the mirror."""
    rows = connection.execute(select(data_dates)).all()
    return {row.data_date: Versions(row.data_version, row.people_version, row.rows) for row in rows}


def ready_dates(connection: Connection, *, now: datetime | None = None) -> list[date]:
    """
    Return the mirrored days not later than today in UTC, newest first.

    :param now: aware; None for the database's own clock
    """
    days = select(data_dates.c.data_date).where(data_dates.c.data_date <= _today(now))
    return list(connection.scalars(days.order_by(data_dates.c.data_date.desc())))


def ready_date(connection: Connection, *, now: datetime | None = None) -> date | None:
    """
    Return the newest ready date not later than today in UTC, or None.

    :param now: aware; None for the database's own clock
    """
    return next(iter(ready_dates(connection, now=now)), None)


def _write(connection: Connection, changed: Mapping[date, Versions], now: datetime | None) -> None:
    """Insert or move the given days; ready_at is when the day's own version was first seen."""
    if not changed:
        return
    statement = insert(data_dates).values(ready_at=database.moment(now))
    sent = statement.excluded
    moved = case(
        (sent.data_version != data_dates.c.data_version, sent.ready_at),
        else_=data_dates.c.ready_at,
    )
    upsert = statement.on_conflict_do_update(
        index_elements=[data_dates.c.data_date],
        set_={
            "data_version": sent.data_version,
            "people_version": sent.people_version,
            "rows": sent.rows,
            "ready_at": moved,
        },
    )
    connection.execute(upsert, [_row(day, it) for day, it in changed.items()])


def _row(day: date, it: Versions) -> dict[str, Any]:
    """Return a row of the mirror, without its time."""
    return {"data_date": day, "data_version": it.data_version, "people_version": it.people_version, "rows": it.rows}


def _today(now: datetime | None) -> ColumnElement[date]:
    """Return today in UTC by the database's clock, or by the given one."""
    return cast(func.timezone("UTC", database.moment(now)), Date)
