"""
The story of one run: parse, plan, count, write, verify, complete.

This is the direct strategy, the reference, which needs nothing but the day's data; what waits for its day's serving
index goes by :mod:`worker.batch`. What goes wrong ends the attempt, never the process: the run goes back to the queue,
fails, or belongs to somebody else by now.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, date
from uuid import UUID, uuid4

from worker import attempt, clickhouse, errors, lease, loads, log, plan, runs, snapshots
from worker import settings as configuration
from worker.database import named_outages, transaction
from worker.settings import Settings

logger = log.get(__name__)


STEPS = ("count", "write", "verify")


def materialize(claim: runs.Claim, *, leaving: Callable[[], bool] = lambda: False) -> str:
    """
    Carry one claimed run to its end and return the outcome, as :mod:`worker.attempt` names them.

    :param leaving: True when the worker has no time left
    """
    settings = configuration.current()
    query_ids = [claim.query_id(step) for step in STEPS]
    with attempt.bound(claim), _kept(claim, settings, query_ids, leaving) as held:
        try:
            with named_outages():
                return _execute(claim, held, settings, query_ids)
        except errors.ClaimLost:
            return "lost"
        except errors.WorkerLeaving:
            return attempt.release(claim, held)
        except errors.AttemptError as error:
            if held.leaving:
                return attempt.release(claim, held)
            if isinstance(error, (errors.ClickHouseUnavailable, errors.PostgresUnavailable)):
                attempt.stop_queries(query_ids)
            return attempt.set_back(claim, held, error)
        except Exception:
            logger.exception("run_broke")
            attempt.stop_queries(query_ids)
            return attempt.set_back(claim, held, errors.InternalError())


def _execute(claim: runs.Claim, held: lease.Held, settings: Settings, query_ids: Sequence[str]) -> str:
    """Compute, write and verify the snapshot, then publish it."""
    if shared := _shared(claim):
        held.check()
        attempt.publish(claim, shared)
        logger.info("run_shared", candidates=shared.candidates, results=shared.results)
        return "completed"
    versions = loads.versions(claim.data_date)
    snapshot_key, written_on = uuid4(), claim.claimed_at.astimezone(UTC).date()
    planned = _plan(claim, settings, snapshot_key, written_on)
    _record(claim, planned.strategy, query_ids, snapshot_key, versions)

    counted = snapshots.count(planned, query_ids[0])
    held.check()
    written = snapshots.write(planned, query_ids[1])
    held.check()
    _verify(planned, snapshots.kept(claim.run_type, counted.results), query_ids[2], claim, versions)
    held.check()

    account = attempt.account(written)
    attempt.publish(claim, attempt.written(counted.candidates, counted.results, snapshot_key, written_on, account))
    logger.info("run_completed", candidates=counted.candidates, results=counted.results, elapsed_ms=written.elapsed_ms)
    return "completed"


def _shared(claim: runs.Claim) -> runs.Published | None:
    """Find a snapshot of the same question and of the data as it is mirrored, without a word to ClickHouse."""
    with transaction() as connection:
        versions = loads.mirrored(connection).get(claim.data_date)
        return attempt.share(connection, claim, attempt.seen(versions)) if versions else None


def _kept(
    claim: runs.Claim, settings: Settings, query_ids: Sequence[str], leaving: Callable[[], bool]
) -> AbstractContextManager[lease.Held]:
    """Keep the claim while the work goes on; a lost one takes its queries with it."""

    def renew() -> bool:
        with transaction() as connection:
            return runs.renew(connection, claim, seconds=settings.lease_seconds)

    return lease.kept(
        renew,
        seconds=settings.lease_seconds,
        margin=settings.lease_margin_seconds,
        leaving=leaving,
        on_end=lambda: clickhouse.kill(query_ids),
    )


def _plan(claim: runs.Claim, settings: Settings, snapshot_key: UUID, written_on: date) -> plan.Plan:
    """Turn the frozen config into statements."""
    return plan.build(
        attempt.config(claim),
        claim.data_date,
        queries=plan.load(),
        snapshot_key=snapshot_key,
        written_on=written_on,
        row_limit=snapshots.PREVIEW_ROWS if claim.run_type == "preview" else None,
        lighter=claim.error_code == errors.QueryMemoryLimit.code,
        workload=settings.workload(claim.run_type),
        max_execution_seconds=settings.query_seconds,
        max_memory_bytes=settings.query_memory_bytes,
        max_threads=settings.query_threads,
    )


def _record(
    claim: runs.Claim, strategy: str, query_ids: Sequence[str], snapshot_key: UUID, versions: loads.Versions
) -> None:
    """Write down what is about to be sent, so that a rescuer can kill it."""
    with transaction() as connection:
        ours = runs.record(
            connection,
            claim,
            strategy=strategy,
            query_ids=query_ids,
            snapshot_key=snapshot_key,
            versions=attempt.seen(versions),
        )
    if not ours:
        raise errors.ClaimLost


def _verify(planned: plan.Plan, rows: int, query_id: str, claim: runs.Claim, versions: loads.Versions) -> None:
    """Look at the rows and at the data's versions again; data that moved explains rows that do not match."""
    mismatch = None
    try:
        snapshots.verify(planned, rows, query_id)
    except errors.SnapshotMismatch as error:
        mismatch = error
    if loads.versions(claim.data_date) != versions:
        raise errors.DataChanged
    if mismatch:
        raise mismatch
