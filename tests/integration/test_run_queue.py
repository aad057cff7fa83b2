"""Giving birth to runs: what the room itself promises, whoever calls it."""

import itertools
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from builders import (
    MINUTE,
    MONDAY,
    NOON,
    TUESDAY,
    audience_row,
    before_each_statement,
    claimed,
    everything,
    queued,
    run_row,
    runs_of,
    saved,
    until_somebody_waits,
)

from worker import audiences, runs
from worker.database import transaction


@pytest.fixture(autouse=True)
def _tables(tables):
    """Every test here begins with empty tables."""


def queue(audience_id, **wishes):
    """Queue a run of Tuesday by hand, holding the audience as a story does."""
    with transaction() as connection:
        audience = audiences.locked(connection, audience_id)
        return runs.queue(connection, audience, TUESDAY, now=NOON, **wishes)


def queue_daily(*audience_ids, day=TUESDAY, now=NOON):
    """Queue the day for these audiences."""
    with transaction() as connection:
        return runs.queue_daily(connection, audience_ids, day, now=now)


def test_a_key_answers_for_its_run():
    """A key is known exactly once a run was queued under it, for its own audience."""
    audience_id, other = saved(), saved()
    asked = queue(audience_id, key="k")

    with transaction() as connection:
        found = [runs.answered(connection, *it) for it in ((audience_id, "k"), (audience_id, "x"), (other, "k"))]

    assert [asked.run_id, None, None] == found


def test_a_run_for_nobody_in_particular_stays_in_the_daily_lane():
    """A run that nobody waits for is born there, and an existing one is left where it is."""
    audience_id, other = saved(), saved()
    daily = queued(other, run_type="daily", lane="daily", data_date=TUESDAY)

    born, met = queue(audience_id, lane="daily"), queue(other, lane="daily")

    assert (True, "daily") == (born.created, run_row(born.run_id)["lane"])
    assert (daily, "daily") == (met.run_id, run_row(daily)["lane"])


def test_a_manual_run_answers_before_a_daily_one():
    """With both in flight the request gets the manual run, and the daily one stays in its lane."""
    audience_id = saved()
    daily = queued(audience_id, run_type="daily", lane="daily", data_date=TUESDAY, created_at=NOON - MINUTE)
    by_hand = queued(audience_id, run_type="manual", data_date=TUESDAY)

    assert by_hand == queue(audience_id).run_id
    assert "daily" == run_row(daily)["lane"]


def test_a_run_cancelled_while_it_was_looked_for_is_no_answer():
    """The found run is cancelled by another session before it can be moved; the request gets a new one."""
    audience_id = saved()
    organization_id = audience_row(audience_id)["organization_id"]
    old = queued(audience_id, run_type="manual", data_date=TUESDAY)

    with ThreadPoolExecutor(1) as beside:
        with transaction() as connection:
            runs.cancel(connection, organization_id, old, now=NOON)
            asking = beside.submit(queue, audience_id)
            until_somebody_waits()
        asked = asking.result()

    assert (True, True) == (asked.created, asked.run_id != old)


def test_a_run_claimed_while_it_was_looked_for_is_the_answer():
    """The found run is claimed by another session before it can be moved; the request gets it all the same."""
    audience_id = saved()
    old = queued(audience_id, run_type="daily", lane="daily", data_date=TUESDAY)
    moves = itertools.count()

    def claim_first(statement):
        if statement.startswith("UPDATE runs SET lane") and not next(moves):
            with ThreadPoolExecutor(1) as beside:
                beside.submit(claimed, lane="daily").result()

    with before_each_statement(claim_first):
        asked = queue(audience_id)

    assert (old, False) == (asked.run_id, asked.created)
    assert ("running", "daily") == tuple(run_row(old)[name] for name in ("status", "lane"))


def test_a_day_is_queued_for_the_named_audiences_only():
    """The number of new runs is returned, and nobody else gets one."""
    first, second, other = saved(), saved(), saved()

    assert 2 == queue_daily(first, second)
    assert [("daily", "queued", TUESDAY)] == runs_of(first) == runs_of(second)
    assert [] == runs_of(other)


def test_a_day_queued_twice_is_queued_once():
    """The second time Postgres itself answers that the runs are there."""
    audience_id = saved()
    queue_daily(audience_id)
    untouched = everything()

    assert 0 == queue_daily(audience_id, now=NOON + MINUTE)
    assert untouched == everything()


def test_a_day_for_nobody_is_nothing():
    """No audience, no run."""
    assert 0 == queue_daily()


def test_only_older_daily_runs_that_wait_are_superseded():
    """Of a daily run of an older day, of a newer day and a preview only the first gives way."""
    audience_id = saved()
    older = queued(audience_id, run_type="daily", lane="daily", data_date=MONDAY)
    newer = queued(audience_id, run_type="daily", lane="daily", data_date=TUESDAY + timedelta(days=1))
    preview = queued(audience_id, data_date=MONDAY)

    queue_daily(audience_id)

    assert ["cancelled", "queued", "queued"] == [run_row(it)["status"] for it in (older, newer, preview)]
    assert ("SUPERSEDED", NOON) == tuple(run_row(older)[name] for name in ("error_code", "finished_at"))


def test_the_latest_runs_come_first():
    """A list is narrowed by organization, audience and status, newest first."""
    audience_id = saved()
    first = queued(audience_id)
    second = queued(audience_id, created_at=NOON + MINUTE)
    queued(saved())
    organization_id = audience_row(audience_id)["organization_id"]

    with transaction() as connection:
        found = runs.latest(connection, organization_id=organization_id, audience_id=audience_id, status="queued")
        one = runs.latest(connection, limit=1, status="queued", audience_id=audience_id)

    assert [second, first] == [row["id"] for row in found]
    assert [second] == [row["id"] for row in one]
