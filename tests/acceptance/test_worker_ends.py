"""How a real worker ends, and what becomes of its runs: told to stop, or killed by one of them again and again."""

import os
import signal
import time
from datetime import date, timedelta

import psutil
import pytest
from builders import attempts, many_queued, queued, run_row, saved
from celery import Celery
from sqlalchemy import func, select

from local.programs import Programs
from worker import loads, models, rescue, settings
from worker.app import ring
from worker.database import transaction

DAY = date(2026, 5, 4)
POISON = 666
SETTINGS = {
    "MANUAL_CONCURRENCY": "1",
    "LEASE_SECONDS": "1.5",
    "LEASE_MARGIN_SECONDS": "0.4",
    "CHARGED_BUDGET": "2",
    "BACKOFF_BASE_SECONDS": "0.2",
}
PATIENCE_SECONDS = 60


@pytest.fixture
def worker(stores, clickhouse, tmp_path, monkeypatch):
    """A worker of the manual lane over two topics, one of which takes seconds to read."""
    clickhouse.command("INSERT INTO people (hem_hash, hashed_email) SELECT 1, repeat('a', 64)")
    clickhouse.command(f"INSERT INTO intent_signals SELECT '{DAY}', 1, 1, 90")
    clickhouse.command(f"INSERT INTO intent_signals SELECT '{DAY}', {POISON}, number, 90 FROM numbers(5)")
    loads.make_ready(DAY)
    loads.watch()
    clickhouse.command("RENAME TABLE intent_signals TO signals_kept")
    clickhouse.command(
        "CREATE VIEW intent_signals AS SELECT * FROM signals_kept"
        f" WHERE if(topic_id = {POISON}, sleepEachRow(0.5) = 0, 1) SETTINGS short_circuit_function_evaluation = 'force_enable'"
    )
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)  # the rescuer is this process
    settings.current.cache_clear()
    with Programs(tmp_path / "logs", {**stores.environment, **SETTINGS}) as programs:
        programs.start(["manual"])
        _awaited(lambda: " ready." in programs.log("manual").read_text(), "the worker's start")
        yield programs


def _awaited(happened, what: str):
    """Poll until something has happened; what it returned is the answer."""
    until = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < until:
        if answer := happened():
            return answer
        time.sleep(0.02)
    pytest.fail(f"{what} did not happen within {PATIENCE_SECONDS} s")


def _statuses():
    """Count runs by status."""
    with transaction() as connection:
        counted = select(models.runs.c.status, func.count()).group_by(models.runs.c.status)
        return dict(tuple(row) for row in connection.execute(counted))


def kill_while_it_runs(worker, run_id, fence):
    """Kill the process that has claimed a run, as a machine short of memory would, and rescue the run."""
    _awaited(lambda: (run_row(run_id)["status"], run_row(run_id)["fence"]) == ("running", fence), "the claim")
    for child in psutil.Process(worker.pid("manual")).children():
        child.kill()
    _awaited(lambda: any(rescue.rescue().values()), "the rescue")
    ring("manual", 4)


def test_a_run_that_kills_its_worker_fails_and_sigterm_stops_claiming(worker):
    """The poison run is WORKER_LOST after its budget and harms no other; nothing is claimed a second after SIGTERM."""
    healthy = [queued(saved(now=None)) for _ in range(3)]
    poison = queued(saved(topics=(POISON,), now=None), priority=9)
    ring("manual", 4)

    for fence in (1, 3):
        kill_while_it_runs(worker, poison, fence)
    _awaited(lambda: {"completed": 3, "failed": 1} == _statuses(), "the end of all runs")

    row = run_row(poison)
    assert ("WORKER_LOST", "The worker that held the run stopped answering.") == (
        row["error_code"],
        row["error_message"],
    )
    assert [("rescued", True)] * 2 == [(attempt["outcome"], attempt["charged"]) for attempt in attempts(poison)]
    assert [("completed", 1, 0)] * 3 == [
        tuple(run_row(run_id)[name] for name in ("status", "attempts", "failures")) for run_id in healthy
    ]
    assert worker.running("manual")

    # Its pool has recovered: the same worker shows how one that is told to stop ends.
    assert _claimed_after(worker, lambda: os.kill(worker.pid("manual"), signal.SIGTERM)) < timedelta(seconds=1)


def test_told_through_redis_to_shut_down_it_stops_claiming_too(worker, stores):
    """Flower's button and `celery control shutdown` end a worker as SIGTERM does."""
    onlooker = Celery("onlooker", broker=stores.environment["REDIS_URL"])

    late = _claimed_after(worker, onlooker.control.shutdown)

    onlooker.close()
    assert late < timedelta(seconds=2)
    assert '"worker_deaf"' not in worker.log("manual").read_text()


def _claimed_after(worker, tell):
    """Tell a worker with 500 due runs to stop; how long afterwards it claimed its last one, while others were left."""
    many_queued(saved(now=None), 500)
    ring("manual", 1)
    _awaited(lambda: _statuses().get("completed", 0) > 5, "the first completions")
    with transaction() as connection:
        told = connection.scalar(select(func.clock_timestamp()))
    tell()
    _awaited(lambda: not worker.running("manual"), "the end of the worker")

    with transaction() as connection:
        last = connection.scalar(select(func.max(models.runs.c.first_claimed_at)))
    assert _statuses()["queued"]
    assert "running" not in _statuses()
    return last - told
