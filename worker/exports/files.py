"""
Take files out of the storage: those whose time is over, and those that a rewritten snapshot has made untrue.

Of a run's files only one may be needed: the one that is offered, or the one that a claim is writing. What has a lower
fence was left behind by claims that are over.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import ARRAY, ColumnElement, Connection, Uuid, and_, any_, case, literal, or_, select, update

from worker import storage
from worker.database import moment
from worker.exports.claim import PROCESSING
from worker.exports.finish import FREE
from worker.models import exports


@dataclass(frozen=True, slots=True)
class Leftover:
    """A run whose files below a fence nobody needs any more."""

    run_id: UUID
    below: int


def expired_files(connection: Connection, *, limit: int, now: datetime | None = None) -> Sequence[Leftover]:
    """Return exports that are no longer offered and whose file is still there, the longest expired first."""
    query = (
        select(exports.c.run_id, exports.c.fence + 1)
        .where(exports.c.status == "completed", exports.c.expires_at <= moment(now), exports.c.removed_at.is_(None))
        .order_by(exports.c.expires_at)
        .limit(limit)
    )
    return [Leftover(*row) for row in connection.execute(query)]


def leftovers(connection: Connection, run_ids: Sequence[UUID], *, now: datetime | None = None) -> Sequence[Leftover]:
    """Return what of these runs' files nobody needs."""
    needed = or_(
        exports.c.claimed_by.is_not(None), and_(exports.c.status == "completed", exports.c.expires_at > moment(now))
    )
    query = select(exports.c.run_id, exports.c.fence + case((needed, 0), else_=1)).where(_of(run_ids))
    return [Leftover(*row) for row in connection.execute(query)]


def withdraw(connection: Connection, run_ids: Sequence[UUID], *, now: datetime | None = None) -> None:
    """
    Offer no file of these runs any more, and let nobody finish one that has been begun.

    A file that was offered counts as expired, so it is made anew for whoever asks; one that was being written is due
    again. Whoever is about to settle one is waited for.
    """
    connection.execute(select(exports.c.id).where(_of(run_ids)).order_by(exports.c.id).with_for_update())
    offered = (exports.c.status == "completed", exports.c.expires_at > moment(now))
    over = {"expires_at": moment(now), "updated_at": moment(now)}
    connection.execute(update(exports).where(_of(run_ids), *offered).values(over))
    again = {"fence": exports.c.fence + 1, "due_at": moment(now), "updated_at": moment(now), **FREE}
    connection.execute(update(exports).where(_of(run_ids), exports.c.status == PROCESSING).values(again))


def clear(run_id: UUID, below: int | None = None) -> int:
    """
    Delete a run's files and return how many there were.

    :param below: only those of earlier claims than this fence; all of them for None
    :raises StorageUnavailable: when the storage does not answer
    :raises StorageMisconfigured: when it refuses
    """
    return storage.clear(str(run_id), lambda name: below is None or _fence(name, below) < below)


def removed(connection: Connection, files: Sequence[Leftover], *, now: datetime | None = None) -> None:
    """Note which exports have no file any more, unless one was asked for anew meanwhile."""
    for file in files:
        gone = (exports.c.run_id == file.run_id, exports.c.fence < file.below, exports.c.status == "completed")
        connection.execute(update(exports).where(*gone).values(removed_at=moment(now), updated_at=moment(now)))


def _of(run_ids: Sequence[UUID]) -> ColumnElement[bool]:
    """Match the exports of these runs."""
    return exports.c.run_id == any_(literal(list(run_ids), ARRAY(Uuid)))


def _fence(name: str, unknown: int) -> int:
    """Return the fence of the claim that wrote a file, or began to."""
    fence = name.partition(".")[0]
    return int(fence) if fence.isdecimal() else unknown
