"""Queue mails, and look at them."""

from collections.abc import Sequence
from datetime import datetime
from email.utils import parseaddr
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import ARRAY, Connection, RowMapping, Text, any_, literal, select
from sqlalchemy.dialects.postgresql import insert

from worker import settings
from worker.database import moment
from worker.models import ready_emails


def queue(
    connection: Connection,
    *,
    organization_id: UUID,
    run_id: UUID,
    recipients: Sequence[str],
    now: datetime | None = None,
) -> int:
    """Queue a run's mails, one a recipient, and return how many are new."""
    rows = [_row(organization_id, run_id, recipient) for recipient in dict.fromkeys(recipients)]
    return _queued(connection, rows, now)


def told(connection: Connection, run_id: UUID) -> set[str]:
    """Return everybody whom a run's mails were written to, whatever became of them."""
    query = select(ready_emails.c.recipient).where(ready_emails.c.run_id == run_id).distinct()
    return set(connection.scalars(query))


def again(
    connection: Connection,
    *,
    organization_id: UUID,
    run_id: UUID,
    recipients: Sequence[str],
    now: datetime | None = None,
) -> int:
    """
    Queue one more generation of a run's mails to these recipients, and return how many there are.

    Whoever has one on its way gets no other.
    """
    mails = (ready_emails.c.run_id == run_id, ready_emails.c.recipient == any_(literal(list(recipients), ARRAY(Text))))
    query = select(ready_emails.c.recipient, ready_emails.c.generation, ready_emails.c.status).where(*mails)
    # The newest generation of each comes last and stays.
    last = {row.recipient: row for row in connection.execute(query.order_by(ready_emails.c.generation))}
    resting = [one for one in recipients if one not in last or last[one].status not in {"pending", "sending"}]
    rows = [
        _row(organization_id, run_id, one) | {"generation": last[one].generation + 1 if one in last else 1}
        for one in resting
    ]
    return _queued(connection, rows, now)


def latest(
    connection: Connection,
    *,
    organization_id: UUID | None = None,
    run_id: UUID | None = None,
    status: str | None = None,
    limit: int = 100,
) -> Sequence[RowMapping]:
    """Return mails, newest first, narrowed by what is given."""
    query = select(ready_emails).order_by(ready_emails.c.created_at.desc(), ready_emails.c.recipient).limit(limit)
    if organization_id is not None:
        query = query.where(ready_emails.c.organization_id == organization_id)
    if run_id is not None:
        query = query.where(ready_emails.c.run_id == run_id)
    if status is not None:
        query = query.where(ready_emails.c.status == status)
    return connection.execute(query).mappings().all()


def _queued(connection: Connection, rows: Sequence[dict[str, Any]], now: datetime | None) -> int:
    """Queue mails, and return how many are new."""
    if not rows:
        return 0
    born = {"due_at": moment(now), "created_at": moment(now)}
    mails = insert(ready_emails).values([row | born for row in rows]).on_conflict_do_nothing()
    return len(connection.execute(mails.returning(ready_emails.c.id)).all())


def _row(organization_id: UUID, run_id: UUID, recipient: str) -> dict[str, Any]:
    """Build one mail; its Message-ID stays the same however often it is tried."""
    mail_id = uuid4()
    domain = parseaddr(settings.current().mail_from)[1].rpartition("@")[2] or "localhost"
    row = {"id": mail_id, "organization_id": organization_id, "run_id": run_id, "recipient": recipient}
    return row | {"message_id": f"<{mail_id}@{domain}>"}
