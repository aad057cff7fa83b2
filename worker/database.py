"""
PostgreSQL: one engine a process, and the only commit.

Statements take their time from the database; :func:`moment` lets a test pass a clock instead.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import cache
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus
from sqlalchemy import ColumnElement, Connection, DateTime, Engine, create_engine, event, func, literal, select
from sqlalchemy.exc import InterfaceError, InvalidatePoolError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnection

from worker import settings
from worker.errors import PostgresUnavailable

# Server-side bounds, so that a forgotten transaction or lock never outlives its usefulness, in milliseconds. A frozen
# process that holds a lane's lock keeps everybody waiting, so its transaction ends soon.
BOUNDS = "-c statement_timeout=15000 -c lock_timeout=10000 -c idle_in_transaction_session_timeout=15000 -c timezone=UTC"
# How long we wait for an answer, in seconds: a little longer than the server may take, for then it is the line that is
# silent, and no socket option tells where something between us and the server still confirms what we send.
ANSWER_SECONDS = 20.0
LATE_SECONDS = 5.0
# A connection out of the pool is asked first, and answers at once or not at all.
PING_SECONDS = 3.0

OUTAGES = (OperationalError, InterfaceError, NoConnection)


class Bounded(psycopg.Connection[Any]):
    """A connection that breaks instead of waiting for ever; ``seconds`` replaces :data:`ANSWER_SECONDS` for a while."""

    seconds: float | None = None

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        """Wait for an answer, and not too long."""
        try:
            return super().wait(gen, interval, timeout or self.seconds or ANSWER_SECONDS)
        except psycopg.OperationalError:
            # An answer still to come would be taken for the next statement's.
            if self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                self.pgconn.finish()
            raise


@cache
def engine() -> Engine:
    """Return this process's engine; nothing connects before the first statement."""
    current = settings.current()
    made = create_engine(
        current.database_url.get_secret_value(),
        pool_size=current.web_threads,  # opened as they are needed: a pool process opens two, for the work and its heartbeat
        max_overflow=2,
        pool_timeout=10,
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
    event.listen(made, "do_connect", lambda _dialect, _record, words, named: Bounded.connect(*words, **named))
    event.listen(made, "checkout", _checked)
    return made


def _checked(driver: Bounded, record: Any, _proxy: object) -> None:
    """Ping a connection that was used before; a fresh one has just answered."""
    if record.info.setdefault("used", False):
        _ping(driver)
    record.info["used"] = True


def _ping(driver: Bounded) -> None:
    """Ask a connection whether it works, and drop it and its elders where it does not; the pool makes a new one."""
    driver.seconds = PING_SECONDS
    try:
        driver.autocommit = True
        driver.execute("SELECT 1")
        driver.autocommit = False
    except psycopg.Error as error:
        raise InvalidatePoolError from error
    finally:
        driver.seconds = None


@contextmanager
def transaction(*, seconds: float | None = None) -> Iterator[Connection]:
    """
    Open a transaction that commits at the end of the block and rolls back on any exception.

    :param seconds: how long one statement, the commit included, may take, where that is longer than usual
    """
    if seconds is None:
        with engine().begin() as connection:
            yield connection
        return
    with engine().connect() as connection:
        driver = connection.connection.driver_connection
        driver.seconds = seconds + LATE_SECONDS  # type: ignore[union-attr]
        try:
            with connection.begin():
                connection.execute(select(func.set_config("statement_timeout", f"{seconds:g}s", True)))
                yield connection
        finally:
            driver.seconds = None  # type: ignore[union-attr]


@contextmanager
def named_outages() -> Iterator[None]:
    """
    Name what is the store's or the line's fault, whatever was asked for.

    :raises PostgresUnavailable: in place of the driver's error, whose text carries addresses
    """
    try:
        yield
    except OUTAGES as error:
        raise PostgresUnavailable from error


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
