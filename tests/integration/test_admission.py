"""What a lane asks of ClickHouse at once, what its statements say of themselves, and how many parts they make."""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import date

import pytest
from builders import queued, run_row, saved
from sqlalchemy import text

from worker import drain, indexing, loads, settings
from worker.database import transaction

DAY = date(2026, 11, 20)
DRAINS, RUNS = 4, 10
STEPS = ("-pick", "-freeze", "-frozen")
RUNNING = """
SELECT query_id, Settings['log_comment'], Settings['workload'] FROM system.processes
WHERE Settings['log_comment'] != '' AND current_database = currentDatabase()
"""
PARTS = """
SELECT table, max(max_block_number) FROM system.parts
WHERE database = currentDatabase() AND table IN ('audience_results', 'selections') GROUP BY table
"""


@pytest.fixture(autouse=True)
def _day(clickhouse, monkeypatch):
    """A day of a hundred people, indexed, and two places for the daily lane, three runs a batch."""
    clickhouse.command(
        "INSERT INTO people (hem_hash, hashed_email) SELECT cityHash64(email), email"
        " FROM (SELECT lower(hex(SHA256(toString(number)))) AS email FROM numbers(100))"
    )
    clickhouse.command(f"INSERT INTO intent_signals SELECT '{DAY}', 1, hem_hash, 80 FROM people")
    loads.make_ready(DAY)
    loads.watch()
    for name, value in (("LANE_MAX_STATEMENTS", "2"), ("BATCH_RUNS", "3"), ("QUERY_WORKLOAD", "breakfast")):
        monkeypatch.setenv(name, value)
    settings.current.cache_clear()
    assert indexing.prepare("test@here", leaving=lambda: False).index


def waiting(count, **values):
    """Queue daily runs of as many organizations, due now."""
    with transaction() as connection:
        now = connection.scalar(text("SELECT now()"))
    born = {"lane": "daily", "run_type": "daily", "data_date": DAY, "due_at": now, "created_at": now}
    return [queued(saved(status="active", now=None), **born, **values) for _ in range(count)]


def watched(clickhouse, ended):
    """Look at what is running, again and again; return each look's (query id, comment, workload)."""
    looks = []
    while not ended.is_set():
        looks.append(clickhouse.query(RUNNING).result_rows)
        ended.wait(0.005)
    return looks


def test_a_lane_never_has_more_statements_than_its_places(clickhouse):
    """Four drains empty a queue by two statements at once and no more, each saying whose it is and in which workload."""
    [alone] = waiting(1, solo=True)
    waiting(RUNS - 1)
    # Whoever reads people takes his time, so that statements meet.
    clickhouse.command("RENAME TABLE people TO people_kept")
    clickhouse.command(
        "CREATE VIEW people AS SELECT * FROM people_kept WHERE hashed_email NOT IN ("
        "SELECT toString(sleepEachRow(0.02)) FROM numbers(6) SETTINGS max_block_size = 1)"
    )
    ended = threading.Event()

    with ThreadPoolExecutor(DRAINS + 1) as threads:
        looks = threads.submit(watched, clickhouse, ended)
        drains = [threads.submit(drained, f"w{number}") for number in range(DRAINS)]
        try:
            outcomes = [it.result(timeout=60) for it in drains]
        finally:
            ended.set()

    seen = looks.result()
    assert RUNS == sum(outcomes)
    assert 2 == max(len(look) for look in seen)
    assert {"breakfast"} == {workload for look in seen for query_id, _, workload in look if query_id.endswith(STEPS)}
    told = [json.loads(comment) for look in seen for _, comment, _ in look]
    row = run_row(alone)
    expected = {"organization_id": str(row["organization_id"]), "audience_id": str(row["audience_id"])}
    assert expected | {"run_id": str(alone), "fence": 1} in told
    assert {"batch", "batch_runs"} in [set(it) for it in told]


def drained(worker):
    """Drain until everything is done; somebody who finds no place free comes again."""
    completed = 0
    until = time.monotonic() + 60
    while time.monotonic() < until:
        completed += drain.drain("daily", worker).get("completed", 0)
        with transaction() as connection:
            if not connection.scalar(text("SELECT count(*) FROM runs WHERE status = 'queued'")):
                return completed
            connection.execute(text("SELECT pg_sleep(0.05)"))
    return completed


def test_a_batch_makes_a_part_a_statement(clickhouse, monkeypatch):
    """Ten runs of one batch make at most two parts of results and one of what was picked."""
    monkeypatch.setenv("LANE_MAX_STATEMENTS", "1")
    monkeypatch.setenv("BATCH_RUNS", "64")
    settings.current.cache_clear()
    waiting(10)

    assert 10 == drained("w1")
    parts = dict(clickhouse.query(PARTS).result_rows)
    assert 1 == parts["selections"]
    assert parts["audience_results"] <= 2
