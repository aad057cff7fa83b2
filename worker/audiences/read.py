"""Look at saved definitions, or hold one."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, RowMapping, false, func, select, true

from worker.errors import AudienceNotFound
from worker.models import audiences


def get(connection: Connection, audience_id: UUID, organization_id: UUID | None = None) -> RowMapping:
    """
    Return one audience.

    :param organization_id: the only organization to look in; None for an operator
    :raises AudienceNotFound: when it does not exist there, or was deleted
    """
    return _one(connection, audience_id, organization_id, lock=False)


def locked(connection: Connection, audience_id: UUID, organization_id: UUID | None = None) -> RowMapping:
    """
    Return one audience and hold its row until the transaction ends; requests for one audience stand in line.

    :raises AudienceNotFound: when it does not exist there, or was deleted
    """
    return _one(connection, audience_id, organization_id, lock=True)


def saved(
    connection: Connection,
    *,
    organization_id: UUID | None = None,
    status: str | None = None,
    limit: int | None = 100,
    offset: int = 0,
) -> Sequence[RowMapping]:
    """
    Return audiences that are not deleted, newest first, narrowed by what is given; all for a limit of None.

    :param offset: how many of the newest to leave out
    """
    query = select(audiences).where(audiences.c.deleted_at.is_(None))
    if organization_id is not None:
        query = query.where(audiences.c.organization_id == organization_id)
    if status is not None:
        query = query.where(audiences.c.status == status)
    query = query.order_by(audiences.c.created_at.desc(), audiences.c.id).limit(limit).offset(offset)
    return connection.execute(query).mappings().all()


def recipients(connection: Connection, audience_id: UUID, run_type: str) -> Sequence[str]:
    """Return who hears of a completed run of this type."""
    wanted = true() if run_type == "daily" else audiences.c.notify_on_manual if run_type == "manual" else false()
    query = select(audiences.c.notify_emails).where(
        audiences.c.id == audience_id, audiences.c.deleted_at.is_(None), wanted
    )
    return connection.scalar(query) or ()


def clock(connection: Connection, now: datetime | None) -> datetime:
    """Return the database's time, or the one a test goes by."""
    return now or connection.execute(select(func.now())).scalar_one()


def _one(connection: Connection, audience_id: UUID, organization_id: UUID | None, *, lock: bool) -> RowMapping:
    """Read one audience, holding its row if asked to."""
    query = select(audiences).where(audiences.c.id == audience_id, audiences.c.deleted_at.is_(None))
    if organization_id is not None:
        query = query.where(audiences.c.organization_id == organization_id)
    row = connection.execute(query.with_for_update(key_share=True) if lock else query).mappings().one_or_none()
    if row is None:
        raise AudienceNotFound(f"There is no audience {audience_id}.")
    return row
