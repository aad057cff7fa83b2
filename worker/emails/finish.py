"""
Send, settle or set back a mail.

Whoever settles one locks its run first, so that of two last mails the second sees the first.
"""

from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Connection,
    DateTime,
    Uuid,
    any_,
    bindparam,
    case,
    func,
    literal_column,
    select,
    text,
    update,
)

from worker.database import moment
from worker.emails.claim import FREE, PENDING, SENDING, Claim, later, ours
from worker.errors import ClaimLost, WorkerLost
from worker.models import audiences, ready_emails, runs

FIRST_WAIT_SECONDS: Final = 60

LONGEST_WAIT_SECONDS: Final = 3600

UNKNOWN: Final = "The connection or the worker broke while the message was handed over; it may have arrived."

# What a run's mails amount to: each recipient's newest generation, once none of them is on its way.
SETTLE = text(
    """
    WITH latest AS (
        SELECT DISTINCT ON (recipient) status, sent_at, error, updated_at FROM ready_emails
        WHERE run_id = :run_id ORDER BY recipient, generation DESC
    ), total AS (
        SELECT
            max(sent_at) AS sent_at,
            (array_agg(split_part(error, E'\\n', 1) ORDER BY updated_at DESC)
                FILTER (WHERE status IN ('failed', 'unknown')))[1] AS error
        FROM latest HAVING bool_and(status NOT IN ('pending', 'sending'))
    )
    UPDATE runs r SET
        ready_email_sent_at = total.sent_at,
        ready_email_export_id = CASE WHEN total.sent_at IS NOT NULL
            THEN (SELECT id FROM exports WHERE run_id = :run_id) END,
        ready_email_error = total.error,
        updated_at = coalesce(:now, now())
    FROM total WHERE r.id = :run_id
    """
).bindparams(bindparam("now", type_=DateTime(timezone=True)), bindparam("run_id", type_=Uuid))


def wait_seconds(attempts: int) -> float:
    """Return how long to wait after so many refused attempts: a minute, doubling, an hour at most."""
    return min(LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS * 2.0 ** min(attempts - 1, 30))


def sending(connection: Connection, held: Claim, *, seconds: float, now: datetime | None = None) -> bool:
    """
    Note that the text is about to be handed over; False where nobody wants it any more.

    The audience was paused or deleted meanwhile, or the recipient taken off its list.

    :param seconds: lease from here on
    :raises ClaimLost: when somebody else holds the mail by now
    """
    wanted = (
        select(runs.c.id)
        .join(audiences, audiences.c.id == runs.c.audience_id)
        .where(
            runs.c.id == held.run_id,
            audiences.c.status != "paused",
            audiences.c.deleted_at.is_(None),
            ready_emails.c.recipient == any_(audiences.c.notify_emails),
        )
    )
    mail = (ours([held]), ready_emails.c.status == PENDING)
    noted = connection.execute(
        update(ready_emails)
        .where(*mail, wanted.exists())
        .values(status="sending", lease_expires_at=later(now, seconds), updated_at=moment(now))
    )
    if not noted.rowcount and connection.scalar(select(ready_emails.c.id).where(*mail)) is None:
        raise ClaimLost
    return noted.rowcount == 1


def settle(
    connection: Connection, held: Claim, status: str, *, error: str | None = None, now: datetime | None = None
) -> None:
    """
    End a mail, and its run's announcement if it was the last one.

    :param status: ``sent``, ``failed``, ``unknown`` or ``skipped``
    :param error: a first line for the run, further ones for this row alone
    :raises ClaimLost: when somebody else holds the mail by now
    """
    _lock(connection, held.run_id)
    # The one who sent it knows better than the rescuer who found it on its way.
    before = (PENDING, SENDING, literal_column("'unknown'")) if status == "sent" else (PENDING, SENDING)
    settled = connection.execute(
        update(ready_emails)
        .where(ours([held]), ready_emails.c.status.in_(before))
        .values(
            status=status,
            sent_at=moment(now) if status == "sent" else None,
            error=error,
            updated_at=moment(now),
            **FREE,
        )
    )
    if not settled.rowcount:
        raise ClaimLost
    connection.execute(SETTLE, {"run_id": held.run_id, "now": now})


