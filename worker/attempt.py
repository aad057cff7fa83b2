"""
What every attempt has in common, whatever its strategy: what is written down before it, and how it ends.

An attempt ends as ``completed``; ``retried``, ``failed`` or ``closed`` (the servers, not the run, are at fault);
``released`` when the worker goes away before the run can end; ``lost`` when somebody else holds the run by now.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import UTC, date, datetime, time, timedelta
from uuid import UUID

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError
from structlog.contextvars import bound_contextvars

from worker import audience, audiences, clickhouse, emails, errors, exports, lease, loads, log, plan, runs
from worker import settings as configuration
from worker.clickhouse import Answer
from worker.database import transaction

logger = log.get(__name__)

SHARED = "shared"


def bound(claim: runs.Claim) -> AbstractContextManager[None]:
    """Say in every log line which run it is about."""
    return bound_contextvars(
        run_id=str(claim.run_id),
        audience_id=str(claim.audience_id),
        organization_id=str(claim.organization_id),
        data_date=str(claim.data_date),
        fence=claim.fence,
    )


def config(claim: runs.Claim) -> audience.AudienceConfig:
    """
    Read the frozen config.

    :raises ConfigRefused: when it cannot be run
    """
    try:
        return audience.parse(claim.config)
    except errors.InvalidConfig as error:
        raise errors.ConfigRefused from error


def seen(versions: loads.Versions) -> tuple[int, int, int]:
    """Return what a snapshot depends on besides its config and day: the versions of signals, people and plan."""
    return versions.data_version, versions.people_version, plan.PLAN_VERSION


def share(connection: Connection, claim: runs.Claim, versions: tuple[int, int, int]) -> runs.Published | None:
    """Find the snapshot of a run that has answered the same question, and write down that it is taken over."""
    defused = configuration.current().csv_defused
    found = runs.shareable(connection, claim, versions=versions, csv_defused=defused)
    if found:
        runs.record(
            connection, claim, strategy=SHARED, query_ids=(), snapshot_key=found.snapshot_key, versions=versions
        )
    return found


def written(
    candidates: int, results: int, snapshot_key: UUID, written_on: date, account: dict[str, int]
) -> runs.Published:
    """Put together what a verified snapshot has to show."""
    settings = configuration.current()
    kept_until = datetime.combine(written_on, time(), UTC) + timedelta(days=settings.snapshot_retention_days)
    return runs.Published(
        candidates=candidates,
        results=results,
        snapshot_key=snapshot_key,
        written_on=written_on,
        results_expire_at=kept_until,
        csv_defused=settings.csv_defused,
        account=account,
    )


def account(answer: Answer, runs_sharing: int = 1) -> dict[str, int]:
    """Keep ClickHouse's account of the one statement that costs something: an equal share of it for each run."""
    names = ("read_rows", "read_bytes", "written_rows", "memory_bytes", "elapsed_ms")
    return {name: getattr(answer, name) // runs_sharing for name in names}


def publish(claim: runs.Claim, published: runs.Published) -> None:
    """
    Complete the run and queue what follows from it, all or nothing.

    :raises ClaimLost: when the run is no longer ours
    """
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


def set_back(claim: runs.Claim, held: lease.Held, error: errors.AttemptError) -> str:
    """Give the run back to the queue, or up."""
    if held.lost:
        return "lost"
    logger.warning("run_attempt_failed", code=error.code, retry=error.retry)
    policy = configuration.current().retry_policy
    try:
        outcome = lease.insisted(held, lambda connection: runs.set_back(connection, claim, error, policy))
    except errors.ClaimLost:
        return "lost"
    return "closed" if outcome == "retried" and error.retry.closes_lane else outcome


def release(claim: runs.Claim, held: lease.Held) -> str:
    """Hand the run back untouched; its query was killed on the way out."""
    try:
        lease.insisted(held, lambda connection: runs.release(connection, claim))
    except errors.ClaimLost:
        return "lost"
    logger.info("run_released")
    return "released"


def stop_queries(query_ids: Sequence[str]) -> None:
    """Stop what may go on although its answer never came; the next attempt must not run beside it."""
    try:
        clickhouse.kill(query_ids, seconds=2, every=0.5)
    except errors.AttemptError as error:
        logger.warning("queries_not_killed", code=error.code)


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
