"""
The people of many audiences at once: picked from the serving index, counted, frozen under a snapshot key each.

What a pick has found stands in ``selections`` for two days; nothing but its own batch ever reads it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from worker import clickhouse, ddl, settings
from worker.clickhouse import Answer
from worker.plan import Counted
from worker.serving_plan import Pick

FEW_BYTES: Final = 1024 * 1024
"""What a pick of few people writes at most: some 30,000 of them. More take less time and memory when ranked first."""


@dataclass(frozen=True, slots=True)
class Frozen:
    """
    What came of one audience.

    :param snapshot: rows, lowest rank, highest rank and distinct ranks of what stands under its key
    :param loaded: the newest versions of the day's signals and of people, after it was frozen
    """

    counted: Counted
    snapshot: Sequence[int]
    loaded: tuple[int, int]

    def whole(self, rows: int) -> bool:
        """Return whether the snapshot holds so many rows, ranked 1 to their number, each once."""
        return tuple(self.snapshot) == ((rows, 1, rows, rows) if rows else (0, 0, 0, 0))


def pick(plan: Pick, query_id: str) -> bool:
    """
    Find everybody's people in one statement, and return whether they are known to be few.

    :raises AttemptError: named by what ClickHouse refused
    """
    statement = plan.pick
    sql = ddl.insert_by_shard(statement.sql, settings.current().shards, clickhouse.database())
    answer = clickhouse.command(sql, statement.parameters, options=statement.settings, query_id=query_id)
    return 0 < answer.written_bytes <= FEW_BYTES


def freeze(plan: Pick, query_id: str, *, few: bool) -> Answer:
    """
    Write all snapshots in one statement, sent once, and return ClickHouse's account of it.

    :param few: whether so few people were picked that they are hydrated and ranked at once
    :raises AttemptError: named by what ClickHouse refused
    """
    statement = plan.freeze_few if few else plan.freeze
    sql = ddl.global_by_shard(statement.sql, settings.current().shards)
    return clickhouse.command(sql, statement.parameters, options=statement.settings, query_id=query_id)


def frozen(plan: Pick, query_id: str) -> list[Frozen]:
    """
    Count the candidates and results of each audience, and read its snapshot back, in the order of the batch.

    :raises AttemptError: named by what ClickHouse refused
    """
    statement = plan.frozen
    answer = clickhouse.query(statement.sql, statement.parameters, options=statement.settings, query_id=query_id)
    return [Frozen(Counted(*figures[:2]), figures[2:6], (figures[6], figures[7])) for _, *figures in answer.rows]
