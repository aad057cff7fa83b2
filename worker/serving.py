"""
The serving index of a day: who builds it, which pieces of it stand, when it may be read.

An index is known by its day and by the versions of signals, people and plan; any other data wants another one. It is
built piece by piece under a lease and a fence, like a run. A piece stands under a number of one execution alone, and
only the numbers written down here are ever read, so what a lost builder leaves behind is never seen.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final
from uuid import UUID, uuid4

from sqlalchemy import ColumnElement, Connection, and_, func, literal, or_, select, update
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.types import BigInteger

from worker import clickhouse, ddl, serving_plan
from worker.audience import LOWEST_SCORE
from worker.database import moment
from worker.errors import ClaimLost
from worker.models import serving_indexes as indexes
from worker.settings import current

Versions = tuple[int, int, int]
"""Of the day's signals, of people and of the plan."""

KEPT: Final = 2
"""So many indexes stay: the newest, and the one before it for runs that come late."""

HASHES: Final = 2**64
# What no index names any more may belong to an INSERT that is still going on; none takes this long, in seconds.
ORPHAN_SECONDS: Final = 3600

SIZES: Final = """
SELECT
    (
        SELECT max(signals)
        FROM (
            SELECT count() AS signals
            FROM intent_signals
            WHERE data_date = {data_date:Date} AND score >= {lowest_score:UInt8}
            GROUP BY shardNum()
        )
    ),
    (SELECT max(people) FROM (SELECT count() AS people FROM people GROUP BY shardNum()))
"""

PARTITIONS: Final = """
SELECT DISTINCT replaceOne(table, '_shard', '') AS name, toUInt64(partition) AS piece
FROM system.parts
WHERE database = currentDatabase() AND name IN ('serving_index', 'serving_texts') AND active
    AND modification_time <= now() - {seconds:UInt32}
    AND piece NOT IN {known:Array(UInt64)}
"""


@dataclass(frozen=True, slots=True)
class Index:
    """An index that may be read."""

    id: UUID
    data_date: date
    versions: Versions
    pieces: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Building:
    """An index that is ours to build until somebody raises its fence; ``wanted`` pieces in all."""

    id: UUID
    fence: int
    data_date: date
    pieces: tuple[int, ...]
    wanted: int
    failures: int

    def query_ids(self, position: int) -> tuple[str, str]:
        """Return the ids of the statements that write one piece: its rows, and its texts."""
        return f"{self.id}-{self.fence}-{position}-rows", f"{self.id}-{self.fence}-{position}-texts"


def want(connection: Connection, data_date: date, versions: Versions, pieces: int, *, now: datetime | None) -> None:
    """Ask for an index, in so many pieces, unless there is one."""
    named = dict(zip(("data_version", "people_version", "plan_version"), versions, strict=True))
    row = {"id": uuid4(), "data_date": data_date, **named, "pieces_wanted": pieces}
    connection.execute(
        insert(indexes).values(**row, due_at=moment(now), wanted_at=moment(now)).on_conflict_do_nothing()
    )


def ready(connection: Connection, data_date: date, versions: Versions) -> Index | None:
    """Return the index of a day and its versions, if it may be read."""
    found = connection.execute(
        select(indexes.c.id, indexes.c.pieces).where(_of(data_date, versions), indexes.c.status == "ready")
    ).one_or_none()
    return Index(found.id, data_date, versions, tuple(found.pieces)) if found else None


def age(connection: Connection, data_date: date, versions: Versions, *, now: datetime | None) -> float | None:
    """Return the seconds since an index was asked for; None when nobody has."""
    asked = func.extract("epoch", moment(now) - indexes.c.wanted_at)
    seconds = connection.scalar(select(asked).where(_of(data_date, versions)))
    return None if seconds is None else float(seconds)


def claim(
    connection: Connection,
    data_date: date,
    versions: Versions,
    worker: str,
    *,
    lease_seconds: float,
    now: datetime | None,
) -> Building | None:
    """Take the building of an index that is due and that nobody holds; None when there is nothing to take."""
    free = or_(indexes.c.claimed_by.is_(None), indexes.c.lease_expires_at < moment(now))
    taken = connection.execute(
        update(indexes)
        .where(_of(data_date, versions), indexes.c.status == "building", indexes.c.due_at <= moment(now), free)
        .values(fence=indexes.c.fence + 1, claimed_by=worker, lease_expires_at=_lease(lease_seconds, now))
        .returning(indexes.c.id, indexes.c.fence, indexes.c.pieces, indexes.c.pieces_wanted, indexes.c.failures)
    ).one_or_none()
    if taken is None:
        return None
    return Building(taken.id, taken.fence, data_date, tuple(taken.pieces), taken.pieces_wanted, taken.failures)


def renew(connection: Connection, held: Building, *, seconds: float, now: datetime | None = None) -> bool:
    """Extend a lease and return whether the claim still holds."""
    renewed = connection.execute(update(indexes).where(_held(held)).values(lease_expires_at=_lease(seconds, now)))
    return renewed.rowcount == 1


