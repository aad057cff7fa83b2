"""Take due mails, hold them, and give back what was not begun."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Connection,
    DateTime,
    bindparam,
    func,
    literal_column,
    select,
    text,
    tuple_,
    update,
)

from worker.database import moment
from worker.models import exports, ready_emails

# Literals, so that a generic plan keeps the partial index.
PENDING: ColumnElement[str] = literal_column("'pending'")

SENDING: ColumnElement[str] = literal_column("'sending'")

FREE: Final = {"claimed_by": None, "lease_expires_at": None}

# A mail waits for its run's export to be settled, well or badly. The CTE takes exactly the wanted number under every
# plan; the oldest runs' mails stand together, so that what a mail says is read once.
CLAIM = text(
    """
    WITH clock AS (
        SELECT coalesce(:now, now()) AS at
    ), due AS (
        SELECT m.id FROM ready_emails m, clock
        WHERE m.status = 'pending' AND m.claimed_by IS NULL AND m.due_at <= clock.at
          AND EXISTS (SELECT FROM exports x WHERE x.run_id = m.run_id AND x.status <> 'processing')
        ORDER BY m.due_at, m.run_id LIMIT :wanted
        FOR UPDATE OF m SKIP LOCKED
    )
    UPDATE ready_emails m SET
        fence = m.fence + 1,
        attempts = m.attempts + 1,
        claimed_by = :worker,
        lease_expires_at = clock.at + make_interval(secs => :lease_seconds),
        updated_at = clock.at
    FROM due, clock, runs r LEFT JOIN runs c ON c.id = r.compared_with, audiences a, exports x
    WHERE m.id = due.id AND m.status = 'pending' AND r.id = m.run_id AND a.id = r.audience_id AND x.run_id = r.id
    RETURNING m.id, m.fence, m.run_id, m.organization_id, m.recipient, m.message_id, m.attempts,
              clock.at AS claimed_at, m.created_at, a.name, r.data_date, r.result_count, r.snapshot_key, r.written_on,
              a.id AS audience_id, x.id AS export_id, x.status = 'completed' AS has_file,
              a.status <> 'paused' AND a.deleted_at IS NULL AND m.recipient = ANY (a.notify_emails),
              c.data_date, c.result_count, r.people_new, r.people_left, r.anomaly
    """
).bindparams(bindparam("now", type_=DateTime(timezone=True)))


@dataclass(frozen=True, slots=True)
class Claim:
    """
    A mail that is ours until somebody raises its fence, with what it has to say.

    ``attempts`` counts this one; ``has_file`` says whether the run's CSV was stored; ``wanted`` is false where the
    audience was paused or deleted, or this recipient taken off its list. ``earlier_date`` and ``earlier_count`` are
    those of the run that this one is compared with, ``people_new``, ``people_left`` and ``anomaly`` what came of it;
    None where there is nothing to say.
    """

    mail_id: UUID
    fence: int
    run_id: UUID
    organization_id: UUID
    recipient: str
    message_id: str
    attempts: int
    claimed_at: datetime
    queued_at: datetime
    audience_name: str
    data_date: date
    result_count: int
    snapshot_key: UUID
    written_on: date
    audience_id: UUID
    export_id: UUID
    has_file: bool
    wanted: bool
    earlier_date: date | None
    earlier_count: int | None
    people_new: int | None
    people_left: int | None
    anomaly: str | None


def claim(
    connection: Connection, worker: str, *, wanted: int = 1, lease_seconds: float, now: datetime | None = None
) -> list[Claim]:
    """Take at most ``wanted`` due mails of runs whose export is settled, the oldest run's together."""
    values = {"worker": worker, "wanted": wanted, "lease_seconds": lease_seconds, "now": now}
    claims = [Claim(*row) for row in connection.execute(CLAIM, values)]
    return sorted(claims, key=lambda one: (one.queued_at, one.run_id, one.recipient))


def renew(connection: Connection, held: Sequence[Claim], *, seconds: float, now: datetime | None = None) -> bool:
    """Extend the leases of those mails that are still ours, and return whether there were any."""
    renewed = connection.execute(
        update(ready_emails)
        .where(ours(held), ready_emails.c.status.in_((PENDING, SENDING)))
        .values(lease_expires_at=later(now, seconds))
    )
    return renewed.rowcount > 0


def release(connection: Connection, held: Sequence[Claim], *, now: datetime | None = None) -> int:
    """Give mails back that nobody has begun to send, as if they had never been claimed, and return how many."""
    released = connection.execute(
        update(ready_emails)
        .where(ours(held), ready_emails.c.status == PENDING, ready_emails.c.claimed_by.is_not(None))
        .values(attempts=ready_emails.c.attempts - 1, updated_at=moment(now), **FREE)
    )
    return released.rowcount


def due(connection: Connection, *, limit: int, now: datetime | None = None) -> int:
    """Count the mails that wait to be claimed, up to a limit."""
    settled = select(exports.c.id).where(exports.c.run_id == ready_emails.c.run_id, exports.c.status != "processing")
    some = (
        select(ready_emails.c.id)
        .where(
            ready_emails.c.status == PENDING,
            ready_emails.c.claimed_by.is_(None),
            ready_emails.c.due_at <= moment(now),
            settled.exists(),
        )
        .limit(limit)
        .subquery()
    )
    return connection.execute(select(func.count()).select_from(some)).scalar_one()


def ours(held: Sequence[Claim]) -> ColumnElement[bool]:
    """Match mails by id and fence."""
    return tuple_(ready_emails.c.id, ready_emails.c.fence).in_([(one.mail_id, one.fence) for one in held])


def later(now: datetime | None, seconds: ColumnElement[float] | float) -> ColumnElement[datetime]:
    """Return a moment some seconds ahead."""
    return moment(now) + func.make_interval(0, 0, 0, 0, 0, 0, seconds)
