"""Runs that an operator asks for once more."""

from uuid import uuid4

import pytest
from builders import (
    NOON,
    TUESDAY,
    audience_row,
    claimed,
    end,
    everything,
    held,
    published,
    queued,
    run_row,
    saved,
    together,
)

from worker import audiences, audit, backoff, errors, redo, runs
from worker.database import transaction

POLICY = backoff.Policy(budget=1, base_seconds=15, cap_seconds=900, deadline_seconds=43_200)
FROZEN = ("organization_id", "audience_id", "run_type", "lane", "priority", "config", "config_hash", "data_date")


@pytest.fixture(autouse=True)
def _tables(tables):
    """Every test here begins with empty tables."""


def failed(audience_id=None, **values):
    """Queue a run, of a new audience unless one is named, and let it fail."""
    claim = held(audience_id, **{"run_type": "manual", **values})
    assert "failed" == end(runs.set_back, claim, errors.QueryTimeout(), POLICY)
    return claim.run_id


def cancelled(audience_id, **values):
    """Queue a run of an audience and cancel it."""
    run_id = queued(audience_id, **values)
    end(runs.cancel, audience_row(audience_id)["organization_id"], run_id)
    return run_id


def daily(**values):
    """Describe a daily run."""
    return {"run_type": "daily", "lane": "daily", **values}


def noted():
    """List what the audit holds, newest first, without its times."""
    with transaction() as connection:
        return [(line["who"], line["verb"], line["object"]) for line in audit.latest(connection)]


@pytest.mark.parametrize("kind", [{"priority": 7, "recompute": True}, daily(), {"run_type": "preview"}])
def test_a_failed_run_is_asked_for_once_more(kind):
    """The new run asks what the first one asked, with a clean sheet, and says whose retry it is and by whom."""
    run_id = failed(saved(status="active"), **kind)
    before = run_row(run_id)

    new = run_row(redo.retry(run_id, by="ann").run_id)

    assert [before[name] for name in (*FROZEN, "recompute")] == [new[name] for name in (*FROZEN, "recompute")]
    assert ("queued", 0, 0, None, run_id) == tuple(
        new[name] for name in ("status", "attempts", "failures", "error_code", "retry_of")
    )
    assert before == run_row(run_id)
    assert [("ann", "runs retry", str(run_id))] == noted()


def test_a_retry_that_is_asked_for_twice_at_once_is_one():
    """Two operators get the same run, and the one whose act it was stands in the audit."""
    run_id = failed()

    answers = together(2, lambda _engine, number: redo.retry(run_id, by=f"operator {number}"))

    assert 1 == len({answer.run_id for answer in answers})
    assert [False, True] == sorted(answer.created for answer in answers)
    assert 1 == len(noted())


def test_a_daily_run_that_stands_answers_for_a_cancelled_one():
    """A day has one daily run that stands, even a completed one, and a retry does not add to it."""
    audience_id = saved(status="active")
    run_id = cancelled(audience_id, **daily())
    standing = queued(audience_id, **daily())
    end(runs.complete, *claimed(lane="daily"), published())

    assert runs.Queued(standing, created=False) == redo.retry(run_id, by="ann")
    assert [] == noted()


def test_what_nobody_wants_any_more_is_not_retried():
    """A newer day's run, an audience that is not refreshed daily any more and a deleted one refuse; nothing changes."""
    superseded, paused, gone = (saved(status="active") for _ in range(3))
    older, idle, lost = (cancelled(audience_id, **daily()) for audience_id in (superseded, paused, gone))
    queued(superseded, **daily(data_date=TUESDAY))
    with transaction() as connection:
        audiences.set_status(connection, paused, "paused")
        audiences.delete(connection, gone)
    before = everything()

    assert "SUPERSEDED" == refusal(older).code
    assert "AUDIENCE_NOT_REFRESHED" == refusal(idle).code
    assert "AUDIENCE_NOT_FOUND" == refusal(lost).code
    assert "RUN_NOT_FOUND" == refusal(uuid4()).code
    assert before == everything()


def test_only_what_failed_or_was_cancelled_is_retried():
    """A run that waits, one under way and one that is completed refuse, each by its state."""
    waiting, running, done = queued(saved(), due_at=NOON.replace(year=2027)), held().run_id, held()
    end(runs.complete, done, published())

    refused = [refusal(run_id) for run_id in (waiting, running, done.run_id)]

    assert [f"RUN_ALREADY_{state}" for state in ("QUEUED", "RUNNING", "COMPLETED")] == [one.code for one in refused]
    assert "Only a failed or cancelled run can be retried; this one is queued." == str(refused[0])


def refusal(run_id):
    """Retry a run that must not be, and return the refusal."""
    with pytest.raises(errors.Refusal) as refused:
        redo.retry(run_id, by="ann")
    return refused.value
