"""
The people of many audiences at once: picked from the serving index, counted, frozen under a snapshot key each.

What a pick has found stands in ``selections`` for two days; nothing but its own batch ever reads it.
"""

from collections.abc import Mapping
from uuid import UUID

from worker import clickhouse, ddl, settings
from worker.clickhouse import Answer
from worker.plan import Counted
from worker.serving_plan import Pick


def pick(plan: Pick, query_id: str) -> None:
    """
    Find everybody's people in one statement.

    :raises AttemptError: named by what ClickHouse refused
    """
    statement = plan.pick
    sql = ddl.insert_by_shard(statement.sql, settings.current().shards, clickhouse.database())
    clickhouse.command(sql, statement.parameters, options=statement.settings, query_id=query_id)


def tally(plan: Pick, query_id: str) -> list[Counted]:
    """
    Count the candidates and results of each audience, in the order of the batch.

    :raises AttemptError: named by what ClickHouse refused
    """
    statement = plan.tally
    answer = clickhouse.query(statement.sql, statement.parameters, options=statement.settings, query_id=query_id)
    return [Counted(int(candidates), int(results)) for _, candidates, results in answer.rows]


def freeze(plan: Pick, query_id: str) -> Answer:
    """
    Write all snapshots in one statement, sent once, and return ClickHouse's account of it.

    :raises AttemptError: named by what ClickHouse refused
    """
    statement = plan.freeze
    sql = ddl.global_by_shard(statement.sql, settings.current().shards)
    return clickhouse.command(sql, statement.parameters, options=statement.settings, query_id=query_id)


def whole(plan: Pick, rows: Mapping[UUID, int], query_id: str) -> set[UUID]:
    """
    Read the written keys back, and return those that hold their rows, ranked 1 to their number, each once.

    :param rows: how many rows each snapshot key should hold
    :raises AttemptError: named by what ClickHouse refused
    """
    statement = plan.frozen
    answer = clickhouse.query(statement.sql, statement.parameters, options=statement.settings, query_id=query_id)
    found = {UUID(str(key)): tuple(map(int, figures)) for key, *figures in answer.rows}
    nothing = (0, 0, 0, 0)
    return {key for key, n in rows.items() if found.get(key, nothing) == ((n, 1, n, n) if n else nothing)}
