"""
What changed since the run before: a completed run beside the newest earlier one of the same audience and config.

Which run that is, and whether the counts look sane beside it, is decided with completion, in Postgres alone. How many
people are new and how many left is counted afterwards, so this module writes to runs that are completed: to the columns
of the comparison only. A run's status, counts and snapshot stay as they were published.
"""

from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

from sqlalchemy import Connection, DateTime, RowMapping, Uuid, bindparam, select, text, update

from worker.database import moment
from worker.errors import NotAllowed
from worker.models import runs
from worker.runs.read import get
from worker.runs.status import COMPLETED

# A run that is still held back has been shown to nobody: what comes after it is compared with what its readers know.
# IS TRUE keeps the index of equal configs out of this: it is long where audiences are copies of each other, and the
# audience's own runs are few.
COMPARE = text(
    """
    WITH beside AS (
        SELECT earlier.id, earlier.result_count AS before, mine.result_count AS after
        FROM runs mine CROSS JOIN LATERAL (
            SELECT e.id, e.result_count FROM runs e
            WHERE e.audience_id = mine.audience_id AND e.status = 'completed' AND e.run_type <> 'preview'
              AND (e.data_date, e.created_at) < (mine.data_date, mine.created_at)
              AND (e.config_hash = mine.config_hash) IS TRUE
              AND NOT e.held AND e.results_expire_at > coalesce(:now, now())
            ORDER BY e.data_date DESC, e.created_at DESC LIMIT 1
        ) earlier
        WHERE mine.id = :run_id
    ), judged AS (
        SELECT id, CASE
            WHEN after = 0 AND before >= :least THEN 'fell_to_zero'
            WHEN after >= :least AND after >= :factor * greatest(before, 1) THEN 'jumped'
            WHEN before >= :least AND before >= :factor * greatest(after, 1) THEN 'dropped'
        END AS anomaly FROM beside
    )
    UPDATE runs r SET
        compared_with = judged.id,
        anomaly = judged.anomaly,
        held = judged.anomaly IS NOT NULL AND :hold
    FROM judged WHERE r.id = :run_id AND r.status = 'completed'
    RETURNING r.held
    """
).bindparams(bindparam("now", type_=DateTime(timezone=True)), bindparam("run_id", type_=Uuid))

Snapshot = tuple[UUID, date, int]
"""A snapshot's key, the day it was written on, and its rows."""


@dataclass(frozen=True, slots=True)
class Compared:
    """
    A completed run's snapshot and the one it is compared with.

    ``counted`` says whether it is known what changed; ``readable`` whether both snapshots are still kept.
    """

    run_id: UUID
    earlier_id: UUID
    after: Snapshot
    before: Snapshot
    csv_defused: bool
    counted: bool
    readable: bool


def compare(
    connection: Connection, run_id: UUID, *, factor: float, least: int, hold: bool, now: datetime | None = None
) -> bool:
    """
    Note which run a completed one is compared with and whether its result is an anomaly beside it.

    :param factor: so many times larger or smaller is an anomaly; a result of nobody counts as one person
    :param least: people that the larger of the two results must have
    :param hold: whether an anomaly is held back until somebody publishes it
    :returns: whether it is held back
    """
    values = {"run_id": run_id, "factor": factor, "least": least, "hold": hold, "now": now}
    return bool(connection.execute(COMPARE, values).scalar_one_or_none())


def compared(connection: Connection, run_id: UUID, *, now: datetime | None = None) -> Compared | None:
    """Return what a run is compared with, or None where there is no such run."""
    earlier = runs.alias("earlier")
    kept = (runs.c.results_expire_at > moment(now)) & (earlier.c.results_expire_at > moment(now))
    snapshots = [table.c[name] for table in (runs, earlier) for name in ("snapshot_key", "written_on", "result_count")]
    row = connection.execute(
        select(earlier.c.id, runs.c.csv_defused, runs.c.people_new.is_not(None), kept, *snapshots)
        .join(earlier, earlier.c.id == runs.c.compared_with)
        .where(runs.c.id == run_id)
    ).one_or_none()
    if row is None:
        return None
    earlier_id, csv_defused, counted, readable, *of = row
    after, before = (of[0], of[1], of[2]), (of[3], of[4], of[5])
    return Compared(run_id, earlier_id, after, before, csv_defused, counted, readable)


def changed(connection: Connection, pair: Compared, *, new: int, left: int) -> None:
    """Note how many people are new and how many left, unless that is known already or the runs have other snapshots."""
    earlier = runs.alias("earlier")
    same = select(earlier.c.id).where(earlier.c.id == pair.earlier_id, earlier.c.snapshot_key == pair.before[0])
    connection.execute(
        update(runs)
        .where(
            runs.c.id == pair.run_id,
            runs.c.status == COMPLETED,
            runs.c.snapshot_key == pair.after[0],
            runs.c.people_new.is_(None),
            same.exists(),
        )
        .values(people_new=new, people_left=left)
    )


def publish(connection: Connection, run_id: UUID, *, now: datetime | None = None) -> RowMapping:
    """
    Hold a run back no longer, and return it.

    :raises RunNotFound: when there is no such run
    :raises NotAllowed: when it is not held back
    """
    freed = update(runs).where(runs.c.id == run_id, runs.c.held).values(held=False, updated_at=moment(now))
    taken = connection.execute(freed).rowcount
    run = get(connection, run_id)
    if not taken:
        raise NotAllowed("RUN_NOT_HELD", "Only a run that is held back can be published; this one is not.")
    return run
