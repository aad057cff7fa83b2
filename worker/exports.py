"""
Stored exports: queued with the run that completes, claimed, written, offered until they expire.

A file belongs to one claim, ``{run_id}/{fence}.csv``: a late writer never overwrites, and what it wrote is never
offered, because only the claim that still holds can complete the row.
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final
from uuid import UUID, uuid4

from sqlalchemy import (
    ColumnElement,
    Connection,
    DateTime,
    RowMapping,
    Update,
    bindparam,
    case,
    func,
    literal_column,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import insert

from worker import backoff
from worker.database import moment
from worker.errors import AttemptError, ClaimLost, NotAllowed, NotFound, WorkerLost
from worker.models import exports, runs
from worker.storage import Stored

# A literal, so that a generic plan keeps the partial index.
PROCESSING: ColumnElement[str] = literal_column("'processing'")
FREE: Final = {"claimed_by": None, "lease_expires_at": None}

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
    RETURNING e.id, e.fence, e.organization_id, e.audience_id, e.run_id, e.failures, e.created_at,
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


def queue(
    connection: Connection, *, organization_id: UUID, audience_id: UUID, run_id: UUID, due_at: datetime | None = None
) -> None:
    """Queue a run's export; the one it has already stays as it is."""
    connection.execute(
        insert(exports)
        .values(
            id=uuid4(),
            organization_id=organization_id,
            audience_id=audience_id,
            run_id=run_id,
            file_name=f"audience-run-{run_id}.csv",
            due_at=moment(due_at),
        )
        .on_conflict_do_nothing()
    )


def ensure(
    connection: Connection,
    *,
    organization_id: UUID,
    run_id: UUID,
    requested_by: UUID | None = None,
    now: datetime | None = None,
) -> RowMapping:
    """
    Return a run's export, queued first where there is none, and queued anew where it failed or expired.

    :raises NotFound: when the organization has no such run
    :raises NotAllowed: when the run is not completed, a preview, or its results are gone
    """
    run = _exportable(connection, organization_id, run_id, now)
    queue(connection, organization_id=organization_id, audience_id=run["audience_id"], run_id=run_id, due_at=now)
    stale = (exports.c.status == "failed") | ((exports.c.status == "completed") & (exports.c.expires_at <= moment(now)))
    anew = {"status": "processing", "failures": 0, "requested_by": requested_by}
    empty = dict.fromkeys(
        ("storage_provider", "byte_size", "row_count", "bucket_name", "file_id", "content_sha1")
        + ("error_code", "error_message", "completed_at", "expires_at")
    )
    connection.execute(
        update(exports)
        .where(exports.c.run_id == run_id, stale)
        .values(**anew, **empty, due_at=moment(now), created_at=moment(now), updated_at=moment(now))
    )
    return get(connection, organization_id, run_id)


def get(connection: Connection, organization_id: UUID, run_id: UUID) -> RowMapping:
    """
    Return a run's export.

    :raises NotFound: when the organization has no such run, or it no export
    """
    query = select(exports).where(exports.c.organization_id == organization_id, exports.c.run_id == run_id)
    row = connection.execute(query).mappings().one_or_none()
    if row is None:
        raise NotFound(f"There is no export of run {run_id}.")
    return row


def claim(connection: Connection, worker: str, *, lease_seconds: float, now: datetime | None = None) -> Claim | None:
    """Take the export that has been due the longest, if there is one."""
    row = connection.execute(CLAIM, {"worker": worker, "lease_seconds": lease_seconds, "now": now}).one_or_none()
    return Claim(*row) if row else None


def renew(connection: Connection, held: Claim, *, seconds: float, now: datetime | None = None) -> bool:
    """Extend a lease and return whether the claim still holds."""
    renewed = connection.execute(_held(held).values(lease_expires_at=moment(now) + _interval(seconds)))
    return renewed.rowcount == 1


def complete(
    connection: Connection, held: Claim, stored: Stored, rows: int, *, days: int, now: datetime | None = None
) -> None:
    """
    Offer the stored file.

    :param rows: data rows in it, the header not counted
    :param days: how long it is offered
    :raises ClaimLost: when somebody else holds the export by now
    """
    values = {"storage_provider": stored.provider, "bucket_name": stored.bucket, "file_id": stored.path}
    values |= {"byte_size": stored.size, "content_sha1": stored.sha1, "row_count": rows, "status": "completed"}
    ends = {"completed_at": moment(now), "expires_at": moment(now) + func.make_interval(0, 0, 0, days)}
    _leave(connection, held, {**values, **ends, "error_code": None, "error_message": None}, now)


