"""
Organizations that may not run as much as others: an operator's brake.

A claim leaves no organization with more runs under way in a lane than its limit, whoever else waits or does not. With
0 nothing of it is claimed: what waits stays queued, what runs is completed.
"""

from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import Connection, delete, select
from sqlalchemy.dialects.postgresql import insert

from worker.database import moment
from worker.errors import NotFound, Refusal
from worker.models import audiences, organization_limits

MOST_STATEMENTS: Final = 1000


def limit(connection: Connection, organization_id: UUID, statements: int, *, now: datetime | None = None) -> None:
    """
    Limit an organization, in place of any limit it has had.

    :param statements: runs that it may have under way in each lane, 0 to 1,000
    :raises Refusal: when the limit is out of bounds
    :raises NotFound: when nobody has heard of this organization
    """
    if not 0 <= statements <= MOST_STATEMENTS:
        raise Refusal(f"statements: must be 0 to {MOST_STATEMENTS:,}.")
    known = select(audiences.c.id).where(audiences.c.organization_id == organization_id).limit(1)
    if connection.execute(known).first() is None:
        raise NotFound(f"There is no audience of organization {organization_id}.")
    values = {"statements": statements, "updated_at": moment(now)}
    connection.execute(
        insert(organization_limits)
        .values(organization_id=organization_id, created_at=moment(now), **values)
        .on_conflict_do_update(index_elements=[organization_limits.c.organization_id], set_=values)
    )


def free(connection: Connection, organization_id: UUID) -> bool:
    """Take an organization's limit away and return whether there was one."""
    freed = connection.execute(
        delete(organization_limits).where(organization_limits.c.organization_id == organization_id)
    )
    return freed.rowcount == 1