def add(connection: Connection, held: Building, piece: int, *, now: datetime | None = None) -> bool:
    """
    Write down that a piece stands, and return whether the index is whole, and so ready.

    :raises ClaimLost: when the building is no longer ours
    """
    pieces = func.array_append(indexes.c.pieces, literal(piece, BigInteger), type_=ARRAY(BigInteger))
    added = connection.execute(
        update(indexes)
        .where(_held(held))
        .values(pieces=pieces)
        .returning(func.cardinality(indexes.c.pieces) == indexes.c.pieces_wanted)
    ).scalar_one_or_none()
    if added is None:
        raise ClaimLost
    if added:
        left = {"claimed_by": None, "lease_expires_at": None, "error_code": None}
        connection.execute(update(indexes).where(_held(held)).values(status="ready", ready_at=moment(now), **left))
    return bool(added)


def release(
    connection: Connection, held: Building, *, seconds: float = 0, error_code: str | None = None, now: datetime | None
) -> None:
    """
    Let go of a building that is not whole; the pieces that stand are kept.

    :param seconds: how long nobody is to take it
    :param error_code: what went wrong, if something did
    """
    later = {"due_at": moment(now) + func.make_interval(0, 0, 0, 0, 0, 0, seconds)}
    failed = {"failures": indexes.c.failures + 1, "error_code": error_code} if error_code else {}
    left = {"claimed_by": None, "lease_expires_at": None}
    connection.execute(update(indexes).where(_held(held)).values(**left, **later, **failed))


def usable(connection: Connection, index: Index) -> bool:
    """Return whether an index that was ready has not been given up since."""
    return connection.scalar(select(indexes.c.status).where(indexes.c.id == index.id)) == "ready"


def give_up_old(connection: Connection, *, now: datetime | None) -> Collection[int]:
    """Give up all but the newest indexes, and return the pieces that may still be read or added to."""
    newest = select(indexes.c.id).where(indexes.c.status == "ready")
    newest = newest.order_by(indexes.c.data_date.desc(), indexes.c.wanted_at.desc()).limit(KEPT)
    oldest = select(func.min(indexes.c.data_date)).where(indexes.c.id.in_(newest)).scalar_subquery()
    stale = or_(indexes.c.status == "ready", and_(indexes.c.status == "building", indexes.c.data_date < oldest))
    gone = {"status": "dropped", "ready_at": func.coalesce(indexes.c.ready_at, moment(now))}
    free = {"claimed_by": None, "lease_expires_at": None}
    connection.execute(update(indexes).where(stale, indexes.c.id.not_in(newest)).values(**gone, **free))
    kept = connection.scalars(select(indexes.c.pieces).where(indexes.c.status != "dropped"))
    return {piece for pieces in kept for piece in pieces}


def write(held: Building, position: int, piece: int, settings: dict[str, object]) -> None:
    """
    Write one piece, the share of all hashes at this position.

    :raises AttemptError: named by what ClickHouse refused
    """
    share = HASHES // held.wanted
    last = HASHES - 1 if position == held.wanted - 1 else share * (position + 1) - 1
    statements = serving_plan.piece(piece, held.data_date, (share * position, last), settings)
    for statement, query_id in zip(statements, held.query_ids(position), strict=True):
        sql = ddl.insert_by_shard(statement.sql, current().shards, clickhouse.database())
        clickhouse.command(sql, statement.parameters, options=statement.settings, query_id=query_id)


def sizes(data_date: date) -> tuple[int, int]:
    """Count the signals that can count and the people, each on the shard that has most of them."""
    signals, people = clickhouse.query(SIZES, {"data_date": data_date, "lowest_score": LOWEST_SCORE}).rows[0]
    return int(signals), int(people)


def sweep(known: Collection[int]) -> int:
    """Drop the pieces that no index names, whole partitions, and return how many went."""
    shards = current().shards
    found = clickhouse.query(
        ddl.parts_by_shard(PARTITIONS, shards),
        {"known": sorted(known), "seconds": ORPHAN_SECONDS},
        seconds=clickhouse.SHORT,
    )
    rows: Sequence[Sequence[object]] = found.rows
    for table, piece in rows:
        clickhouse.command(ddl.alter_by_shard(f"ALTER TABLE {table} DROP PARTITION {int(str(piece))}", shards))
    return len(rows)


def _of(data_date: date, versions: Versions) -> ColumnElement[bool]:
    return and_(
        indexes.c.data_date == data_date,
        indexes.c.data_version == versions[0],
        indexes.c.people_version == versions[1],
        indexes.c.plan_version == versions[2],
    )


def _held(held: Building) -> ColumnElement[bool]:
    return and_(indexes.c.id == held.id, indexes.c.fence == held.fence, indexes.c.status == "building")


def _lease(seconds: float, now: datetime | None) -> ColumnElement[datetime]:
    return moment(now) + func.make_interval(0, 0, 0, 0, 0, 0, seconds)
