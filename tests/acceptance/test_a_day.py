"""One audience from beat's tick to the mail in the mailbox, through the processes of the Procfile."""

import csv
import os
import signal
import time
from datetime import date, timedelta
from email.message import EmailMessage
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import func, select, text

from local.programs import Programs
from worker import audience, audiences, indexing, loads, models, runs
from worker.database import transaction

PROCESSES = ["beat", "control", "worker", "announce"]
FAST = {
    "RING_SECONDS": "1",
    "QUEUE_SECONDS": "1",
    "WATCH_SECONDS": "1",
    "RESCUE_SECONDS": "1",
    "LEASE_SECONDS": "4",
    "LEASE_MARGIN_SECONDS": "1",
    "BACKOFF_BASE_SECONDS": "0.2",
    "DAILY_CONCURRENCY": "1",
    "ANNOUNCE_CONCURRENCY": "1",
}
PATIENCE_SECONDS = 60


@pytest.fixture
def programs(stores, tmp_path):
    """The processes of the Procfile, pointed at this test's stores."""
    with Programs(tmp_path / "logs", {**stores.environment, **FAST}) as started:
        yield started


@pytest.fixture
def yesterday(clickhouse):
    """Fifty signalled people of one topic; yesterday's load is complete, and nobody has told Postgres."""
    day = date.today() - timedelta(days=1)  # noqa: DTZ011 - the machine's servers run on UTC
    clickhouse.command(
        "INSERT INTO people (hem_hash, hashed_email, first_name, seniority, company_industry)"
        " SELECT cityHash64(email), email, 'ann', 'director', 'software development'"
        " FROM (SELECT lower(hex(SHA256(toString(number)))) AS email FROM numbers(50))"
    )
    clickhouse.command(
        "INSERT INTO intent_signals SELECT {day:Date}, 7, cityHash64(lower(hex(SHA256(toString(number))))), 80"
        " FROM numbers(60)",
        parameters={"day": day},
    )
    clickhouse.command("INSERT INTO topics (topic_id, name) VALUES (7, 'Seven')")
    loads.make_ready(day)
    return day


def _save(name: str = "Everybody") -> UUID:
    with transaction() as connection:
        return audiences.add(
            connection,
            organization_id=UUID(int=1),
            name=name,
            config=audience.parse({"topicIds": [7]}),
            status="active",
            refresh=audiences.Refresh(notify_emails=("ann@example.com",)),
            due_now=True,
        )


def _runs():
    with transaction() as connection:
        return runs.latest(connection)


def _awaited(happened, what: str):
    """Poll until something has happened; what it returned is the answer."""
    until = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < until:
        if answer := happened():
            return answer
        time.sleep(0.1)
    pytest.fail(f"{what} did not happen within {PATIENCE_SECONDS} s; runs: {[dict(run) for run in _runs()]}")


def test_a_day(programs, yesterday, mailbox, stores):
    """Beat queues the run, a worker completes it, the CSV is stored and the mail arrives, each exactly once."""
    audience_id = _save()

    programs.start(PROCESSES)
    (message,) = _awaited(mailbox, "the mail")

    (run,) = _runs()
    stored = list(Path(stores.folder, "exports").rglob("*.csv"))
    with stored[0].open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert ("completed", "daily", yesterday, 60, 50, 1) == tuple(
        run[name] for name in ("status", "run_type", "data_date", "candidate_count", "result_count", "attempts")
    )
    assert (1, 50, "ann") == (len(stored), len(rows), rows[0]["firstName"])
    assert isinstance(message, EmailMessage)
    assert "Everybody" in message["Subject"]
    with transaction() as connection:
        assert 50 == audiences.get(connection, audience_id)["audience_size"]
    _awaited(lambda: _runs()[0]["ready_email_sent_at"], "the note that the mail was sent")


def _slowed(clickhouse):
    """Let whoever hydrates people take most of a minute; the day's index stands."""
    loads.watch()
    indexing.prepare("test@here", leaving=lambda: False)
    clickhouse.command("RENAME TABLE people TO people_kept")
    clickhouse.command(
        "CREATE VIEW people AS SELECT * FROM people_kept WHERE hashed_email NOT IN ("
        "SELECT toString(sleepEachRow(0.5)) FROM numbers(100) SETTINGS max_block_size = 1)"
    )


def test_a_killed_workers_run_is_done_by_another(programs, yesterday, clickhouse, mailbox):
    """After kill -9 in mid-query the lease runs out, the run is rescued, and its people get one mail."""
    _slowed(clickhouse)
    _save()
    programs.start(PROCESSES)
    _awaited(lambda: [run for run in _runs() if run["status"] == "running"], "the claim")

    programs.kill("worker")
    clickhouse.command("DROP VIEW people")
    clickhouse.command("RENAME TABLE people_kept TO people")
    programs.start(["worker"])
    _awaited(mailbox, "the mail")

    (run,) = _runs()
    with transaction() as connection:
        attempts = runs.attempts(connection, run["id"])
    assert ("completed", 2, 1) == (run["status"], run["attempts"], len(mailbox()))
    assert [("rescued", "WORKER_LOST", True), ("completed", None, False)] == [
        (attempt["outcome"], attempt["error_code"], attempt["charged"]) for attempt in attempts
    ]


@pytest.mark.parametrize(("kill", "times"), [(os.kill, 2), (os.killpg, 1)], ids=["process-twice", "group"])
def test_a_stopped_worker_hands_its_run_back(programs, yesterday, clickhouse, stores, tmp_path, kill, times):
    """SIGTERM with a run that cannot end in time: released uncharged, its query killed, the worker gone in its grace."""
    _slowed(clickhouse)
    _save()
    short = {**stores.environment, **FAST, "SHUTDOWN_GRACE_SECONDS": "12"}
    with Programs(tmp_path / "short", short) as worker:
        programs.start(["beat", "control"])
        worker.start(["worker"])
        _awaited(lambda: [run for run in _runs() if run["status"] == "running"], "the claim")

        for _ in range(times):
            kill(worker.pid("worker"), signal.SIGTERM)
            _awaited(lambda: "Warm shutdown" in worker.log("worker").read_text(), "the signal's being heard")
        _awaited(lambda: not worker.running("worker"), "the end of the worker")

    (run,) = _runs()
    with transaction() as connection:
        (attempt,) = runs.attempts(connection, run["id"])
    started = {"run": str(run["id"])}
    query = "SELECT count() FROM system.processes WHERE startsWith(query_id, {run:String})"
    assert 0 == clickhouse.command(query, parameters=started)
    assert ("queued", 0, 0, "released") == (run["status"], run["attempts"], run["failures"], attempt["outcome"])


def test_bells_are_not_needed_after_a_flush(programs, yesterday, servers):
    """Runs that are due while Redis is emptied are still done: the ring tick looks at Postgres."""
    for number in range(5):
        _save(f"Audience {number}")
    programs.start(["beat", "control"])
    _awaited(lambda: 5 == len(_runs()), "queueing")

    servers.redis.restart()
    programs.start(["worker"])
    _awaited(lambda: {run["status"] for run in _runs()} == {"completed"}, "the work")

    with transaction() as connection:
        daily = connection.scalar(select(func.count()).select_from(models.runs).where(text("run_type = 'daily'")))
    assert 5 == daily
