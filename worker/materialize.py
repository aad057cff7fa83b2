"""
The story of one run: parse, plan, count, write, verify, complete.

What goes wrong ends the attempt, never the process: the run goes back to the queue, fails, or belongs to somebody
else by now.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, date, datetime, time, timedelta
from uuid import UUID, uuid4

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError
from structlog.contextvars import bound_contextvars

from worker import audience, audiences, clickhouse, emails, errors, exports, lease, loads, log, plan, runs, snapshots
from worker import settings as configuration
from worker.clickhouse import Answer
from worker.database import named_outages, transaction
from worker.settings import Settings

logger = log.get(__name__)


STEPS = ("count", "write", "verify")
SHARED = "shared"


def materialize(claim: runs.Claim, *, leaving: Callable[[], bool] = lambda: False) -> str:
    """
    Carry one claimed run to its end and return the outcome.

    ``completed``; ``retried``, ``failed`` or ``closed`` (the servers, not the run, are at fault); ``released`` when
    the worker goes away before the run can end; ``lost`` when somebody else holds the run by now.

    :param leaving: True when the worker has no time left
    """
    settings = configuration.current()
    query_ids = [claim.query_id(step) for step in STEPS]
    with _bound(claim), _kept(claim, settings, query_ids, leaving) as held:
        try:
            with named_outages():
                return _execute(claim, held, settings, query_ids)
        except errors.ClaimLost:
            return "lost"
        except errors.WorkerLeaving:
            return _release(claim, held)
        except errors.AttemptError as error:
            if held.leaving:
                return _release(claim, held)
            if isinstance(error, (errors.ClickHouseUnavailable, errors.PostgresUnavailable)):
                _stop_queries(query_ids)
            return _set_back(claim, held, error, settings)
        except Exception:
            logger.exception("run_broke")
            _stop_queries(query_ids)
            return _set_back(claim, held, errors.InternalError(), settings)


def _execute(claim: runs.Claim, held: lease.Held, settings: Settings, query_ids: Sequence[str]) -> str:
    """Compute, write and verify the snapshot, then publish it."""
    versions = loads.versions(claim.data_date)
    if shared := _shared(claim, versions, settings):
        held.check()
        _publish(claim, shared)
        logger.info("run_shared", candidates=shared.candidates, results=shared.results)
        return "completed"
    snapshot_key, written_on = uuid4(), claim.claimed_at.astimezone(UTC).date()
    planned = _plan(claim, settings, snapshot_key, written_on)
    with transaction() as connection:
        _record(connection, claim, planned.strategy, query_ids, snapshot_key, versions)

    counted = snapshots.count(planned, query_ids[0])
    held.check()
    written = snapshots.write(planned, query_ids[1])
    held.check()
    _verify(planned, counted.results, query_ids[2], claim, versions)
    held.check()

    kept_until = datetime.combine(written_on, time(), UTC) + timedelta(days=settings.snapshot_retention_days)
    published = runs.Published(
        candidates=counted.candidates,
        results=counted.results,
        snapshot_key=snapshot_key,
        written_on=written_on,
        results_expire_at=kept_until,
        csv_defused=settings.csv_defused,
        account=_account(written),
    )
    _publish(claim, published)
    logger.info("run_completed", candidates=counted.candidates, results=counted.results, elapsed_ms=written.elapsed_ms)
    return "completed"


def _bound(claim: runs.Claim) -> AbstractContextManager[None]:
    """Say in every log line which run it is about."""
    return bound_contextvars(
        run_id=str(claim.run_id),
        audience_id=str(claim.audience_id),
        organization_id=str(claim.organization_id),
        data_date=str(claim.data_date),
        fence=claim.fence,
    )


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
    try:
        config = audience.parse(claim.config)
    except errors.InvalidConfig as error:
        raise errors.ConfigRefused from error
    return plan.build(
        config,
        claim.data_date,
        queries=plan.load(),
        snapshot_key=snapshot_key,
        written_on=written_on,
        lighter=claim.error_code == errors.QueryMemoryLimit.code,
        max_execution_seconds=settings.query_seconds,
        max_memory_bytes=settings.query_memory_bytes,
        max_threads=settings.query_threads,
    )


def _shared(claim: runs.Claim, versions: loads.Versions, settings: Settings) -> runs.Published | None:
    """Find the snapshot of a run that has answered the same question, and write down that it is taken over."""
    with transaction() as connection:
        found = runs.shareable(connection, claim, versions=_seen(versions), csv_defused=settings.csv_defused)
        if found:
            _record(connection, claim, SHARED, (), found.snapshot_key, versions)
    return found


def _record(
    connection: Connection,
    claim: runs.Claim,
    strategy: str,
    query_ids: Sequence[str],
    snapshot_key: UUID,
    versions: loads.Versions,
) -> None:
    """Write down what is about to be done, so that a rescuer can kill what is sent."""
    seen = _seen(versions)
    if not runs.record(
        connection, claim, strategy=strategy, query_ids=query_ids, snapshot_key=snapshot_key, versions=seen
    ):
        raise errors.ClaimLost


def _seen(versions: loads.Versions) -> tuple[int, int, int]:
    """Return what a snapshot depends on besides its config and day: the versions of signals, people and plan."""
    return versions.data_version, versions.people_version, plan.PLAN_VERSION


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


def _account(written: Answer) -> dict[str, int]:
    """Keep ClickHouse's account of the one statement that costs something."""
    names = ("read_rows", "read_bytes", "written_rows", "memory_bytes", "elapsed_ms")
    return {name: getattr(written, name) for name in names}


