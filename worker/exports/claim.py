"""Take due exports and hold them."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Connection,
    DateTime,
    Update,
    bindparam,
    func,
    literal_column,
    select,
    text,
    update,
)

from worker.database import moment
from worker.models import exports

# A literal, so that a generic plan keeps the partial index.
PROCESSING: ColumnElement[str] = literal_column("'processing'")

# The CTE takes exactly one row under every plan; whoever else is claiming steps over it.
CLAIM = text(
    """
    WITH clock AS (
        SELECT coalesce(:now, now()) AS at
    ), due AS (
        SELECT e.id FROM exports e, clock
        WHERE e.status = 'processing' AND e.claimed_by IS NULL AND e.due_at <= clock.at
        ORDER BY e.due_at LIMIT 1
        FOR UPDATE OF e SKIP LOCKED
    )
    UPDATE exports e SET
        fence = e.fence + 1,
        claimed_by = :worker,
        lease_expires_at = clock.at + make_interval(secs => :lease_seconds),
        updated_at = clock.at
    FROM due, clock, runs r
    WHERE e.id = due.id AND e.status = 'processing' AND r.id = e.run_id
    RETURNING e.id, e.fence, e.organization_id, e.audience_id, e.run_id, e.file_name, e.failures, e.created_at,
              r.data_date, r.result_count, r.snapshot_key, r.written_on, r.csv_defused
    """
).bindparams(bindparam("now", type_=DateTime(timezone=True)))


@dataclass(frozen=True, slots=True)
class Claim:
    """
    An export that is ours until somebody raises its fence, with what its run has frozen.

    ``failures`` are the charged ones so far; ``queued_at`` starts the deadline.
    """

    export_id: UUID
    fence: int
    organization_id: UUID
    audience_id: UUID
    run_id: UUID
    file_name: str
    failures: int
    queued_at: datetime
    data_date: date
    result_count: int
    snapshot_key: UUID
    written_on: date
    csv_defused: bool

    @property
    def path(self) -> str:
        """Where this claim's file goes in storage."""
        return f"{self.run_id}/{self.fence}.csv"

    @property
    def query_id(self) -> str:
        """The ClickHouse query id of the first page; later pages count on from it."""
        return f"{self.export_id}-{self.fence}-csv"


def claim(connection: Connection, worker: str, *, lease_seconds: float, now: datetime | None = None) -> Claim | None:
    """Take the export that has been due the longest, if there is one."""
    row = connection.execute(CLAIM, {"worker": worker, "lease_seconds": lease_seconds, "now": now}).one_or_none()
    return Claim(*row) if row else None


def renew(connection: Connection, held: Claim, *, seconds: float, now: datetime | None = None) -> bool:
    """Extend a lease and return whether the claim still holds."""
    renewed = connection.execute(still(held).values(lease_expires_at=moment(now) + interval(seconds)))
    return renewed.rowcount == 1


def due(connection: Connection, *, limit: int, now: datetime | None = None) -> int:
    """Count the exports that wait to be claimed, up to a limit."""
    some = (
        select(exports.c.id)
        .where(exports.c.status == PROCESSING, exports.c.claimed_by.is_(None), exports.c.due_at <= moment(now))
        .limit(limit)
        .subquery()
    )
    return connection.execute(select(func.count()).select_from(some)).scalar_one()


def still(held: Claim) -> Update:
    """Begin an update that only the holder of the claim can make."""
    return update(exports).where(
        exports.c.id == held.export_id, exports.c.fence == held.fence, exports.c.status == PROCESSING
    )


def interval(seconds: ColumnElement[int] | float) -> ColumnElement[timedelta]:
    """Turn seconds into an interval of the database."""
    return func.make_interval(0, 0, 0, 0, 0, 0, seconds)
