"""Cancelling: only what is queued, by its own tenant, and never what is under way."""

from uuid import uuid4

import pytest
from builders import (
    NOON,
    audience_row,
    counted,
    end,
    everything,
    held,
    published,
    queued,
    run_row,
    saved,
    together,
    told,
)

from worker import errors, runs
from worker.runs import finish


@pytest.fixture(autouse=True)
def _tables(tables):
    """Every test here begins with empty tables."""


def test_a_queued_run_can_be_cancelled():
    """A cancelled run says when, and waits for nothing."""
    run_id = queued(saved())

    end(runs.cancel, run_row(run_id)["organization_id"], run_id)

    row = run_row(run_id)
    assert ("cancelled", NOON, NOON) == tuple(row[name] for name in ("status", "cancelled_at", "finished_at"))


def test_a_run_that_waits_for_its_next_attempt_can_be_cancelled():
    """The failure before it and the date of its next attempt go with it."""
    claim = held()
    end(finish.retry, claim, errors.QueryTimeout(), due_at=NOON, charged=True)

    end(runs.cancel, claim.organization_id, claim.run_id)

    assert ("cancelled", 1, 1) == counted(claim.run_id)
    assert (None, None) == told(claim.run_id)


def _complete(claim):
    end(runs.complete, claim, published())


def _fail(claim):
    end(finish.fail, claim, errors.ConfigRefused(), charged=True)


def _cancel(claim):
    end(runs.release, claim)
    end(runs.cancel, claim.organization_id, claim.run_id)


@pytest.mark.parametrize(
    ("act", "code"),
    [
        (lambda claim: None, "RUN_ALREADY_RUNNING"),
        (_complete, "RUN_ALREADY_COMPLETED"),
        (_fail, "RUN_ALREADY_FAILED"),
        (_cancel, "RUN_ALREADY_CANCELLED"),
    ],
)
def test_only_a_queued_run_can_be_cancelled(act, code):
    """Each other state refuses under a code of its own, and nothing changes."""
    claim = held()
    act(claim)
    untouched = everything()

    with pytest.raises(errors.NotAllowed) as refused:
        end(runs.cancel, claim.organization_id, claim.run_id)

    assert code == refused.value.code
    assert untouched == everything()


def test_another_tenant_s_run_is_not_there_to_cancel():
    """A run of another organization is as unknown as one that never was."""
    run_id = queued(saved())

    with pytest.raises(errors.NotFound):
        end(runs.cancel, uuid4(), run_id)

    assert "queued" == run_row(run_id)["status"]


def test_of_a_claim_and_a_cancellation_exactly_one_wins():
    """Whichever comes first, the run is either running or cancelled, and the other side knows."""
    audience_id = saved()
    for _ in range(5):
        run_id = queued(audience_id)
        organization_id = audience_row(audience_id)["organization_id"]

        def act(engine, number, run_id=run_id, organization_id=organization_id):
            with engine.begin() as connection:
                if number:
                    ceilings = {"lease_seconds": 60, "lane_max": 99, "organization_max": 99}
                    return len(runs.claim(connection, "manual", "w", now=NOON, **ceilings))
                try:
                    runs.cancel(connection, organization_id, run_id, now=NOON)
                except errors.NotAllowed as refused:
                    return refused.code
                return "cancelled"

        came_of_it = (*together(2, act), run_row(run_id)["status"])

        assert came_of_it in {("cancelled", 0, "cancelled"), ("RUN_ALREADY_RUNNING", 1, "running")}