def set_back(
    connection: Connection,
    held: Claim,
    error: AttemptError,
    policy: backoff.Policy,
    *,
    chance: float,
    now: datetime | None = None,
) -> str:
    """
    Give an export back to the queue or up, and return which: ``retried`` or ``failed``.

    :param chance: random number in [0, 1)
    :raises ClaimLost: when somebody else holds the export by now
    """
    at = now or connection.execute(select(func.now())).scalar_one()
    charged = held.failures + error.retry.charged
    decision = backoff.decide(
        error,
        failures=held.failures + 1,
        charged=charged,
        first_claimed_at=held.queued_at,
        now=at,
        chance=chance,
        policy=policy,
    )
    told: dict[str, Any] = {"failures": charged, "error_code": error.code, "error_message": error.sentence}
    if isinstance(decision, backoff.GiveUp):
        last = decision.error()
        _leave(
            connection, held, told | {"status": "failed", "error_code": last.code, "error_message": last.sentence}, now
        )
        return "failed"
    _leave(connection, held, told | {"due_at": decision.due_at}, now)
    return "retried"


def release(connection: Connection, held: Claim, *, now: datetime | None = None) -> None:
    """
    Give an export back at once, as if it had never been claimed.

    :raises ClaimLost: when somebody else holds it by now
    """
    _leave(connection, held, {"due_at": moment(now)}, now)


def expired(connection: Connection, *, budget: int, limit: int, now: datetime | None = None) -> dict[str, int]:
    """
    Take back exports whose lease is over, and return how many go on and how many have spent their budget.

    The first loss of a worker waits for nothing, each further one a minute longer.
    """
    over = (
        select(exports.c.id)
        .where(exports.c.status == PROCESSING, exports.c.lease_expires_at < moment(now))
        .order_by(exports.c.due_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte("over")
    )
    error, spent = WorkerLost(), exports.c.failures + 1 >= budget
    taken = connection.execute(
        update(exports)
        .where(exports.c.id == over.c.id, exports.c.status == PROCESSING)
        .values(
            status=case((spent, "failed"), else_="processing"),
            fence=exports.c.fence + 1,
            failures=exports.c.failures + 1,
            due_at=moment(now) + _interval(60 * exports.c.failures),
            error_code=error.code,
            error_message=error.sentence,
            updated_at=moment(now),
            **FREE,
        )
        .returning(exports.c.status)
    )
    statuses = list(taken.scalars())
    return {"retried": statuses.count("processing"), "failed": statuses.count("failed")}


def due(connection: Connection, *, limit: int, now: datetime | None = None) -> int:
    """Count the exports that wait to be claimed, up to a limit."""
    some = (
        select(exports.c.id)
        .where(exports.c.status == PROCESSING, exports.c.claimed_by.is_(None), exports.c.due_at <= moment(now))
        .limit(limit)
        .subquery()
    )
    return connection.execute(select(func.count()).select_from(some)).scalar_one()


def _exportable(connection: Connection, organization_id: UUID, run_id: UUID, now: datetime | None) -> RowMapping:
    """Return a run that has results to offer."""
    query = select(
        runs.c.audience_id, runs.c.status, runs.c.run_type, (runs.c.results_expire_at <= moment(now)).label("expired")
    ).where(runs.c.organization_id == organization_id, runs.c.id == run_id)
    run = connection.execute(query).mappings().one_or_none()
    if run is None:
        raise NotFound(f"There is no run {run_id}.")
    if run["status"] != "completed":
        raise NotAllowed("RUN_NOT_COMPLETED", "Only a completed run can be exported.")
    if run["run_type"] == "preview":
        raise NotAllowed("RUN_IS_PREVIEW", "A preview cannot be exported.")
    if run["expired"]:
        raise NotAllowed("RESULTS_EXPIRED", "The results of this run are no longer kept.")
    return run


def _held(held: Claim) -> Update:
    """Begin an update that only the holder of the claim can make."""
    return update(exports).where(
        exports.c.id == held.export_id, exports.c.fence == held.fence, exports.c.status == PROCESSING
    )


def _leave(connection: Connection, held: Claim, values: dict[str, Any], now: datetime | None) -> None:
    """End a claim, if it still holds."""
    left = connection.execute(_held(held).values(**FREE, **values, updated_at=moment(now)))
    if not left.rowcount:
        raise ClaimLost


def _interval(seconds: ColumnElement[int] | float) -> ColumnElement[timedelta]:
    """Turn seconds into an interval of the database."""
    return func.make_interval(0, 0, 0, 0, 0, 0, seconds)
