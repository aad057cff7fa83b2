"""What people did by hand: who, when, the verb, its object; written in the transaction of the act itself."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID, uuid4

from sqlalchemy import Connection, RowMapping, insert, select

from worker.database import moment
from worker.errors import Refusal
from worker.models import audit

LONGEST_NAME: Final = 100


def name_of(who: str) -> str:
    """
    Return a person's name as it is kept.

    :raises Refusal: when it has not 1 to 100 printable characters
    """
    name = who.strip()
    if not 1 <= len(name) <= LONGEST_NAME or not name.isprintable():
        raise Refusal(f"by: must have 1 to {LONGEST_NAME} printable characters.")
    return name


def note(connection: Connection, who: str, verb: str, thing: UUID | str, *, now: datetime | None = None) -> None:
    """
    Note an act; it is kept if and only if the act is.

    :param verb: as on the command line, ``runs retry`` for example
    :param thing: id of what was acted on, never a secret or an address
    :raises Refusal: when the name cannot be kept
    """
    line = {"id": uuid4(), "at": moment(now), "who": name_of(who), "verb": verb, "object": str(thing)}
    connection.execute(insert(audit).values(**line))


def latest(
    connection: Connection, *, who: str | None = None, thing: str | None = None, limit: int = 100
) -> Sequence[RowMapping]:
    """Return what was done, newest first, narrowed by what is given."""
    query = select(audit).order_by(audit.c.at.desc(), audit.c.id).limit(limit)
    if who is not None:
        query = query.where(audit.c.who == who)
    if thing is not None:
        query = query.where(audit.c.object == thing)
    return connection.execute(query).mappings().all()
