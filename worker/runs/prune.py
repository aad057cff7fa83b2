"""
Let go of runs and attempts whose time is over.

Nothing goes that was not counted yet: the totals of /metrics are made of these rows. A snapshot that several runs
share is none of theirs, so it stays as long as it is kept.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import ARRAY, ColumnElement, Connection, Uuid, any_, delete, literal, select, tuple_

from worker.database import moment
from worker.models import counted, exports, ready_emails, run_attempts, runs


def outlived(
    connection: Connection, *, days: int, limit: int, now: datetime | None = None
) -> Sequence[tuple[UUID, bool]]:
    """
    Return runs that ended so long ago that they may go, the oldest first, and whether each has, or had, a file.

    :param days: how long a run is kept
    """
    has_file = select(exports.c.id).where(exports.c.run_id == runs.c.id).exists()
    query = select(runs.c.id, has_file).where(*_over(days, now)).order_by(runs.c.finished_at).limit(limit)
    return [(row[0], row[1]) for row in connection.execute(query)]


def forget(connection: Connection, run_ids: Sequence[UUID], *, days: int, now: datetime | None = None) -> int:
    """
    Delete these runs, with their attempts, keys, exports and mails, as far as they may still go; return how many went.

    The files of their exports must be gone before.
    """
    these = select(runs.c.id).where(runs.c.id == any_(literal(list(run_ids), ARRAY(Uuid))), *_over(days, now))
    free = these.with_for_update(skip_locked=True).cte("free")
    return connection.execute(delete(runs).where(runs.c.id == free.c.id)).rowcount


def forget_attempts(connection: Connection, *, days: int, limit: int, now: datetime | None = None) -> int:
    """Delete attempts of runs that ended so long ago, the oldest first, and return how many went."""
    before = moment(now) - timedelta(days=days)
    old = (
        select(run_attempts.c.run_id, run_attempts.c.fence)
        .join(runs, runs.c.id == run_attempts.c.run_id)
        .where(run_attempts.c.ended_at < before, runs.c.finished_at < before, runs.c.finished_at < _counted())
        .order_by(run_attempts.c.ended_at)
        .limit(limit)
        .with_for_update(of=run_attempts, skip_locked=True)
        .cte("old")
    )
    mine = tuple_(run_attempts.c.run_id, run_attempts.c.fence) == tuple_(old.c.run_id, old.c.fence)
    return connection.execute(delete(run_attempts).where(mine)).rowcount


def _over(days: int, now: datetime | None) -> tuple[ColumnElement[bool], ...]:
    """Match runs whose time is over: nothing of theirs can be read, is on its way or is still to be counted."""
    file = select(exports.c.id).where(
        exports.c.run_id == runs.c.id,
        (exports.c.status == "processing") | ((exports.c.status == "completed") & (exports.c.expires_at > moment(now))),
    )
    mail = select(ready_emails.c.id).where(
        ready_emails.c.run_id == runs.c.id,
        ready_emails.c.status.in_(("pending", "sending")) | (ready_emails.c.updated_at >= _counted()),
    )
    return (
        runs.c.finished_at < moment(now) - timedelta(days=days),
        runs.c.finished_at < _counted(),
        runs.c.results_expire_at.is_(None) | (runs.c.results_expire_at <= moment(now)),
        ~file.exists(),
        ~mail.exists(),
    )


def _counted() -> ColumnElement[datetime]:
    """Return up to when everything is in the totals; nothing compares as earlier where nothing was counted yet."""
    return select(counted.c.until).scalar_subquery()
