"""
Frozen result rows: write, verify, read by page.

A snapshot key belongs to one execution of one INSERT … SELECT; what that statement left behind when it was killed
can never be published, because nothing but a verified key is.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib import resources
from string import Template
from typing import Any, Final
from uuid import UUID

from worker import clickhouse, csv_format, person
from worker.clickhouse import Answer
from worker.errors import ExportMismatch, SnapshotMismatch
from worker.plan import Counted, Plan

MOST_GROUPS: Final = 5
PREVIEW_ROWS: Final = 100
BUCKETS: Final = ((50, 69), (70, 89), (90, 99))
"""The scores that stats count people by, both bounds included; there are no others."""


@dataclass(frozen=True, slots=True)
class Summary:
    """The largest groups of a snapshot, each as (name, people), largest first; an empty name is nobody's."""

    seniorities: tuple[tuple[str, int], ...]
    industries: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Stats:
    """
    What a snapshot's people come to.

    ``filled``: by column, how many people it is filled of; ``by_score``: people in each of :data:`BUCKETS`; ``score``
    and ``topic_overlap``: averages.
    """

    total: int
    filled: Mapping[str, int]
    by_score: tuple[int, ...]
    score: float
    topic_overlap: float


NOBODY: Final = Stats(0, dict.fromkeys(person.COLUMNS, 0), (0,) * len(BUCKETS), 0, 0)
"""The stats of a snapshot without rows."""


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


def kept(run_type: str, results: int) -> int:
    """Return how many of a run's results stand in its snapshot."""
    return min(results, PREVIEW_ROWS) if run_type == "preview" else results


def pages(
    snapshot_key: UUID,
    written_on: date,
    *,
    limit: int,
    page_rows: int,
    query_id: str,
    most_seconds: int = 60,
    client_seconds: int | None = None,
) -> Iterator[Sequence[Sequence[Any]]]:
    """
    Yield the first rows of a snapshot in rank order, page by page, each a short query of its own.

    Between two pages nothing is held: no query, no connection, no rows.

    :param limit: rows in all
    :param page_rows: rows a page
    :param query_id: of the first page; the others are ``{query_id}-2``, ``{query_id}-3`` …
    :param most_seconds: what one page may take on the server
    :param client_seconds: how long to wait for one page; QUERY_CLIENT_SECONDS unless given
    :returns: rows in the order of :data:`worker.csv_format.COLUMNS`
    :raises ExportMismatch: at the first page that the snapshot cannot fill
    :raises AttemptError: named by what ClickHouse refused
    """
    for number, first in enumerate(range(1, limit + 1, page_rows), start=1):
        yield page(
            snapshot_key,
            written_on,
            first=first,
            last=min(first + page_rows - 1, limit),
            query_id=query_id if number == 1 else f"{query_id}-{number}",
            most_seconds=most_seconds,
            client_seconds=client_seconds,
        )


def page(
    snapshot_key: UUID,
    written_on: date,
    *,
    first: int,
    last: int,
    query_id: str,
    most_seconds: int = 60,
    client_seconds: int | None = None,
) -> Sequence[Sequence[Any]]:
    """
    Read the rows between two ranks, both included; all of them must be there.

    Parameters and errors are those of :func:`pages`.
    """
    answer = clickhouse.query(
        _statement("page", columns=", ".join(csv_format.COLUMNS)),
        {"snapshot_key": str(snapshot_key), "written_on": written_on, "first": first, "last": last},
        options={"max_execution_time": most_seconds},
        query_id=query_id,
        seconds=client_seconds,
    )
    if len(answer.rows) != last - first + 1:
        raise ExportMismatch
    return answer.rows


def stats(
    snapshot_key: UUID,
    written_on: date,
    *,
    results: int,
    query_id: str,
    most_seconds: int = 60,
    client_seconds: int | None = None,
) -> Stats:
    """
    Measure a snapshot in one statement.

    :param results: rows that must be there
    :raises ExportMismatch: when they are not
    :raises AttemptError: named by what ClickHouse refused
    """
    answer = clickhouse.query(
        _statement(
            "stats",
            buckets=", ".join(f"countIf(score BETWEEN {low} AND {high})" for low, high in BUCKETS),
            filled=", ".join(_filled(field) for field in person.FIELDS),
        ),
        {"snapshot_key": str(snapshot_key), "written_on": written_on},
        options={"max_execution_time": most_seconds},
        query_id=query_id,
        seconds=client_seconds,
    )
    total, score, topic_overlap, by_score, filled = answer.rows[0]
    if total != results:
        raise ExportMismatch
    return Stats(total, dict(zip(person.COLUMNS, filled, strict=True)), tuple(by_score), score, topic_overlap)


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


def _filled(field: person.Field) -> str:
    """Count the people of whom a field is known: not null, and not empty where it is a text."""
    return f"countIf(notEmpty({field.column}))" if "String" in field.type else f"count({field.column})"


@cache
def _statement(name: str, **fragments: str) -> str:
    """Read one statement of ``queries``; what is filled in is ours, every value is bound."""
    file = resources.files("worker") / "queries" / f"{name}.sql"
    return Template(file.read_text(encoding="utf-8")).substitute(fragments)
