"""
End an attempt or a run.

Every write names the fence it was claimed under, so that whoever lost the claim changes nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, ColumnElement, Connection, Text, any_, literal, select, update

from worker.database import moment
from worker.errors import AttemptError, ClaimLost, NotAllowed, RunNotFound, Superseded
from worker.models import run_attempts, runs
from worker.runs.claim import Claim
from worker.runs.overdue import Abandoned
from worker.runs.status import QUEUED, RUNNING


@dataclass(frozen=True, slots=True)
class Published:
    """
    What a completed attempt has to show.

    Counts are people; ``account`` is ClickHouse's own: rows and bytes read, rows written, peak memory in bytes and
    milliseconds, as columns of ``run_attempts``.
    """

    candidates: int
    results: int
    snapshot_key: UUID
    written_on: date
    results_expire_at: datetime
    csv_defused: bool
    account: dict[str, int]


def complete(connection: Connection, held: Claim, published: Published, *, now: datetime | None = None) -> None:
    """
    Publish a run's counts and snapshot.

    :raises ClaimLost: when the run is no longer ours
    """
    values: dict[str, Any] = {
        "candidate_count": published.candidates,
        "result_count": published.results,
        "snapshot_key": published.snapshot_key,
        "written_on": published.written_on,
        "results_expire_at": published.results_expire_at,
        "csv_defused": published.csv_defused,
        "error_code": None,
        "error_message": None,
        "completed_at": moment(now),
    }
    _leave(connection, held, "completed", values, now)
    _end_attempt(connection, held, {"outcome": "completed", **published.account}, now)


def completed(connection: Connection, held: Claim) -> bool:
    """Return whether this very claim completed the run: the answer after a commit nobody confirmed."""
    row = connection.execute(select(runs.c.status, runs.c.fence).where(runs.c.id == held.run_id)).one_or_none()
    return row is not None and tuple(row) == ("completed", held.fence)


def retry(
    connection: Connection,
    held: Claim | Abandoned,
    error: AttemptError,
    *,
    due_at: datetime,
    charged: bool,
    now: datetime | None = None,
) -> None:
    """
    Queue a run again after a failed attempt; one that was charged is claimed alone from now on.

    :param due_at: when it may be claimed again
    :raises ClaimLost: when the run is no longer ours
    """
    values: dict[str, Any] = {
        "attempts": runs.c.attempts - (0 if charged else 1),
        "failures": runs.c.failures + 1,
        "solo": runs.c.solo | charged,
        "due_at": due_at,
        "next_attempt_at": due_at,
        "error_code": error.code,
        "error_message": error.sentence,
    }
    _leave(connection, held, "queued", values, now)
    outcome = "rescued" if isinstance(held, Abandoned) else "retried"
    _end_attempt(connection, held, _told(error, outcome, charged=charged), now)
    _give_way(connection, held.run_id, now)


def fail(
    connection: Connection,
    held: Claim | Abandoned,
    error: AttemptError,
    *,
    charged: bool,
    cause: AttemptError | None = None,
    now: datetime | None = None,
) -> None:
    """
    Give a run up.

    :param cause: what ended this attempt, where the run is given up for another reason
    :raises ClaimLost: when the run is no longer ours
    """
    values: dict[str, Any] = {
        "attempts": runs.c.attempts - (0 if charged else 1),
        "failures": runs.c.failures + 1,
        "error_code": error.code,
        "error_message": error.sentence,
    }
    _leave(connection, held, "failed", values, now)
    outcome = "rescued" if isinstance(held, Abandoned) else "failed"
    _end_attempt(connection, held, _told(cause or error, outcome, charged=charged), now)


def set_apart(
    connection: Connection, held: Claim | Abandoned, error: AttemptError, *, now: datetime | None = None
) -> None:
    """
    Queue a run of a batch that failed again, uncharged and at once: it is claimed alone, and charged there.

    :raises ClaimLost: when the run is no longer ours
    """
    values = {"attempts": runs.c.attempts - 1, "failures": runs.c.failures + 1, "solo": True, "due_at": moment(now)}
    _leave(connection, held, "queued", values, now)
    outcome = "rescued" if isinstance(held, Abandoned) else "retried"
    _end_attempt(connection, held, _told(error, outcome, charged=False), now)
    _give_way(connection, held.run_id, now)


def release(connection: Connection, held: Claim | Abandoned, *, now: datetime | None = None) -> None:
    """
    Hand a run back untouched, due at once: the worker is going away, or gone as an operator knows.

    :raises ClaimLost: when the run is no longer ours
    """
    values = {"attempts": runs.c.attempts - 1, "due_at": moment(now)}
    _leave(connection, held, "queued", values, now)
    _end_attempt(connection, held, {"outcome": "released"}, now)
    _give_way(connection, held.run_id, now)


def cancel(
    connection: Connection,
    organization_id: UUID,
    run_id: UUID,
    audience_id: UUID | None = None,
    *,
    now: datetime | None = None,
) -> None:
    """
    Cancel a queued run.

    :param audience_id: the only audience to look in
    :raises RunNotFound: when the organization has no such run
    :raises NotAllowed: when the run is not queued; its code names the state it is in
    """
    mine = [runs.c.id == run_id, runs.c.organization_id == organization_id]
    if audience_id is not None:
        mine.append(runs.c.audience_id == audience_id)
    status = connection.scalar(select(runs.c.status).where(*mine).with_for_update())
    if status is None:
        raise RunNotFound(f"There is no run {run_id}.")
    if status != "queued":
        raise NotAllowed(f"RUN_ALREADY_{status.upper()}", f"Only a queued run can be cancelled; this one is {status}.")
    _cancel(connection, *mine, now=now)


def cancel_queued(
    connection: Connection,
    audience_id: UUID,
    *,
    run_types: Sequence[str],
    because: tuple[str, str] | None = None,
    now: datetime | None = None,
) -> int:
    """
    Cancel an audience's queued runs of some types and return how many there were.

    :param because: code and sentence stored on each; None where the audience itself goes
    """
    these = (runs.c.audience_id == audience_id, runs.c.run_type == any_(literal(list(run_types), ARRAY(Text))))
    return _cancel(connection, *these, because=because, now=now)


def _cancel(
    connection: Connection,
    *which: ColumnElement[bool],
    because: tuple[str, str] | None = None,
    now: datetime | None,
) -> int:
    """Cancel what is queued among these."""
    code, sentence = because or (None, None)
    cancelled = connection.execute(
        update(runs)
        .where(runs.c.status == QUEUED, *which)
        .values(
            status="cancelled",
            next_attempt_at=None,
            cancelled_at=moment(now),
            finished_at=moment(now),
            updated_at=moment(now),
            error_code=code,
            error_message=sentence,
        )
    )
    return cancelled.rowcount


def _leave(
    connection: Connection, held: Claim | Abandoned, status: str, values: dict[str, Any], now: datetime | None
) -> None:
    """Move a run out of running, if the fence still matches."""
    left = connection.execute(
        update(runs)
        .where(runs.c.id == held.run_id, runs.c.fence == held.fence, runs.c.status == RUNNING)
        .values(
            status=status,
            claimed_by=None,
            lease_expires_at=None,
            batch=None,
            finished_at=None if status == "queued" else moment(now),
            updated_at=moment(now),
            **values,
        )
    )
    if not left.rowcount:
        raise ClaimLost


def _give_way(connection: Connection, run_id: UUID, now: datetime | None) -> None:
    """Cancel a daily run that is queued again although a newer day's run has taken its place meanwhile."""
    newer = runs.alias("newer")
    successor = select(newer.c.id).where(
        newer.c.audience_id == runs.c.audience_id,
        newer.c.run_type == "daily",
        newer.c.data_date > runs.c.data_date,
        newer.c.status.not_in(("failed", "cancelled")),
    )
    because = (Superseded.code, Superseded().sentence)
    _cancel(connection, runs.c.id == run_id, runs.c.run_type == "daily", successor.exists(), because=because, now=now)


def _end_attempt(connection: Connection, held: Claim | Abandoned, values: dict[str, Any], now: datetime | None) -> None:
    """Write the end of the run's open attempt; a rescuer ends the one its worker left open."""
    connection.execute(
        update(run_attempts)
        .where(run_attempts.c.run_id == held.run_id, run_attempts.c.outcome.is_(None))
        .values(ended_at=moment(now), **values)
    )


def _told(error: AttemptError, outcome: str, *, charged: bool) -> dict[str, Any]:
    """Say how an attempt went wrong."""
    return {"outcome": outcome, "charged": charged, "error_code": error.code, "error_message": error.sentence}
