"""Take a recipient off an audience's list, at the recipient's own wish."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, func, update

from worker.database import moment
from worker.models import audiences


def leave(connection: Connection, audience_id: UUID, address: str, *, now: datetime | None = None) -> None:
    """
    Take one address off an audience's list, spelled as it is kept there; one that is not on it changes nothing.

    The other addresses are not looked at: none of them may stand in the way of a wish like this.
    """
    listed = (audiences.c.id == audience_id, audiences.c.notify_emails.contains([address]))
    fewer = func.array_remove(audiences.c.notify_emails, address)
    connection.execute(update(audiences).where(*listed).values(notify_emails=fewer, updated_at=moment(now)))
