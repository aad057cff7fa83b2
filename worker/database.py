"""
PostgreSQL: one engine a process, and the only commit.

Statements take their time from the database; :func:`moment` lets a test pass a clock instead.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import cache

from sqlalchemy import ColumnElement, Connection, DateTime, Engine, create_engine, func, literal

from worker import settings

# Server-side bounds, so that a forgotten transaction or lock never outlives its usefulness. In milliseconds.
BOUNDS = "-c statement_timeout=60000 -c lock_timeout=10000 -c idle_in_transaction_session_timeout=60000 -c timezone=UTC"


@cache
def engine() -> Engine:
    """Return this process's engine; nothing connects before the first statement."""
    current = settings.current()
    return create_engine(
        current.database_url.get_secret_value(),
        pool_size=current.web_threads,  # opened as they are needed: a pool process opens two, for the work and its heartbeat
        max_overflow=2,
        pool_timeout=10,
        pool_pre_ping=True,
        hide_parameters=True,  # a logged failure must not carry what was bound
        connect_args={
            "connect_timeout": 5,
            "keepalives": 1,
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "tcp_user_timeout": 20_000,
            "application_name": "audience-worker",
            "options": BOUNDS,
        },
    )


@contextmanager
def transaction() -> Iterator[Connection]:
    """Open a transaction that commits at the end of the block and rolls back on any exception."""
    with engine().begin() as connection:
        yield connection


def moment(now: datetime | None) -> ColumnElement[datetime]:
    """
    Return the time a statement should go by.

    :param now: aware; None for the database's own clock
    """
    return func.now() if now is None else literal(now, DateTime(timezone=True))


def forget() -> None:
    """Drop connections inherited from the parent process without closing its sockets."""
    if engine.cache_info().currsize:
        engine().dispose(close=False)
        engine.cache_clear()
