"""
Frozen result rows: write, verify, read by page.

A snapshot key belongs to one execution of one INSERT … SELECT; what that statement left behind when it was killed
can never be published, because nothing but a verified key is.
"""

from dataclasses import dataclass

from worker import clickhouse
from worker.clickhouse import Answer
from worker.errors import SnapshotMismatch
from worker.plan import Plan


@dataclass(frozen=True, slots=True)
class Counted:
    """People who match topics, scores and overlap, and those of them who pass the filters."""

    candidates: int
    results: int


def count(plan: Plan, query_id: str) -> Counted:
    """
    Count candidates and results.

    :raises AttemptError: named by what ClickHouse refused
    """
    statement = plan.count
    answer = clickhouse.query(statement.sql, statement.parameters, options=statement.settings, query_id=query_id)
    candidates, results = answer.rows[0]
    return Counted(int(candidates), int(results))


def write(plan: Plan, query_id: str) -> Answer:
    """
    Write the snapshot in one statement, sent once, and return ClickHouse's account of it.

    :raises AttemptError: named by what ClickHouse refused
    """
    statement = plan.write
    return clickhouse.command(statement.sql, statement.parameters, options=statement.settings, query_id=query_id)


def verify(plan: Plan, rows: int, query_id: str) -> None:
    """
    Read the written key back: as many rows as were counted, ranked 1 to that number, each once.

    :raises SnapshotMismatch: when it is not so
    """
    statement = plan.verify
    answer = clickhouse.query(statement.sql, statement.parameters, options=statement.settings, query_id=query_id)
    written, first, last, distinct = (int(value) for value in answer.rows[0])
    expected = (rows, 1, rows, rows) if rows else (0, 0, 0, 0)
    if (written, first, last, distinct) != expected:
        raise SnapshotMismatch
