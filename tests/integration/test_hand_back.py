"""A run whose attempt ends while Postgres is away for a moment: it is handed back as soon as Postgres listens."""

import threading
from datetime import date

import pytest
from builders import counted, run_row, saved
from shut import shut_after

from worker import loads, manual, runs, snapshots
from worker.database import transaction
from worker.materialize import materialize

DAY = date(2026, 11, 20)


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


@pytest.fixture
def shut(monkeypatch):
    """Verifying shuts the database for a while."""
    return lambda: shut_after(monkeypatch, snapshots, "verify")


def test_a_run_is_handed_back_when_postgres_listens_again(claim, shut):
    """Neither the lease's end nor a rescuer is waited for, and the lane has its place back."""
    with shut():
        outcome = materialize(claim)

    assert outcome in ("retried", "closed")
    assert ("queued", None) == tuple(run_row(claim.run_id)[name] for name in ("status", "claimed_by"))


def test_a_leaving_worker_s_run_is_released_when_postgres_listens_again(claim, shut, monkeypatch):
    """Told to stop while Postgres is away, the worker uses its last seconds to hand its run back uncharged."""
    leaving = threading.Event()
    verify = snapshots.verify
    monkeypatch.setattr(snapshots, "verify", lambda *given: (verify(*given), leaving.set(), leaves(given)))

    with shut():
        outcome = materialize(claim, leaving=leaving.is_set)

    assert ("released", ("queued", 0, 0)) == (outcome, counted(claim.run_id))


def leaves(_given):
    """Give the heartbeat the time to hear that the worker leaves."""
    threading.Event().wait(1.5)
