"""Ending an attempt or a run: fenced, counted, and told in our own words."""

from datetime import timedelta
from uuid import uuid4

import pytest
from builders import (
    MINUTE,
    NOON,
    attempts,
    audience_row,
    claimed,
    everything,
    held,
    published,
    queued,
    run_row,
    saved,
    together,
)

from worker import backoff, errors, runs
from worker.database import transaction
from worker.runs import finish

POLICY = backoff.Policy()


@pytest.fixture(autouse=True)
def _tables(tables):
    """Every test here begins with empty tables."""


def end(verb, *arguments, now=NOON, **options):
    """Call one verb in a transaction of its own."""
    with transaction() as connection:
        return verb(connection, *arguments, now=now, **options)


def counted(run_id):
    """Read status, attempts and failures of a run."""
    return tuple(run_row(run_id)[name] for name in ("status", "attempts", "failures"))


def told(run_id):
    """Read code and sentence of a run."""
    return tuple(run_row(run_id)[name] for name in ("error_code", "error_message"))


def outcomes(run_id):
    """Read fence, number, charge, outcome and code of each attempt."""
    names = ("fence", "attempt", "charged", "outcome", "error_code")
    return [tuple(attempt[name] for name in names) for attempt in attempts(run_id)]


def stale():
    """Claim a run whose fence a rescuer has raised since."""
    claim = held()
    [abandoned] = end(runs.take_over, limit=5, seconds=30, now=NOON + 2 * MINUTE)
    assert claim.run_id == abandoned.run_id
    return claim


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
        ours = runs.record(connection, claim, strategy="s", query_ids=["q"], snapshot_key=uuid4(), versions=(1, 1))

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


def test_a_charged_failure_keeps_its_attempt():
    """A charged attempt stays counted, and the run waits for its next one."""
    claim = held()

    end(finish.retry, claim, errors.QueryTimeout(), due_at=NOON + MINUTE, charged=True)

    row = run_row(claim.run_id)
    assert ("queued", 1, 1) == counted(claim.run_id)
    assert (NOON + MINUTE, NOON + MINUTE) == (row["due_at"], row["next_attempt_at"])
    assert [(1, 1, True, "retried", "QUERY_TIMEOUT")] == outcomes(claim.run_id)


def test_an_uncharged_failure_gives_its_attempt_back():
    """An uncharged failure counts as a failure and not as an attempt."""
    claim = held()

    end(finish.retry, claim, errors.ClickHouseUnavailable(), due_at=NOON, charged=False)

    assert ("queued", 0, 1) == counted(claim.run_id)
    assert [(1, 1, False, "retried", "CLICKHOUSE_UNAVAILABLE")] == outcomes(claim.run_id)


def test_a_release_counts_nothing():
    """A released run is due at once, neither attempted nor failed, and its attempt is told apart."""
    claim = held()

    end(runs.release, claim, now=NOON + MINUTE)

    row = run_row(claim.run_id)
    assert ("queued", 0, 0) == counted(claim.run_id)
    assert (NOON + MINUTE, None) == (row["due_at"], row["next_attempt_at"])
    assert [(1, 1, False, "released", None)] == outcomes(claim.run_id)


def test_a_next_attempt_is_named_only_while_the_run_waits():
    """Claiming a run clears its next attempt."""
    claim = held()
    end(finish.retry, claim, errors.QueryTimeout(), due_at=NOON, charged=True)

    claimed()

    assert run_row(claim.run_id)["next_attempt_at"] is None


def test_fences_and_attempts_part_ways():
    """Fences count claims, attempts count what was charged, failures count what went wrong."""
    claim = held()
    end(runs.release, claim)
    [claim] = claimed()
    end(finish.retry, claim, errors.ClickHouseUnavailable(), due_at=NOON, charged=False)
    [claim] = claimed()
    end(finish.retry, claim, errors.QueryTimeout(), due_at=NOON, charged=True)
    [claim] = claimed()
    end(runs.complete, claim, published())

    assert ("completed", 2, 2) == counted(claim.run_id)
    assert [
        (1, 1, False, "released", None),
        (2, 1, False, "retried", "CLICKHOUSE_UNAVAILABLE"),
        (3, 1, True, "retried", "QUERY_TIMEOUT"),
        (4, 2, False, "completed", None),
    ] == outcomes(claim.run_id)
    assert 4 == run_row(claim.run_id)["fence"]


