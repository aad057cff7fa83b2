"""What a failed attempt costs: attempts, failures, budget, and what is told of it."""

from datetime import timedelta
from itertools import pairwise

import pytest
from builders import (
    MINUTE,
    MONDAY,
    NOON,
    TUESDAY,
    attempts,
    claimed,
    counted,
    end,
    everything,
    held,
    outcomes,
    published,
    queued,
    run_row,
    saved,
    stale,
    told,
)

from worker import backoff, errors, runs
from worker.database import transaction
from worker.runs import finish

POLICY = backoff.Policy()


@pytest.fixture(autouse=True)
def _tables(tables):
    """Every test here begins with empty tables."""


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
    error = errors.QueryTimeout()
    error.__cause__ = OSError("connection to 10.0.0.7:8123 refused, password=hunter2")

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


@pytest.mark.parametrize("error", [errors.ClickHouseUnavailable, errors.ClickHouseOverloaded])
def test_servers_at_fault_spend_nothing_and_end_at_the_deadline(error):
    """With a budget of one a run is tried for as long as its deadline allows, and every attempt is given back."""
    policy = backoff.Policy(budget=1, deadline_seconds=600)
    run_id, claims = queued(saved()), []
    while run_row(run_id)["status"] == "queued":
        [claim] = claimed(now=run_row(run_id)["due_at"])
        claims.append(claim.claimed_at)
        end(runs.set_back, claim, error(), policy, now=claim.claimed_at)

    waits = [(later - earlier).total_seconds() for earlier, later in pairwise(claims)]
    assert ("failed", 0, len(claims)) == counted(run_id)
    assert ("DEADLINE_EXCEEDED", "The run could not be completed before its deadline.") == told(run_id)
    assert {False} == {attempt["charged"] for attempt in attempts(run_id)}
    assert 5 <= min(waits) <= max(waits) <= 15
    assert timedelta(seconds=600 - 15) < claims[-1] - claims[0] <= timedelta(seconds=600)


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


@pytest.mark.parametrize("back", ["retried", "released"])
def test_an_older_daily_run_gives_way_when_it_comes_back(back):
    """A newer day's run was queued while it ran: queued again, it would announce an older day after a newer one."""
    audience_id = saved()
    claim = held(audience_id, run_type="daily", lane="daily", data_date=MONDAY)
    queued(audience_id, run_type="daily", lane="daily", data_date=TUESDAY)

    with transaction() as connection:
        if back == "released":
            runs.release(connection, claim, now=NOON)
        else:
            runs.set_back(connection, claim, errors.QueryTimeout(), POLICY, now=NOON)

    row = run_row(claim.run_id)
    assert ("cancelled", "SUPERSEDED") == (row["status"], row["error_code"])
