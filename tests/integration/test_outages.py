"""A real run while PostgreSQL is away: the heartbeat asks again and again, and the lease decides."""

import threading
from contextlib import contextmanager
from datetime import date

import pytest
from builders import attempts, run_row, saved

from worker import clickhouse as door
from worker import loads, manual, rescue, runs, settings
from worker.database import transaction
from worker.materialize import materialize

DAY = date(2026, 11, 20)


@pytest.fixture
def run_id(clickhouse, monkeypatch):
    """A queued run with two statements of a second and a half, under a lease of twelve."""
    monkeypatch.setenv("LEASE_SECONDS", "12")
    monkeypatch.setenv("LEASE_MARGIN_SECONDS", "2")
    settings.current.cache_clear()
    clickhouse.command("INSERT INTO people (hem_hash, hashed_email) SELECT 1, repeat('a', 64)")
    clickhouse.command(f"INSERT INTO intent_signals SELECT '{DAY}', 1, 1, 90")
    loads.make_ready(DAY)
    loads.watch()
    clickhouse.command("RENAME TABLE people TO people_kept")
    clickhouse.command(
        "CREATE VIEW people AS SELECT * FROM people_kept WHERE hashed_email NOT IN ("
        "SELECT toString(sleepEachRow(0.25)) FROM numbers(6) SETTINGS max_block_size = 1)"
    )
    return manual.queue(saved(now=None)).run_id


def claimed():
    """Claim the run for as long as the settings say."""
    with transaction() as connection:
        seconds = settings.current().lease_seconds
        [claim] = runs.claim(connection, "manual", "w1", lease_seconds=seconds, lane_max=4, organization_max=4)
    return claim


@contextmanager
def meanwhile(clickhouse, query_id, act):
    """Do something from beside as soon as a statement of the run is seen running."""
    done = []

    def watch():
        for _ in range(400):
            if clickhouse.command(
                "SELECT count() FROM system.processes WHERE query_id = {id:String}", parameters={"id": query_id}
            ):
                act()
                done.append(True)
                return
            clickhouse.command("SELECT sleep(0.01)")

    beside = threading.Thread(target=watch)
    beside.start()
    try:
        yield
    finally:
        beside.join()
    assert [True] == done


def test_a_restart_of_postgres_shorter_than_the_lease_is_survived(run_id, clickhouse, servers):
    """The run is completed in its first attempt, although the database went away under it."""
    claim = claimed()

    with meanwhile(clickhouse, claim.query_id("count"), servers.postgres.restart):
        outcome = materialize(claim)

    row = run_row(run_id)
    assert ("completed", "completed", 1, 1) == (outcome, row["status"], row["attempts"], row["fence"])


def test_an_outage_longer_than_the_lease_ends_in_rescue(run_id, clickhouse, servers, monkeypatch):
    """The claim counts as lost before its end, its query is killed, and the run goes back once PostgreSQL does."""
    monkeypatch.setenv("LEASE_SECONDS", "4")
    monkeypatch.setenv("LEASE_MARGIN_SECONDS", "1")
    settings.current.cache_clear()
    claim = claimed()

    try:
        with meanwhile(clickhouse, claim.query_id("count"), servers.postgres.stop):
            outcome = materialize(claim)
        left = clickhouse.command(
            "SELECT count() FROM system.processes WHERE startsWith(query_id, {id:String})",
            parameters={"id": str(run_id)},
        )
    finally:
        servers.postgres.start()
    while not rescue.rescue()["retried"]:
        door.ping()

    row = run_row(run_id)
    assert ("lost", 0) == (outcome, left)
    assert ("queued", 1, "WORKER_LOST") == (row["status"], row["attempts"], row["error_code"])
    assert ["rescued"] == [attempt["outcome"] for attempt in attempts(run_id)]