def test_the_stored_sentence_is_ours():
    """Code and sentence come from the class, never from what caused it."""
    claim = held()

    try:
        try:
            raise OSError("connection to 10.0.0.7:8123 refused, password=hunter2")
        except OSError as cause:
            raise errors.QueryTimeout from cause
    except errors.QueryTimeout as error:
        end(runs.set_back, claim, error, POLICY)

    assert ("QUERY_TIMEOUT", "The query took longer than it may.") == told(claim.run_id)
    assert "hunter2" not in repr(everything())


def test_a_permanent_error_fails_at_once():
    """A config that cannot run is not tried again."""
    claim = held()

    came_of_it = end(runs.set_back, claim, errors.ConfigRefused(), POLICY)

    assert "failed" == came_of_it
    assert ("failed", 1, 1) == counted(claim.run_id)
    assert "CONFIG_INVALID" == told(claim.run_id)[0]
    assert NOON == run_row(claim.run_id)["finished_at"]
    assert [(1, 1, True, "failed", "CONFIG_INVALID")] == outcomes(claim.run_id)


def test_a_run_is_tried_as_often_as_its_budget_says():
    """With a budget of three the third charged failure is the last."""
    policy = backoff.Policy(budget=3)
    run_id, came_of_it = queued(saved()), []
    for _ in range(3):
        [claim] = claimed(now=run_row(run_id)["due_at"])
        came_of_it.append(end(runs.set_back, claim, errors.QueryTimeout(), policy, now=claim.claimed_at))

    assert ["retried", "retried", "failed"] == came_of_it
    assert ("failed", 3, 3) == counted(run_id)
    assert "QUERY_TIMEOUT" == told(run_id)[0]


def test_uncharged_failures_spend_no_budget():
    """However often ClickHouse is away, a run with a budget of one is tried again."""
    policy = backoff.Policy(budget=1)
    run_id = queued(saved())
    for _ in range(4):
        [claim] = claimed(now=run_row(run_id)["due_at"])
        end(runs.set_back, claim, errors.ClickHouseUnavailable(), policy, now=claim.claimed_at)

    assert ("queued", 0, 4) == counted(run_id)


def test_a_run_given_up_at_its_deadline_keeps_what_happened():
    """The run fails for its deadline, and the attempt still says what ended it."""
    claim = held()
    late = NOON + timedelta(hours=13)

    end(runs.set_back, claim, errors.ClickHouseMisconfigured(), POLICY, now=late)

    assert "DEADLINE_EXCEEDED" == told(claim.run_id)[0]
    assert ("failed", 0, 1) == counted(claim.run_id)
    assert [(1, 1, False, "failed", "CLICKHOUSE_MISCONFIGURED")] == outcomes(claim.run_id)


def test_the_deadline_counts_from_the_first_claim():
    """A release or a retry starts no new deadline."""
    claim = held()
    end(runs.release, claim, now=NOON + MINUTE)
    [again] = claimed(now=NOON + 2 * MINUTE)

    assert NOON == again.first_claimed_at


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


def test_a_rescued_run_ends_its_worker_s_attempt():
    """The rescuer's fence is the run's, the ended attempt is the lost worker's, charged."""
    claim = stale()
    [abandoned] = end(runs.take_over, limit=5, seconds=30, now=NOON + 5 * MINUTE)

    came_of_it = end(runs.set_back, abandoned, errors.WorkerLost(), POLICY, now=NOON + 5 * MINUTE)

    assert "retried" == came_of_it
    assert ("queued", 1, 1) == counted(claim.run_id)
    assert NOON + 5 * MINUTE == run_row(claim.run_id)["due_at"]
    assert [(1, 1, True, "rescued", "WORKER_LOST")] == outcomes(claim.run_id)
    assert 3 == run_row(claim.run_id)["fence"]
