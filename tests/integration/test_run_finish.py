"""Ending an attempt or a run: fenced, counted, and told in our own words."""

from uuid import uuid4

import pytest
from builders import (
    MINUTE,
    NOON,
    attempts,
    claimed,
    counted,
    end,
    everything,
    held,
    outcomes,
    published,
    run_row,
    stale,
    together,
    told,
)

from worker import backoff, errors, runs
from worker.database import transaction
from worker.runs import finish

POLICY = backoff.Policy()


@pytest.fixture(autouse=True)
def _tables(tables):
    """Every test here begins with empty tables."""


LATE_WRITES = {
    "complete": lambda claim: end(runs.complete, claim, published()),
    "retry": lambda claim: end(finish.retry, claim, errors.QueryTimeout(), due_at=NOON, charged=True),
    "fail": lambda claim: end(finish.fail, claim, errors.ConfigRefused(), charged=True),
    "release": lambda claim: end(runs.release, claim),
    "set_back": lambda claim: end(runs.set_back, claim, errors.QueryTimeout(), POLICY),
}


def test_completing_publishes_counts_and_snapshot():
    """A completed run carries what its attempt has to show, and no lease."""
    claim, shown = held(), published(results=20, candidates=50)

    end(runs.complete, claim, shown, now=NOON + MINUTE)

    row = run_row(claim.run_id)
    names = ("status", "candidate_count", "result_count", "snapshot_key", "completed_at", "finished_at", "claimed_by")
    assert ("completed", 50, 20, shown.snapshot_key, NOON + MINUTE, NOON + MINUTE, None) == tuple(
        row[name] for name in names
    )
    assert [(1, 1, False, "completed", None)] == outcomes(claim.run_id)
    assert (1000, NOON + MINUTE) == tuple(attempts(claim.run_id)[0][name] for name in ("read_rows", "ended_at"))


def test_completing_clears_an_earlier_failure():
    """The code of an attempt that failed before does not stay on a completed run."""
    claim = held()
    end(finish.retry, claim, errors.QueryTimeout(), due_at=NOON, charged=True)
    [again] = claimed()

    end(runs.complete, again, published())

    assert (None, None) == told(claim.run_id)
    assert ("completed", 2, 1) == counted(claim.run_id)


@pytest.mark.parametrize("verb", LATE_WRITES)
def test_a_stale_claim_changes_nothing(verb):
    """Whoever lost the claim is told so, and not one row is different."""
    claim = stale()
    untouched = everything()

    with pytest.raises(errors.ClaimLost):
        LATE_WRITES[verb](claim)

    assert untouched == everything()


def test_a_stale_claim_is_not_renewed():
    """A renewal under an old fence is refused and leaves the new lease alone."""
    claim = stale()
    untouched = everything()

    assert not end(runs.renew, claim, seconds=60)
    assert untouched == everything()


def test_a_stale_claim_records_nothing():
    """What a lost claim is about to send is not written down, and its holder is told."""
    claim = stale()
    untouched = everything()

    with transaction() as connection:
        ours = runs.record(connection, claim, strategy="s", query_ids=["q"], snapshot_key=uuid4(), versions=(1, 1, 1))

    assert not ours
    assert untouched == everything()


@pytest.mark.parametrize("verb", LATE_WRITES)
def test_a_finished_run_is_not_finished_again(verb):
    """After completion the same claim holds nothing any more."""
    claim = held()
    end(runs.complete, claim, published())
    untouched = everything()

    with pytest.raises(errors.ClaimLost):
        LATE_WRITES[verb](claim)

    assert untouched == everything()


def test_a_later_claim_of_the_same_worker_is_another():
    """A claim from before a retry ends nothing of the attempt that runs now."""
    first = held()
    end(runs.release, first)
    [second] = claimed()

    with pytest.raises(errors.ClaimLost):
        end(runs.complete, first, published())

    assert (2, "running") == (second.fence, run_row(first.run_id)["status"])


def test_an_unconfirmed_commit_is_known_by_its_fence():
    """A claim asks whether it was itself that completed the run."""
    claim, other = held(), held()
    with transaction() as connection:
        before = runs.completed(connection, claim)
    end(runs.complete, claim, published())

    with transaction() as connection:
        assert not before
        assert runs.completed(connection, claim)
        assert not runs.completed(connection, other)


def test_somebody_else_s_completion_is_not_ours():
    """A run completed under a later fence does not answer for an earlier one."""
    first = held()
    end(runs.release, first)
    [second] = claimed()
    end(runs.complete, second, published())

    with transaction() as connection:
        assert not runs.completed(connection, first)


def test_an_expired_lease_is_taken_over_once():
    """Of two rescuers exactly one raises the fence, and the attempt stays open for it."""
    claim = held()

    def act(engine, number):
        with engine.begin() as connection:
            return runs.take_over(connection, limit=5, seconds=30, now=NOON + 2 * MINUTE)

    taken = [abandoned for found in together(2, act) for abandoned in found]

    assert [(claim.run_id, 2, 1, 0, "w1", 60.0)] == [
        (one.run_id, one.fence, one.attempts, one.failures, one.worker, one.overdue_seconds) for one in taken
    ]
    assert [(1, 1, False, None, None)] == outcomes(claim.run_id)


def test_a_healthy_lease_is_not_taken_over():
    """A lease that ends this very moment still holds."""
    held()

    assert [] == end(runs.take_over, limit=5, seconds=30, now=NOON + MINUTE)