def set_back(connection: Connection, held: Claim, *, error: str, hours: float, now: datetime | None = None) -> str:
    """
    Try a refused mail again later, or give it up, and return which: ``retried`` or ``failed``.

    :param hours: how long after queueing the last attempt may start
    :raises ClaimLost: when somebody else holds the mail by now
    """
    at = now or connection.execute(select(func.now())).scalar_one()
    due_at = at + timedelta(seconds=wait_seconds(held.attempts))
    if due_at > held.queued_at + timedelta(hours=hours):
        settle(connection, held, "failed", error=error, now=now)
        return "failed"
    _to_pending(connection, held, {"due_at": due_at, "error": error}, now)
    return "retried"


def expired(connection: Connection, *, limit: int, hours: float, now: datetime | None = None) -> dict[str, int]:
    """
    Take back mails whose lease is over, and return how many go on, nobody knows about, and are given up.

    The first loss of a worker waits for nothing. After a further one each mail waits for a random part of what a
    refused one would wait: the one that ended the worker must not meet the same others again.

    :param hours: how long after queueing a mail is tried again
    """
    over = (
        select(ready_emails.c.id, ready_emails.c.run_id)
        .where(ready_emails.c.status.in_((PENDING, SENDING)), ready_emails.c.lease_expires_at < moment(now))
        .order_by(ready_emails.c.run_id, ready_emails.c.id)
        .limit(limit)
    )
    taken = connection.execute(over).all()
    found = [_take_back(connection, mail_id, run_id, hours, now) for mail_id, run_id in taken]
    names = {"retried": "pending", "unknown": "unknown", "failed": "failed"}
    return {name: found.count(status) for name, status in names.items()}


def _take_back(connection: Connection, mail_id: UUID, run_id: UUID, hours: float, now: datetime | None) -> str:
    """Take one expired mail back and return its status then; the fence moves only where nobody sent it."""
    _lock(connection, run_id)
    mine = (ready_emails.c.id == mail_id, ready_emails.c.lease_expires_at < moment(now))
    unknown = connection.execute(
        update(ready_emails)
        .where(*mine, ready_emails.c.status == SENDING)
        .values(status="unknown", error=UNKNOWN, updated_at=moment(now), **FREE)
    )
    if unknown.rowcount:
        connection.execute(SETTLE, {"run_id": run_id, "now": now})
        return "unknown"
    over = ready_emails.c.created_at <= later(now, -3600 * hours)
    freed = connection.execute(
        update(ready_emails)
        .where(*mine, ready_emails.c.status == PENDING)
        .values(
            status=case((over, "failed"), else_="pending"),
            error=case((over, WorkerLost().sentence), else_=ready_emails.c.error),
            fence=ready_emails.c.fence + 1,
            due_at=later(now, func.random() * _patience()),
            updated_at=moment(now),
            **FREE,
        )
        .returning(ready_emails.c.status)
    )
    status: str = freed.scalar_one_or_none() or "lost"
    if status == "failed":
        connection.execute(SETTLE, {"run_id": run_id, "now": now})
    return status


def _patience() -> ColumnElement[float]:
    """Return what :func:`wait_seconds` says of the attempts in the row, and nothing after the first."""
    doubled = FIRST_WAIT_SECONDS * func.power(2.0, func.least(ready_emails.c.attempts - 1, 30))
    return case((ready_emails.c.attempts <= 1, 0.0), else_=func.least(LONGEST_WAIT_SECONDS, doubled))


def _to_pending(connection: Connection, held: Claim, values: dict[str, Any], now: datetime | None) -> None:
    """Put one of our mails back in line."""
    put = connection.execute(
        update(ready_emails)
        .where(ours([held]), ready_emails.c.status.in_((PENDING, SENDING)))
        .values(status="pending", updated_at=moment(now), **FREE, **values)
    )
    if not put.rowcount:
        raise ClaimLost


def _lock(connection: Connection, run_id: UUID) -> None:
    """Lock the run, so that of two last mails the second sees the first."""
    connection.execute(select(runs.c.id).where(runs.c.id == run_id).with_for_update(key_share=True))
