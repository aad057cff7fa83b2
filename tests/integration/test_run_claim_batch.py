"""Claiming many runs at once: a batch is one statement, of one day, shared out fairly."""

from collections import Counter

import pytest
from builders import MINUTE, MONDAY, NOON, TUESDAY, attempts, claimed, many_queued, queued, saved
from sqlalchemy import text

from worker import runs
from worker.database import transaction

CEILINGS = {"lease_seconds": 60, "lane_max": 1000, "organization_max": 1000, "now": NOON}


@pytest.fixture(autouse=True)
def _tables(tables):
    """Every test here begins with empty tables."""


def test_a_batch_takes_one_place():
    """Five runs that share a statement leave the lane's second place to somebody else, and the third to nobody."""
    many_queued(saved(), 12)

    taken = [claimed(5, lane_max=2) for _ in range(3)]

    assert [5, 5, 0] == [len(claims) for claims in taken]
    assert [1, 1, 0] == [len({claim.batch for claim in claims} - {None}) for claims in taken]
    assert {str(claim.batch) for claim in taken[0]} == {str(attempts(claim.run_id)[0]["batch"]) for claim in taken[0]}


def test_a_batch_is_shared_out_among_organizations():
    """Beside a hundred older runs of A, each of three others has its one run in the first batch of six."""
    big, small = saved(), [saved() for _ in range(3)]
    many_queued(big, 100, due_at=NOON - MINUTE)
    for audience_id in small:
        queued(audience_id)

    served = Counter(claim.audience_id for claim in claimed(6))

    assert {big: 3, **dict.fromkeys(small, 1)} == served


def test_a_run_that_must_be_alone_is_claimed_alone():
    """It is in nobody's batch, and its own claim takes nothing else."""
    audience_id = saved()
    first = queued(audience_id, solo=True, due_at=NOON - MINUTE)
    many_queued(audience_id, 3, due_at=NOON - MINUTE / 2)
    last = queued(audience_id, solo=True, due_at=NOON)

    taken = [claimed(10) for _ in range(3)]

    assert [[first], 3, [last]] == [
        [one.run_id for one in claims] if len(claims) == 1 else len(claims) for claims in taken
    ]
    assert [1, 1, 1] == [len({one.batch for one in claims}) for claims in taken]
    assert [True, False, True] == [claims[0].batch is None for claims in taken]


def test_a_batch_reads_one_day():
    """A run of another day waits for a claim of its own."""
    audience_id = saved()
    many_queued(audience_id, 2, due_at=NOON - MINUTE)
    other = queued(audience_id, data_date=TUESDAY)

    assert [2, 1] == [len(claimed(10)), len(claimed(10))]
    assert attempts(other)[0]["batch"] is None


@pytest.mark.parametrize("wanted", [1, 10])
@pytest.mark.parametrize("plan", ["auto", "force_generic_plan"])
def test_a_claim_takes_exactly_the_asked_number_under_stale_statistics(stores, wanted, plan):
    """Statistics of one row beside 101 due ones tempt the planner into plans that take them all."""
    audience_id = saved()
    with transaction() as connection:
        connection.execute(text("ALTER TABLE runs SET (autovacuum_enabled = off)"))
    many_queued(audience_id, 1)
    with transaction() as connection:
        connection.execute(text("ANALYZE runs"))
    many_queued(audience_id, 100)

    with transaction() as connection:
        connection.execute(text(f"SET LOCAL plan_cache_mode = {plan}"))
        rounds = [
            runs.claim(connection, "manual", "w1", wanted=wanted, batch_date=MONDAY, **CEILINGS) for _ in range(7)
        ]

    assert [wanted] * 7 == [len(claims) for claims in rounds]
    with transaction() as connection:
        running = connection.scalar(text("SELECT count(*) FROM runs WHERE status = 'running'"))
    assert 7 * wanted == running