def _publish(claim: runs.Claim, published: runs.Published) -> None:
    """Complete the run and queue what follows from it, all or nothing."""
    try:
        with transaction() as connection:
            runs.complete(connection, claim, published)
            if claim.run_type != "preview":
                _announce(connection, claim)
    except DBAPIError:
        # The commit may have arrived although its answer did not.
        with transaction() as connection:
            if not runs.completed(connection, claim):
                raise


def _announce(connection: Connection, claim: runs.Claim) -> None:
    """Queue the run's file, move the audience forward and queue its mails; those two wait where an anomaly is held."""
    organization_id, run_id = claim.organization_id, claim.run_id
    exports.queue(connection, organization_id=organization_id, audience_id=claim.audience_id, run_id=run_id)
    if runs.compare(connection, run_id, **configuration.current().anomaly_limits):
        logger.warning("run_held_back")
        return
    audiences.refreshed(connection, run_id)
    recipients = audiences.recipients(connection, claim.audience_id, claim.run_type)
    emails.queue(connection, organization_id=organization_id, run_id=run_id, recipients=recipients)


def _stop_queries(query_ids: Sequence[str]) -> None:
    """Stop what may go on although its answer never came; the next attempt must not run beside it."""
    try:
        clickhouse.kill(query_ids, seconds=2, every=0.5)
    except errors.AttemptError as error:
        logger.warning("queries_not_killed", code=error.code)


def _set_back(claim: runs.Claim, held: lease.Held, error: errors.AttemptError, settings: Settings) -> str:
    """Give the run back to the queue, or up."""
    if held.lost:
        return "lost"
    logger.warning("run_attempt_failed", code=error.code, retry=error.retry)
    try:
        outcome = lease.insisted(
            held, lambda connection: runs.set_back(connection, claim, error, settings.retry_policy)
        )
    except errors.ClaimLost:
        return "lost"
    return "closed" if outcome == "retried" and error.retry.closes_lane else outcome


def _release(claim: runs.Claim, held: lease.Held) -> str:
    """Hand the run back untouched; its query was killed on the way out."""
    try:
        lease.insisted(held, lambda connection: runs.release(connection, claim))
    except errors.ClaimLost:
        return "lost"
    logger.info("run_released")
    return "released"
