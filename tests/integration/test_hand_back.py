"""A run whose attempt ends while Postgres is away for a moment: it is handed back as soon as Postgres listens."""

import threading
from contextlib import contextmanager
from datetime import date

import psycopg
import pytest
from builders import counted, run_row, saved
from sqlalchemy.engine import make_url

from worker import loads, manual, runs, settings, snapshots
from worker.database import transaction
from worker.materialize import materialize

DAY = date(2026, 11, 20)
AWAY_SECONDS = 5
TERMINATE = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()"


@pytest.fixture
def claim(clickhouse):
    """A claimed run of one person."""
    clickhouse.command("INSERT INTO people (hem_hash, hashed_email) SELECT 1, repeat('a', 64)")
    clickhouse.command(f"INSERT INTO intent_signals SELECT '{DAY}', 1, 1, 90")
    loads.make_ready(DAY)
    loads.watch()
    manual.queue(saved(now=None))
    with transaction() as connection:
        [claim] = runs.claim(connection, "manual", "w1", lease_seconds=60, lane_max=4, organization_max=4)
    return claim


@contextmanager
def shut_by(monkeypatch):
    """Verifying shuts this test's database to everybody, and somebody opens it again five seconds later."""
    url = make_url(settings.current().database_url.get_secret_value())
    verify, opened = snapshots.verify, threading.Timer(AWAY_SECONDS, lambda: door(url, "true"))

    def shut(*given):
        verify(*given)
        door(url, "false")
        opened.start()

    monkeypatch.setattr(snapshots, "verify", shut)
    try:
        yield
    finally:
        opened.join()


def door(url, is_open):
    """Let sessions of a database begin or not; those that have begun are ended."""
    with psycopg.connect(host=url.host, port=url.port, user=url.username, autocommit=True) as session:
        session.execute(f"ALTER DATABASE {url.database} ALLOW_CONNECTIONS {is_open}")
        session.execute(TERMINATE, [url.database])


def test_a_run_is_handed_back_when_postgres_listens_again(claim, monkeypatch):
    """Neither the lease's end nor a rescuer is waited for, and the lane has its place back."""
    with shut_by(monkeypatch):
        outcome = materialize(claim)

    assert outcome in ("retried", "closed")
    assert ("queued", None) == tuple(run_row(claim.run_id)[name] for name in ("status", "claimed_by"))


def test_a_leaving_worker_s_run_is_released_when_postgres_listens_again(claim, monkeypatch):
    """Told to stop while Postgres is away, the worker uses its last seconds to hand its run back uncharged."""
    leaving = threading.Event()
    verify = snapshots.verify
    monkeypatch.setattr(snapshots, "verify", lambda *given: (verify(*given), leaving.set(), leaves(given)))

    with shut_by(monkeypatch):
        outcome = materialize(claim, leaving=leaving.is_set)

    assert ("released", ("queued", 0, 0)) == (outcome, counted(claim.run_id))


def leaves(_given):
    """Give the heartbeat the time to hear that the worker leaves."""
    threading.Event().wait(1.5)
