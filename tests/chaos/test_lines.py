"""The worker's doors to PostgreSQL and ClickHouse over a line that goes wrong."""

import time

import pytest
from chaos.proxy import Proxy
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError

from worker import clickhouse, database, settings


@pytest.fixture
def to_postgres(servers, tables, monkeypatch):
    """A line to PostgreSQL, and an engine that waits two seconds for answers along it, three for those to its pings."""
    with Proxy(servers.postgres.port) as proxy:
        url = make_url(tables.environment["DATABASE_URL"]).set(port=proxy.port)
        monkeypatch.setenv("DATABASE_URL", url.render_as_string(hide_password=False))
        monkeypatch.setattr(database, "ANSWER_SECONDS", 2)
        monkeypatch.setattr(database, "PING_SECONDS", 3)
        settings.current.cache_clear()
        database.engine().dispose()
        database.engine.cache_clear()
        yield proxy
        database.engine().dispose()


def _one() -> int | None:
    with database.transaction() as connection:
        return connection.scalar(text("SELECT 1"))


def test_an_answer_that_never_comes_is_not_waited_for(to_postgres):
    """In the middle of a transaction a line that has gone half-open is an error, soon, and the next transaction works."""
    with pytest.raises(OperationalError), database.transaction() as connection:  # noqa: PT012 - the second statement fails
        connection.execute(text("SELECT 1"))
        to_postgres.half_open()
        started = time.monotonic()
        connection.execute(text("SELECT 2"))

    assert time.monotonic() - started < 5
    assert 1 == _one()


def test_a_pooled_connection_that_went_half_open_is_replaced(to_postgres):
    """Whoever takes a silent connection out of the pool gets another one, after a ping's wait and without an error."""
    with database.transaction() as connection:
        connection.execute(text("SELECT 1"))
        assert 1 == _one()
    to_postgres.half_open()
    started = time.monotonic()

    assert (1, 1) == (_one(), _one())
    assert time.monotonic() - started < 5.8


def test_who_expects_to_wait_says_so(to_postgres):
    """A statement that takes longer than usual has the time its transaction was opened with, and the next has the usual."""
    with database.transaction(seconds=30) as connection:
        assert "30s" == connection.scalar(text("SHOW statement_timeout"))
        connection.execute(text("SELECT pg_sleep(3)"))

    with pytest.raises(OperationalError), database.transaction() as connection:
        connection.execute(text("SELECT pg_sleep(3)"))


@pytest.fixture
def to_clickhouse(servers, monkeypatch, stores):
    """A line to ClickHouse, and statements that may take their time."""
    with Proxy(servers.clickhouse.port) as proxy:
        url = stores.environment["CLICKHOUSE_URL"].replace(str(servers.clickhouse.port), str(proxy.port))
        monkeypatch.setenv("CLICKHOUSE_URL", url)
        settings.current.cache_clear()
        clickhouse.forget()
        yield proxy
        clickhouse.forget()


def test_an_idle_connection_to_clickhouse_is_not_relied_upon(to_clickhouse, monkeypatch):
    """What was idle while the line went half-open is thrown away, and nobody waits for a statement's whole time."""
    monkeypatch.setattr(clickhouse, "IDLE_SECONDS", 0)
    clickhouse.query("SELECT 1")
    to_clickhouse.half_open()
    started = time.monotonic()

    assert 1 == clickhouse.query("SELECT 1").rows[0][0]
    assert time.monotonic() - started < 5


def test_a_frozen_holder_is_ended_by_the_server(tables):
    """What a process holds when it freezes in the middle of a transaction is free again within 15 s."""
    names = ("idle_in_transaction_session_timeout", "statement_timeout", "lock_timeout")
    with database.transaction() as connection:
        told = [connection.scalar(text(f"SHOW {name}")) for name in names]

    assert ["15s", "15s", "10s"] == told
