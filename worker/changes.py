"""What lies between two snapshots: how many people are new and how many left, and who the new ones are."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib import resources
from string import Template
from typing import Any, Final
from uuid import UUID

from worker import clickhouse, csv_format
from worker.errors import ExportMismatch

SPILL_BYTES: Final = 1_000_000_000
"""From so much memory on people are grouped on disk: the comparison of the largest audiences must not fail for it."""

Snapshot = tuple[UUID, date, int]
"""A snapshot's key, the day it was written on, and the rows it must have."""


@dataclass(frozen=True, slots=True)
class Changes:
    """People of a snapshot who are not in the earlier one, and people of that one who are in it no longer."""

    new: int
    left: int


NONE: Final = Changes(0, 0)
"""Between a snapshot and itself."""


def count(
    after: Snapshot, before: Snapshot, *, query_id: str, most_seconds: int = 60, client_seconds: int | None = None
) -> Changes | None:
    """
    Compare a snapshot with an earlier one in one statement.

    :param most_seconds: what it may take on the server
    :param client_seconds: how long to wait for it; QUERY_CLIENT_SECONDS unless given
    :returns: None where rows of the earlier one are missing, so that nobody can tell
    :raises ExportMismatch: where rows of the later one are
    :raises AttemptError: named by what ClickHouse refused
    """
    answer = clickhouse.query(
        _statement("changes"),
        _pair(after, before),
        options={"max_execution_time": most_seconds, "max_bytes_before_external_group_by": SPILL_BYTES},
        query_id=query_id,
        seconds=client_seconds,
    )
    here, there, new, left = (int(value) for value in answer.rows[0])
    if here != after[2]:
        raise ExportMismatch
    return Changes(new, left) if there == before[2] else None


def pages(
    after: Snapshot,
    before: Snapshot,
    *,
    limit: int,
    page_rows: int,
    query_id: str,
    most_seconds: int = 60,
    client_seconds: int | None = None,
) -> Iterator[Sequence[Sequence[Any]]]:
    """
    Yield the first new people of a snapshot in rank order, page by page, each a short query of its own.

    :param limit: rows in all; so many must be there
    :param page_rows: rows a page
    :param query_id: of the first page; the others are ``{query_id}-2``, ``{query_id}-3`` …
    :returns: rows in the order of :data:`worker.csv_format.COLUMNS`
    :raises ExportMismatch: at the first page that cannot be filled
    :raises AttemptError: named by what ClickHouse refused
    """
    beyond = 0
    for number, first in enumerate(range(0, limit, page_rows), start=1):
        wanted = min(page_rows, limit - first)
        answer = clickhouse.query(
            _statement("newcomers", columns=", ".join(csv_format.COLUMNS)),
            {**_pair(after, before), "beyond": beyond, "rows": wanted},
            options={"max_execution_time": most_seconds},
            query_id=query_id if number == 1 else f"{query_id}-{number}",
            seconds=client_seconds,
        )
        if len(answer.rows) != wanted:
            raise ExportMismatch
        beyond = answer.rows[-1][0]
        yield [row[1:] for row in answer.rows]


def _pair(after: Snapshot, before: Snapshot) -> dict[str, Any]:
    """Name two snapshots for a statement."""
    return {
        "snapshot_key": str(after[0]),
        "written_on": after[1],
        "earlier_key": str(before[0]),
        "earlier_written_on": before[1],
    }


@cache
def _statement(name: str, **fragments: str) -> str:
    """Read one statement of ``queries``; what is filled in is ours, every value is bound."""
    file = resources.files("worker") / "queries" / f"{name}.sql"
    return Template(file.read_text(encoding="utf-8")).substitute(fragments)
