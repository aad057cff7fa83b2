"""End a claim: the file is offered, or the export goes back to the queue or up."""

from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, case, func, select, update

from worker import backoff
from worker.database import moment
from worker.errors import AttemptError, ClaimLost, WorkerLost
from worker.exports.claim import PROCESSING, Claim, interval, still
from worker.models import exports, runs
from worker.storage import Stored

FREE: Final = {"claimed_by": None, "lease_expires_at": None}


def complete(
    connection: Connection, held: Claim, stored: Stored, rows: int, *, days: int, now: datetime | None = None
) -> None:
    """
    Offer the stored file.

    :param rows: data rows in it, the header not counted
    :param days: how long it is offered
    :raises ClaimLost: when somebody else holds the export by now, or the run shows another snapshot than was read
    """
    shown = select(runs.c.id).where(runs.c.id == held.run_id, runs.c.snapshot_key == held.snapshot_key)
    values: dict[str, Any] = {
        "status": "completed",
        "storage_provider": stored.provider,
        "bucket_name": stored.bucket,
        "file_id": stored.path,
        "byte_size": stored.size,
        "content_sha1": stored.sha1,
        "row_count": rows,
        "error_code": None,
        "error_message": None,
        "completed_at": moment(now),
        "expires_at": moment(now) + func.make_interval(0, 0, 0, days),
    }
    _leave(connection, held, values, now, shown.exists())


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
            due_at=moment(now) + interval(60 * exports.c.failures),
            error_code=error.code,
            error_message=error.sentence,
            updated_at=moment(now),
            **FREE,
        )
        .returning(exports.c.status)
    )
    statuses = list(taken.scalars())
    return {"retried": statuses.count("processing"), "failed": statuses.count("failed")}


def _leave(
    connection: Connection, held: Claim, values: dict[str, Any], now: datetime | None, *also: ColumnElement[bool]
) -> None:
    """End a claim, if it still holds."""
    left = connection.execute(still(held).where(*also).values(**FREE, **values, updated_at=moment(now)))
    if not left.rowcount:
        raise ClaimLost
