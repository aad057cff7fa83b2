"""PostgreSQL ends every session in the middle of the work: no run and no file pays for that."""

from contextlib import contextmanager
from datetime import date

import psycopg
import pytest
from builders import before_each_statement, run_row, saved
from sqlalchemy import select, update
from sqlalchemy.engine import make_url

from worker import announce, drain, loads, manual, models, runs, settings
from worker.database import transaction
from worker.materialize import materialize

DAY = date(2026, 11, 20)
TERMINATE = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()"


@pytest.fixture
def run_id(clickhouse):
    """A queued run of one person."""
    clickhouse.command("INSERT INTO people (hem_hash, hashed_email) SELECT 1, repeat('a', 64)")
    clickhouse.command(f"INSERT INTO intent_signals SELECT '{DAY}', 1, 1, 90")
    loads.make_ready(DAY)
    loads.watch()
    return manual.queue(saved(now=None)).run_id


@contextmanager
def terminated_at(statement):
    """End every session of this database, once, right before a statement that begins so."""
    url = make_url(settings.current().database_url.get_secret_value())
    done = []

    def act(text):
        if text.startswith(statement) and not done:
            done.append(text)
            with psycopg.connect(host=url.host, port=url.port, user=url.username, autocommit=True) as session:
                session.execute(TERMINATE, [url.database])

    with before_each_statement(act):
        yield
    assert done


def due(table):
    """Let what waits be due."""
    with transaction() as connection:
        connection.execute(update(table).values(due_at=models.runs.c.created_at if table is models.runs else DAY))


@pytest.mark.parametrize(
    "statement", ["UPDATE run_attempts SET strategy", "UPDATE runs SET status", "INSERT INTO exports"]
)
def test_a_run_goes_back_uncharged_and_is_completed_later(run_id, statement):
    """Wherever the story is, its attempt ends as the store's fault, the lane closes, and the next attempt succeeds."""
    with transaction() as connection:
        [claim] = runs.claim(connection, "manual", "w1", lease_seconds=60, lane_max=4, organization_max=4)

    with terminated_at(statement):
        outcome = materialize(claim)

    row = run_row(run_id)
    assert ("closed", "queued", "POSTGRES_UNAVAILABLE", 0, 1) == (
        outcome,
        *(row[name] for name in ("status", "error_code", "attempts", "failures")),
    )
    due(models.runs)
    assert 1 == drain.drain("manual", "w1")["completed"]
    assert ("completed", 1) == (run_row(run_id)["status"], run_row(run_id)["attempts"])


def test_an_export_goes_back_uncharged_and_is_completed_later(run_id):
    """The file that nobody could note down is written again, and no failure is counted."""
    drain.drain("manual", "w1")

    with terminated_at("UPDATE exports SET status"):
        told = announce.announce("w2", seconds=10, stopping=lambda: False)

    with transaction() as connection:
        export = connection.execute(select(models.exports)).mappings().one()
    assert ("processing", "POSTGRES_UNAVAILABLE", 0) == tuple(
        export[name] for name in ("status", "error_code", "failures")
    )
    assert 1 == told["exports_retried"]
    due(models.exports)
    assert 1 == announce.announce("w2", seconds=10, stopping=lambda: False)["exports_completed"]
