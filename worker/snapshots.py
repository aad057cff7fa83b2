"""
Frozen result rows: write, verify, read by page.

A snapshot key belongs to one execution of one INSERT … SELECT; what that statement left behind when it was killed
can never be published, because nothing but a verified key is.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib import resources
from string import Template
from typing import Any, Final
from uuid import UUID

from worker import clickhouse, csv_format
from worker.clickhouse import Answer
from worker.errors import SnapshotMismatch
from worker.plan import Plan

MOST_GROUPS: Final = 5


@dataclass(frozen=True, slots=True)
class Counted:
    """People who match topics, scores and overlap, and those of them who pass the filters."""

    candidates: int
    results: int


@dataclass(frozen=True, slots=True)
class Summary:
    """The largest groups of a snapshot, each as (name, people), largest first; an empty name is nobody's."""

    seniorities: tuple[tuple[str, int], ...]
    industries: tuple[tuple[str, int], ...]


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


def pages(
    snapshot_key: UUID, written_on: date, *, limit: int, page_rows: int, query_id: str, most_seconds: int = 60
) -> Iterator[Sequence[Sequence[Any]]]:
    """
    Yield the first rows of a snapshot in rank order, page by page, each a short query of its own.

    :param limit: rows in all, at most; pages end earlier where the snapshot does
    :param page_rows: rows a page
    :param query_id: of the first page; the others are ``{query_id}-2``, ``{query_id}-3`` …
    :param most_seconds: what one page may take on the server
    :returns: rows in the order of :data:`worker.csv_format.COLUMNS`
    :raises AttemptError: named by what ClickHouse refused
    """
    sql = _statement("page", columns=", ".join(csv_format.COLUMNS))
    for number, first in enumerate(range(1, limit + 1, page_rows), start=1):
        last = min(first + page_rows - 1, limit)
        place = {"snapshot_key": str(snapshot_key), "written_on": written_on, "first": first, "last": last}
        answer = clickhouse.query(
            sql,
            place,
            options={"max_execution_time": most_seconds},
            query_id=query_id if number == 1 else f"{query_id}-{number}",
        )
        if answer.rows:
            yield answer.rows
        if len(answer.rows) < last - first + 1:
            return


def summary(snapshot_key: UUID, written_on: date, *, query_id: str, most_seconds: int = 60) -> Summary:
    """
    Count a snapshot's people by seniority and by industry, in one statement.

    :raises AttemptError: named by what ClickHouse refused
    """
    answer = clickhouse.query(
        _statement("summary"),
        {"snapshot_key": str(snapshot_key), "written_on": written_on, "groups": MOST_GROUPS},
        options={"max_execution_time": most_seconds},
        query_id=query_id,
    )
    found: dict[str, list[tuple[str, int]]] = {"seniority": [], "industry": []}
    for kind, value, people in answer.rows:
        found[kind].append((value, int(people)))
    return Summary(tuple(found["seniority"]), tuple(found["industry"]))


@cache
def _statement(name: str, **fragments: str) -> str:
    """Read one statement of ``queries``; what is filled in is ours, every value is bound."""
    file = resources.files("worker") / "queries" / f"{name}.sql"
    return Template(file.read_text(encoding="utf-8")).substitute(fragments)
