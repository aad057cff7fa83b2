"""What two guards are there for, shown without chance: the lane's lock, and a snapshot key for every execution."""

from concurrent.futures import ThreadPoolExecutor
from datetime import date

from builders import NOON, attempts, claimed, many_queued, run_row, saved, until_somebody_waits

from worker import loads, manual, runs, snapshots
from worker.database import transaction
from worker.materialize import materialize

DAY = date(2026, 11, 20)


def test_a_second_claimer_counts_when_the_first_has_committed(tables):
    """Of two due runs and one place, a claim that begins before another one's commit takes nothing."""
    many_queued(saved(), 2)

    ceilings = {"lease_seconds": 60, "lane_max": 1, "organization_max": 1}
    with ThreadPoolExecutor(1) as beside, transaction() as connection:
        first = runs.claim(connection, "manual", "w1", **ceilings, now=NOON)
        second = beside.submit(claimed, lane_max=1, organization_max=1)
        until_somebody_waits()

    assert [1, 0] == [len(first), len(second.result())]


def test_a_second_attempt_writes_under_a_key_of_its_own(stores, clickhouse, monkeypatch):
    """The rows that a first attempt left behind are no part of what the second one publishes."""
    clickhouse.command("INSERT INTO people (hem_hash, hashed_email) SELECT number, toString(number) FROM numbers(3)")
    signals = "INSERT INTO intent_signals SELECT {day:Date}, 1, number, 80 FROM numbers(3)"
    clickhouse.command(signals, parameters={"day": DAY})
    loads.make_ready(DAY)
    loads.watch()
    run_id = manual.queue(saved()).run_id
    verify = snapshots.verify

    with monkeypatch.context() as patched:
        patched.setattr(snapshots, "verify", lambda *given: (verify(*given), loads.make_ready(DAY)))
        first = materialize(*claimed(now=None))
    second = materialize(*claimed(now=run_row(run_id)["due_at"]))

    keys = [attempt["snapshot_key"] for attempt in attempts(run_id)]
    assert ("retried", "completed", 3) == (first, second, run_row(run_id)["result_count"])
    assert 2 == len(set(keys))
    assert keys[1] == run_row(run_id)["snapshot_key"]
