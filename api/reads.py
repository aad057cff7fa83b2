"""What a completed run found: a page of results, stats, the CSV."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final
from uuid import UUID, uuid4

from sqlalchemy import RowMapping, select

from worker import csv_format, newcomers, runs, settings, snapshots
from worker.database import moment, transaction
from worker.errors import NotAllowed

# Small, because a reader's page is held while it is spelled, and there may be many readers.
EXPORT_PAGE_ROWS: Final = 2000
# What the way to ClickHouse and back may add to a statement's own time, in seconds.
ON_THE_WAY: Final = 5


@dataclass(frozen=True, slots=True)
class Results:
    """
    One page of a run's results.

    :param rows: in the order of :data:`worker.csv_format.COLUMNS`
    :param total: how many results can be read
    :param query_id: of the ClickHouse query that read them; None where none was asked
    """

    run: RowMapping
    rows: Sequence[Sequence[Any]] = ()
    total: int = 0
    query_id: str | None = None


@dataclass(frozen=True, slots=True)
class Stats:
    """A run's stats; None while it is pending. ``query_id`` as in :class:`Results`."""

    run: RowMapping
    stats: snapshots.Stats | None = None
    query_id: str | None = None


@dataclass(frozen=True, slots=True)
class Export:
    """
    A run's CSV.

    :param chunks: its bytes; whatever goes wrong on the way is raised by the iterator
    :param cap: most rows that a CSV may have
    :param query_id: of the first page; later pages append ``-2``, ``-3``
    """

    run: RowMapping
    chunks: Iterator[bytes]
    cap: int
    query_id: str

    @property
    def truncated(self) -> bool:
        """Whether the run has more results than the CSV has rows."""
        return bool(self.run["result_count"] > self.cap)


def results(organization_id: UUID, audience_id: UUID, run_id: UUID, *, limit: int, offset: int) -> Results:
    """
    Read a page of results; none while the run is pending.

    :raises RunNotFound: when the audience has no such run
    :raises NotAllowed: when the run is over without results, or they are no longer kept
    :raises AttemptError: when ClickHouse does not give them
    """
    run = _found(organization_id, audience_id, run_id)
    if not _over(run):
        return Results(run)
    total = snapshots.kept(run["run_type"], run["result_count"])
    if offset >= total:
        return Results(run, total=total)
    query_id = _query_id(run, "results")
    place = {"first": offset + 1, "last": min(offset + limit, total)}
    rows = snapshots.page(run["snapshot_key"], run["written_on"], **place, query_id=query_id, **_patience())
    return Results(run, rows, total, query_id)


def stats(organization_id: UUID, audience_id: UUID, run_id: UUID) -> Stats:
    """
    Measure a run's results; nothing yet while it is pending.

    Errors are those of :func:`results`; a preview, of which only the first rows are kept, has no stats either.
    """
    run = _found(organization_id, audience_id, run_id)
    if run["run_type"] == "preview":
        raise NotAllowed("RUN_IS_PREVIEW", "A preview has no stats.")
    if not _over(run):
        return Stats(run)
    if not run["result_count"]:
        return Stats(run, snapshots.NOBODY)
    query_id = _query_id(run, "stats")
    measured = snapshots.stats(
        run["snapshot_key"], run["written_on"], results=run["result_count"], query_id=query_id, **_patience()
    )
    return Stats(run, measured, query_id)


def export(organization_id: UUID, audience_id: UUID, run_id: UUID) -> Export:
    """
    Begin a run's CSV: its first page is read when this returns.

    Errors are those of :func:`results`.
    """
    run = _found(organization_id, audience_id, run_id)
    if run["status"] != "completed":
        raise NotAllowed("RUN_NOT_COMPLETED", "Only a completed run can be exported.")
    if run["run_type"] == "preview":
        raise NotAllowed("RUN_IS_PREVIEW", "A preview cannot be exported.")
    query_id, cap = _query_id(run, "csv"), settings.current().export_row_cap
    pages = snapshots.pages(
        run["snapshot_key"],
        run["written_on"],
        limit=min(run["result_count"], cap),
        page_rows=EXPORT_PAGE_ROWS,
        query_id=query_id,
        **_patience(),
    )
    chunks = csv_format.chunks(pages, defused=run["csv_defused"])
    header, first = next(chunks), next(chunks, b"")
    return Export(run, chain([header + first], chunks), cap, query_id)


def new_people(organization_id: UUID, audience_id: UUID, run_id: UUID) -> newcomers.Newcomers:
    """
    Begin the CSV of the people who are new in a run: its first page is read when this returns.

    Errors are those of :func:`export`; a run without an earlier one has no such list.
    """
    return newcomers.begin(run_id, organization_id, audience_id, page_rows=EXPORT_PAGE_ROWS, **_patience())


def _found(organization_id: UUID, audience_id: UUID, run_id: UUID) -> RowMapping:
    """Return a run whose results, if it has any, are still kept."""
    with transaction() as connection:
        run = runs.get(connection, run_id, organization_id, audience_id)
        kept_until = run["results_expire_at"]
        if kept_until and connection.scalar(select(moment(None) >= kept_until)):
            raise NotAllowed("RESULTS_EXPIRED", "The results of this run are no longer kept.")
    return run


def _over(run: RowMapping) -> bool:
    """Whether a run has its results; raises NotAllowed when it never will."""
    if run["status"] == "failed":
        raise NotAllowed("RUN_FAILED", "The run failed; its errorCode and errorMessage say why.")
    if run["status"] == "cancelled":
        raise NotAllowed("RUN_CANCELLED", "The run was cancelled before it had results.")
    return bool(run["status"] == "completed")


def _query_id(run: RowMapping, step: str) -> str:
    """Name a query that nobody else has named."""
    return f"{run['id']}-{uuid4().hex}-{step}"


def _patience() -> dict[str, int]:
    """Bound a statement, and the wait for it."""
    seconds = settings.current().web_query_seconds
    return {"most_seconds": seconds, "client_seconds": seconds + ON_THE_WAY}
