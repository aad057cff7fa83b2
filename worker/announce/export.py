"""The export's story: claim, compare with the run before, read by pages, store, complete."""

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final

from structlog.contextvars import bound_contextvars

from worker import csv_format, errors, exports, lease, log, settings, snapshots, storage
from worker.announce.compare import compare
from worker.database import named_outages, transaction

logger = log.get(__name__)

PAGE_ROWS: Final = 10_000


class Stopped(Exception):
    """The process is leaving: hand back what may not be finished in time."""


def next_export(worker: str, stopping: Callable[[], bool]) -> tuple[list[str], bool]:
    """
    Write the export that has been due the longest.

    :returns: its outcome in a list, ``exports_completed`` for example, and whether to go on with exports
    """
    with transaction() as connection:
        claim = exports.claim(connection, worker, lease_seconds=settings.current().lease_seconds)
    if claim is None:
        return [], True
    with _bound(claim), _kept(claim) as held:
        outcome, goes_on = _settled(claim, held, stopping)
    return [f"exports_{outcome}"], goes_on


def _settled(claim: exports.Claim, held: lease.Held, stopping: Callable[[], bool]) -> tuple[str, bool]:
    """Carry one claimed export to its end, whatever happens on the way."""
    try:
        with named_outages():
            return _written(claim, held, stopping), True
    except errors.ClaimLost:
        return "lost", True
    except Stopped:
        _release(claim, held)
        return "released", False
    except errors.AttemptError as error:
        return _set_back(claim, held, error), not error.retry.closes_lane
    except Exception:
        logger.exception("export_broke")
        return _set_back(claim, held, errors.InternalError()), True
    except BaseException:
        _release(claim, held)
        raise


def _written(claim: exports.Claim, held: lease.Held, stopping: Callable[[], bool]) -> str:
    """Count what changed since the run before, write the file and offer it."""
    compare(claim, held)
    current = settings.current()
    rows = min(claim.result_count, current.export_row_cap)
    pages = snapshots.pages(
        claim.snapshot_key,
        claim.written_on,
        limit=rows,
        page_rows=PAGE_ROWS,
        query_id=claim.query_id,
        most_seconds=current.query_seconds,
    )
    chunks = csv_format.chunks(_watched(pages, held, stopping), defused=claim.csv_defused)
    stored = storage.put(claim.path, chunks, csv_format.CONTENT_TYPE, claim.file_name)
    try:
        held.check()
        with transaction() as connection:
            exports.complete(connection, claim, stored, rows, days=current.export_days)
    except errors.ClaimLost:
        # Nobody will ever ask for this file: it is named after a claim that is over.
        storage.delete(stored.path)
        raise
    logger.info("export_stored", rows=rows, bytes=stored.size)
    return "completed"


def _watched(
    pages: Iterable[Sequence[Sequence[Any]]], held: lease.Held, stopping: Callable[[], bool]
) -> Iterator[Sequence[Sequence[Any]]]:
    """Pass pages on while the claim holds and the process stays; raising here leaves no file behind."""
    for page in pages:
        held.check()
        if stopping():
            raise Stopped
        yield page


def _set_back(claim: exports.Claim, held: lease.Held, error: errors.AttemptError) -> str:
    """Give the export back to the queue, or up."""
    if held.lost:
        return "lost"
    logger.warning("export_attempt_failed", code=error.code, retry=error.retry)
    policy = settings.current().retry_policy
    try:
        # Chance spreads retries; nobody gains by guessing it.
        chance = random.random()  # noqa: S311
        return lease.insisted(
            held, lambda connection: exports.set_back(connection, claim, error, policy, chance=chance)
        )
    except errors.ClaimLost:
        return "lost"


def _release(claim: exports.Claim, held: lease.Held) -> None:
    """Hand the export back at once."""
    try:
        lease.insisted(held, lambda connection: exports.release(connection, claim))
    except errors.ClaimLost:
        return
    logger.info("export_released")


def _kept(claim: exports.Claim) -> AbstractContextManager[lease.Held]:
    """Keep the claim while the work goes on."""
    current = settings.current()

    def renew() -> bool:
        with transaction() as connection:
            return exports.renew(connection, claim, seconds=current.lease_seconds)

    return lease.kept(renew, seconds=current.lease_seconds, margin=current.lease_margin_seconds)


def _bound(claim: exports.Claim) -> AbstractContextManager[None]:
    """Say in every log line which export it is about."""
    return bound_contextvars(
        export_id=str(claim.export_id),
        run_id=str(claim.run_id),
        audience_id=str(claim.audience_id),
        organization_id=str(claim.organization_id),
        data_date=str(claim.data_date),
        fence=claim.fence,
    )
