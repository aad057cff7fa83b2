"""Taking due runs: exactly the asked number, each once, fairly, and from the index."""

import itertools
import re
from collections import Counter
from datetime import timedelta

import pytest
from builders import (
    MINUTE,
    MONDAY,
    NOON,
    attempts,
    claimed,
    held,
    many_queued,
    published,
    queued,
    run_row,
    saved,
    together,
)
from sqlalchemy import text

from worker import runs
from worker.database import transaction
from worker.runs.claim import CLAIM


@pytest.fixture(autouse=True)
def _tables(tables):
    """Every test here begins with empty tables."""


def race(engine, number, **options):
    """Claim in a transaction of one thread's own session."""
    with engine.begin() as connection:
        return take(connection, number, **options)


def take(connection, number, *, wanted=1, lane_max=1000):
    """Claim within a session that is already open."""
    return runs.claim(
        connection,
        "manual",
        f"w{number}",
        wanted=wanted,
        batch_date=MONDAY,
        lease_seconds=60,
        lane_max=lane_max,
        organization_max=1000,
        now=NOON,
    )


def test_a_claim_holds_the_run():
    """The claimed run is running under a raised fence, a counted attempt, a worker's name and a lease."""
    run_id = queued(saved())

    [claim] = claimed(worker="w7")

    row = run_row(run_id)
    told = ("status", "fence", "attempts", "claimed_by", "lease_expires_at", "started_at", "first_claimed_at")
    assert {
        "status": "running",
        "fence": 1,
        "attempts": 1,
        "claimed_by": "w7",
        "lease_expires_at": NOON + MINUTE,
        "started_at": NOON,
        "first_claimed_at": NOON,
    } == {name: row[name] for name in told}
    assert (run_id, 1, 1, 0) == (claim.run_id, claim.fence, claim.attempts, claim.failures)
    assert (row["config"], row["config_hash"]) == (claim.config, claim.config_hash)


def test_a_claim_opens_an_attempt():
    """The attempt carries the claim's fence and worker and has no outcome yet."""
    claim = held()

    [attempt] = attempts(claim.run_id)

    told = ("fence", "attempt", "worker", "charged", "started_at", "outcome", "query_ids")
    assert (1, 1, "w1", False, NOON, None, []) == tuple(attempt[name] for name in told)
    assert f"{claim.run_id}-1-count" == claim.query_id("count")


def test_of_two_sessions_racing_for_one_run_exactly_one_wins():
    """Two sessions claim at the same moment; one gets the run, the other nothing."""
    run_id = queued(saved())

    won = together(2, race)

    assert [[], [run_id]] == sorted([claim.run_id for claim in claims] for claims in won)
    assert 1 == run_row(run_id)["fence"]


def test_many_claimers_claim_each_run_once():
    """Eight sessions empty a queue of 200 runs, and no run is claimed twice."""
    audience_id = saved()
    many_queued(audience_id, 200)

    def drain(engine, number):
        batches = iter(lambda: race(engine, number, wanted=1 + number % 3), [])
        return [claim.run_id for batch in batches for claim in batch]

    taken = list(itertools.chain.from_iterable(together(8, drain)))

    assert (200, 200) == (len(taken), len(set(taken)))


def test_a_claim_reads_the_partial_indexes_under_a_generic_plan(stores):
    """Beside 20,000 finished runs a claim whose values are unknown to the planner scans no table."""
    audience_id = saved()
    many_queued(audience_id, 20_000)
    with transaction() as connection:
        connection.execute(
            text("UPDATE runs SET status = 'cancelled', cancelled_at = now(), finished_at = now(), due_at = now()")
        )
    many_queued(audience_id, 50)
    with transaction() as connection:
        connection.execute(text("ANALYZE runs"))
        plan = explained(connection)

    assert [] == [line for line in plan if "Seq Scan on runs" in line]
    assert any("runs_due" in line for line in plan)
    assert any("runs_leased" in line for line in plan)


def explained(connection) -> list[str]:
    """Ask for the claim's generic plan, with every value a parameter."""
    names = ("now", "lane", "wanted", "organization_max", "lane_max", "worker", "lease_seconds", "batch_date", "batch")
    types = ("timestamptz", "text", "integer", "integer", "integer", "text", "double precision", "date", "uuid")
    places = {name: f"${place}" for place, name in enumerate(names, start=1)}
    sql = re.sub(rf":({'|'.join(names)})\b", lambda found: places[found[1]], str(CLAIM))
    connection.exec_driver_sql("SET LOCAL plan_cache_mode = force_generic_plan")
    connection.exec_driver_sql(f"PREPARE claiming({', '.join(types)}) AS {sql}")
    values = f"now(), 'manual', 1, 2, 4, 'w1', 60.0, '{MONDAY}', gen_random_uuid()"
    return [row[0] for row in connection.exec_driver_sql(f"EXPLAIN EXECUTE claiming({values})")]


def test_a_lane_s_ceiling_holds_over_all_workers():
    """Six sessions claim batches at once and together never pass the lane's ceiling of five statements."""
    many_queued(saved(), 20)

    won = together(6, lambda engine, number: race(engine, number, wanted=2, lane_max=5))

    assert [0, 2, 2, 2, 2, 2] == sorted(len(claims) for claims in won)
    assert [] == claimed(lane_max=5)


