"""The people who are new in a run, as a CSV: columns, order and defusing are those of the run's own."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any
from uuid import UUID, uuid4

from worker import changes, csv_format, exports, runs, settings
from worker.database import transaction
from worker.errors import ExportMismatch, NotAllowed


@dataclass(frozen=True, slots=True)
class Newcomers:
    """
    Who is new in a run.

    :param new: how many people
    :param cap: most rows that a CSV may have; the best are kept
    :param chunks: its bytes; whatever goes wrong on the way is raised by the iterator
    :param query_id: of the first page; later pages append ``-2``, ``-3``
    """

    new: int
    cap: int
    chunks: Iterator[bytes]
    query_id: str

    @property
    def rows(self) -> int:
        """How many people the CSV holds."""
        return min(self.new, self.cap)


def begin(
    run_id: UUID,
    organization_id: UUID | None = None,
    audience_id: UUID | None = None,
    *,
    page_rows: int,
    most_seconds: int,
    client_seconds: int | None = None,
) -> Newcomers:
    """
    Begin the list of a run's new people: they are counted, and the first page is read, when this returns.

    :param organization_id: the only organization to look in; None for an operator
    :param audience_id: the only audience to look in
    :param page_rows: rows a page
    :param most_seconds: what one statement may take on the server
    :param client_seconds: how long to wait for one; QUERY_CLIENT_SECONDS unless given
    :raises RunNotFound: when there is no such run
    :raises NotAllowed: when it is not completed, a preview, has no earlier run, or results are no longer kept
    :raises AttemptError: when ClickHouse does not give them
    """
    pair = _pair(run_id, organization_id, audience_id)
    query_id = f"{run_id}-{uuid4().hex}-new"
    patience: dict[str, Any] = {"most_seconds": most_seconds, "client_seconds": client_seconds}
    counted = changes.count(pair.after, pair.before, query_id=f"{query_id}-count", **patience)
    if counted is None:
        raise ExportMismatch
    cap = settings.current().export_row_cap
    limit = min(counted.new, cap)
    pages = changes.pages(pair.after, pair.before, limit=limit, page_rows=page_rows, query_id=query_id, **patience)
    chunks = csv_format.chunks(pages, defused=pair.csv_defused)
    header, first = next(chunks), next(chunks, b"")
    return Newcomers(counted.new, cap, chain([header + first], chunks), query_id)


def _pair(run_id: UUID, organization_id: UUID | None, audience_id: UUID | None) -> runs.Compared:
    """Return a run and its earlier one, if both can be read."""
    with transaction() as connection:
        run = runs.get(connection, run_id, organization_id, audience_id)
        exports.exportable(connection, run["organization_id"], run_id)
        pair = runs.compared(connection, run_id)
    if pair is None:
        raise NotAllowed("NO_EARLIER_RUN", "There is no earlier run to compare this one with.")
    if not pair.readable:
        raise NotAllowed("RESULTS_EXPIRED", "The results of the earlier run are no longer kept.")
    return pair
