"""
The rows of a person in ClickHouse: left out, written anew without them, deleted.

Whatever is asked goes by ``hem_hash``, as the plans do.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib import resources
from typing import Any, Final
from uuid import UUID

from worker import clickhouse, ddl, settings
from worker.erasures.asked import Rewrite
from worker.errors import SnapshotMismatch

# A look at every row there is, and a part of the table written anew: nobody waits for either but the operator.
PATIENCE_SECONDS: Final = 3600
# Keys or hashes a statement, 36 characters each at most: ClickHouse takes 131,072 bytes a value.
KEYS: Final = 2000


@dataclass(frozen=True, slots=True)
class Rewritten:
    """A snapshot that was written anew and verified: the rows it has now, and those it has no more."""

    rows: int
    gone: int


def hashed(hashed_email: str) -> int:
    """Return the hash that ClickHouse knows a person by."""
    answer = clickhouse.query("SELECT cityHash64({hashed_email:String})", {"hashed_email": hashed_email})
    return int(answer.rows[0][0])


def leave_out(hem_hashes: Collection[int]) -> None:
    """Let no statement that begins from now on find these people; again changes nothing."""
    for some in _some(hem_hashes):
        clickhouse.command(_statement("leave_out"), {"hem_hashes": list(map(int, some))})


def holders(hem_hash: int) -> Sequence[tuple[UUID, date]]:
    """Return the snapshot keys that a person stands under, published or not, each with the day it was written on."""
    return [(key, written_on) for key, written_on in _asked("holders", {"hem_hash": hem_hash})]


def query_id(new_key: UUID) -> str:
    """Return the id of the one statement that ever writes under a new key."""
    return f"{new_key}-rewrite"


def write(rewrite: Rewrite) -> Rewritten:
    """
    Write a snapshot anew without any erased person, in one statement that is sent once, and read it back.

    :raises SnapshotMismatch: when the ranks are not 1 to the number of rows, or the rows not those that were to stay
    :raises AttemptError: named by what ClickHouse refused
    """
    current = settings.current()
    limits = {"max_execution_time": current.query_seconds, "max_memory_usage": current.query_memory_bytes}
    keys: dict[str, Any] = {"new_key": str(rewrite.new_key), "old_key": str(rewrite.old_key)}
    keys["written_on"] = rewrite.written_on
    clickhouse.command(_statement("rewrite"), keys, options=limits, query_id=query_id(rewrite.new_key))
    rows, first, last, distinct, erased, before, gone = map(int, _asked("rewritten", keys)[0])
    kept = before - gone
    if (rows, first, last, distinct, erased) != ((kept, 1, kept, kept, 0) if kept else (0, 0, 0, 0, 0)):
        raise SnapshotMismatch
    return Rewritten(rows, gone)


def delete(written_on: date, keys: Collection[UUID]) -> None:
    """Delete everything under these keys of one day, and wait until it is gone from the disk's live parts."""
    for some in _some(keys):
        values = {"written_on": written_on, "keys": some}
        sql = ddl.alter_by_shard(_statement("forget"), settings.current().shards)
        clickhouse.command(sql, values, options={"mutations_sync": 2}, seconds=PATIENCE_SECONDS)


def remain(hem_hash: int, keys: Collection[UUID]) -> bool:
    """Return whether there is a row of this person under any key, or any row under these keys."""
    found = (_asked("remain", {"hem_hash": hem_hash, "keys": some})[0][0] for some in _some(keys) or [[]])
    return any(map(int, found))


def _some(keys: Collection[UUID | int]) -> list[list[str]]:
    """Spell keys or hashes, so many at a time."""
    spelled = sorted(map(str, keys))
    return [spelled[start : start + KEYS] for start in range(0, len(spelled), KEYS)]


def _asked(name: str, values: dict[str, Any]) -> Sequence[Sequence[Any]]:
    """Ask, and be patient."""
    options = {"max_execution_time": PATIENCE_SECONDS}
    return clickhouse.query(_statement(name), values, options=options, seconds=PATIENCE_SECONDS + 10).rows


@cache
def _statement(name: str) -> str:
    """Read one statement of ``queries``; every value is bound."""
    return (resources.files("worker") / "queries" / f"{name}.sql").read_text(encoding="utf-8")