def test_a_ceiling_counts_its_own_lane_only():
    """Runs of the daily lane take no place of the manual one."""
    audience_id = saved()
    queued(audience_id, lane="daily")
    queued(audience_id)
    claimed(lane="daily", lane_max=1)

    assert 1 == len(claimed(lane_max=1))


def test_a_small_organization_is_next_beside_a_big_one():
    """With a hundred older runs of A due and one of B, B has one of the first two places."""
    big, small = saved(), saved()
    many_queued(big, 100, due_at=NOON - MINUTE)
    queued(small)

    audiences = {claim.audience_id for claim in (*claimed(), *claimed())}

    assert {big, small} == audiences


def test_equally_busy_organizations_both_get_turns():
    """One place, twenty older runs of A, twenty of B: B is not kept waiting until A is done."""
    first, second = saved(), saved()
    many_queued(first, 20, due_at=NOON - MINUTE)
    many_queued(second, 20)

    served = Counter()
    for _ in range(20):
        [claim] = claimed()
        served[claim.audience_id] += 1
        with transaction() as connection:
            runs.complete(connection, claim, published())

    assert {first, second} == set(served)


def one_by_one(times, **ceilings):
    """Claim run after run, each alone, until so many or no more are to be had."""
    return [claim for _ in range(times) for claim in claimed(**ceilings)]


def test_an_organization_keeps_to_its_share_while_another_waits():
    """Of four places two go to each organization that waits, and not a third to any."""
    audience_ids = [saved(), saved()]
    for audience_id in audience_ids:
        many_queued(audience_id, 5)

    taken = one_by_one(4, organization_max=2)

    assert sorted(audience_ids * 2) == sorted(claim.audience_id for claim in taken)


def test_a_lone_organization_may_use_the_whole_lane():
    """Nobody else waits, so the share binds nobody."""
    many_queued(saved(), 10)

    taken = one_by_one(10, lane_max=6, organization_max=2)

    assert 6 == len(taken)


def test_shares_leave_no_place_empty():
    """Two organizations that have both used up their shares go on, because nobody below a share waits."""
    for audience_id in (saved(), saved()):
        many_queued(audience_id, 5)
    one_by_one(4, organization_max=2)

    taken = one_by_one(10, lane_max=8, organization_max=2)

    assert 4 == len(taken)
    assert 2 == len({claim.organization_id for claim in taken})


def test_a_larger_priority_goes_first():
    """Among runs of one organization the larger priority is claimed first, whatever their age."""
    audience_id = saved()
    queued(audience_id, priority=5, due_at=NOON - MINUTE)
    urgent = queued(audience_id, priority=6)

    assert [urgent] == [claim.run_id for claim in claimed()]


def test_an_older_run_goes_first_among_equals():
    """Among equal priorities the longest due run is claimed first."""
    audience_id = saved()
    queued(audience_id)
    older = queued(audience_id, due_at=NOON - MINUTE)
    queued(audience_id)

    assert [older] == [claim.run_id for claim in claimed()]


def test_waiting_raises_a_priority():
    """Half an hour of waiting is worth one step, so an old run of priority 4 overtakes a fresh one of 5."""
    audience_id = saved()
    queued(audience_id, priority=5)
    old = queued(audience_id, priority=4, due_at=NOON - timedelta(minutes=61))

    assert [old] == [claim.run_id for claim in claimed()]


def test_waiting_less_than_a_step_raises_nothing():
    """After 29 minutes a run of priority 4 still stands behind one of 5."""
    audience_id = saved()
    fresh = queued(audience_id, priority=5)
    queued(audience_id, priority=4, due_at=NOON - timedelta(minutes=29))

    assert [fresh] == [claim.run_id for claim in claimed()]


def test_the_future_is_not_due():
    """A run due in a minute is left alone now and claimed then."""
    run_id = queued(saved(), due_at=NOON + MINUTE)

    assert [] == claimed()
    assert [run_id] == [claim.run_id for claim in claimed(now=NOON + MINUTE)]


def test_another_lane_s_runs_are_left_alone():
    """A drain of the daily lane takes nothing from the manual one."""
    queued(saved())

    assert [] == claimed(lane="daily")


def test_a_run_that_somebody_holds_is_passed_over():
    """A session that forgot its transaction on the first run keeps nobody from the second."""
    audience_id = saved()
    first = queued(audience_id, due_at=NOON - MINUTE)
    second = queued(audience_id)

    with transaction() as forgetful:
        forgetful.execute(text("SELECT FROM runs WHERE id = :id FOR UPDATE"), {"id": first})
        taken = claimed()

    assert [second] == [claim.run_id for claim in taken]


def test_due_runs_are_counted_by_lane_up_to_a_limit():
    """Counting stops at the limit and leaves out the future."""
    audience_id = saved()
    many_queued(audience_id, 7)
    queued(audience_id, lane="daily")
    queued(audience_id, lane="daily", due_at=NOON + MINUTE)

    with transaction() as connection:
        counted = runs.due(connection, limit=4, now=NOON)

    assert {"manual": 4, "daily": 1} == counted
