"""What was asked for and how far it has come: an erasure that is cut short goes on from here."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from uuid import UUID, uuid4

from sqlalchemy import Connection, RowMapping, delete, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from worker.database import moment
from worker.models import erasures
from worker.models import rewrites as written


@dataclass(frozen=True, slots=True)
class Rewrite:
    """
    A snapshot that is written anew.

    :param run_ids: the runs that were led from the old key to the new one; None while none was
    """

    new_key: UUID
    old_key: UUID
    written_on: date
    run_ids: Sequence[UUID] | None = None


def ask(connection: Connection, hem_hash: int, *, now: datetime | None = None) -> UUID:
    """Write down that a person is to be left out for good, and return the erasure's id; a finished one begins again."""
    again = {"status": "running", "finished_at": None}
    asked = upsert(erasures).values(id=uuid4(), hem_hash=Decimal(hem_hash), asked_at=moment(now))
    query = asked.on_conflict_do_update(index_elements=[erasures.c.hem_hash], set_=again).returning(erasures.c.id)
    erasure_id: UUID = connection.execute(query).scalar_one()
    return erasure_id


def saved(connection: Connection) -> Sequence[RowMapping]:
    """Return every erasure, the newest first."""
    query = select(erasures).order_by(erasures.c.asked_at.desc(), erasures.c.id)
    return connection.execute(query).mappings().all()


def note(connection: Connection, erasure_id: UUID, old_key: UUID, written_on: date) -> Rewrite:
    """Write down that a snapshot is about to be written anew, under a key that nothing was ever written under."""
    rewrite = Rewrite(uuid4(), old_key, written_on)
    values = {"new_key": rewrite.new_key, "old_key": old_key, "written_on": written_on}
    connection.execute(insert(written).values(erasure_id=erasure_id, **values))
    return rewrite


def publish(connection: Connection, rewrite: Rewrite, run_ids: Sequence[UUID]) -> None:
    """Write down which runs were led to the new snapshot, in the transaction that leads them."""
    mine = written.c.new_key == rewrite.new_key
    connection.execute(update(written).where(mine).values(run_ids=list(run_ids)))
    counted = {"snapshots": erasures.c.snapshots + int(bool(run_ids)), "runs": erasures.c.runs + len(run_ids)}
    connection.execute(update(erasures).where(erasures.c.id == written.c.erasure_id, mine).values(counted))


def rewrites(connection: Connection, erasure_id: UUID) -> Sequence[Rewrite]:
    """Return the snapshots that an erasure has begun to write anew."""
    query = select(written.c.new_key, written.c.old_key, written.c.written_on, written.c.run_ids)
    return [Rewrite(*row) for row in connection.execute(query.where(written.c.erasure_id == erasure_id))]


def finish(connection: Connection, erasure_id: UUID, *, now: datetime | None = None) -> None:
    """Note that nothing of the person is left, and forget which snapshots they were in."""
    connection.execute(delete(written).where(written.c.erasure_id == erasure_id))
    ended = update(erasures).where(erasures.c.id == erasure_id)
    connection.execute(ended.values(status="finished", finished_at=moment(now)))
