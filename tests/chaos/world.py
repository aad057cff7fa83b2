"""
The world that faults happen to: real servers, a line to each that can go wrong, and the Procfile's programs.

The programs reach every server through its line; whoever watches or judges them goes to the servers directly.
"""

import contextlib
import io
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any, Self
from unittest import mock

import clickhouse_connect
import oracle
import polars as pl
import psycopg
from chaos import clock
from chaos.proxy import COMMIT, END_OF_DATA, Proxy
from clickhouse_connect.driver.client import Client
from psycopg.rows import dict_row
from redis import Redis

from local.environment import whole
from local.postgres import Postgres
from local.process import HOST
from local.programs import PROCFILE, Programs
from local.sample import audiences as sample
from local.sample import data
from local.servers import Servers
from worker import audience, audiences, database, migrate, settings
from worker import clickhouse as door

USER = "audience"
# Each program of the run and the Procfile's line that it is.
CREW: Mapping[str, str] = {
    **dict.fromkeys(("beat-1", "beat-2"), "beat"),
    **dict.fromkeys(("daily-1", "daily-2", "daily-3"), "worker"),
    **{name: name for name in ("manual", "announce", "control")},
}
SIGNS = {"postgres": COMMIT, "mail": END_OF_DATA}
# A mail server takes its time over a message, and whoever waits for it can be killed meanwhile.
DELAYS = {"mail": 0.2}
SETTINGS = {
    **{f"{name}_SECONDS": "1" for name in ("RING", "QUEUE", "WATCH", "RESCUE")},
    "LEASE_SECONDS": "4",
    "LEASE_MARGIN_SECONDS": "1",
    "BACKOFF_BASE_SECONDS": "0.2",
    "DRAIN_SECONDS": "10",
    "QUERY_SECONDS": "10",
    "QUERY_CLIENT_SECONDS": "16",
    "TASK_SOFT_SECONDS": "90",
    "TASK_HARD_SECONDS": "100",
    "SHUTDOWN_GRACE_SECONDS": "12",
    "MAIL_SECONDS": "5",
    "MAIL_FROM": "Audiences <audiences@example.com>",
    "DAILY_CONCURRENCY": "2",
    "MANUAL_CONCURRENCY": "1",
    "ANNOUNCE_CONCURRENCY": "1",
    "LANE_MAX_STATEMENTS": "6",
    "QUERY_THREADS": "1",
    "QUERY_MEMORY_BYTES": "1000000000",
    "LOG_FORMAT": "json",
}
SIZES = data.Sizes(people=4000, signals=36_000, topics=200, days=3)
# People as a view that takes its time, so that most faults find a statement under way.
SLOW = """
CREATE VIEW people AS SELECT * FROM people_kept WHERE hashed_email NOT IN (
    SELECT toString(sleepEachRow(0.1)) FROM numbers({tenths}) SETTINGS max_block_size = 1
)
"""


class World:
    """
    Servers, lines, clocks, programs and audiences; nothing is started before the ``with`` block.

    :param audiences: how many are active; a few more are paused and must be left alone
    :param tenths: how long each look at people takes, in tenths of a second
    """

    def __init__(self, *, audiences: int, tenths: int) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="chaos-"))
        self.wanted, self.tenths = audiences, tenths
        (self.folder / "clocks").mkdir()
        self.clocks = {name: clock.Clock(self.folder / "clocks" / name) for name in (*CREW, "postgres")}
        self.servers = _Servers(self.folder / "servers", clock=self.clocks["postgres"])
        self.lines = {
            name: Proxy(server.port, sign=SIGNS.get(name, b""), delay=DELAYS.get(name, 0))
            for name, server in self.servers.started.items()
        }
        self.exports = self.folder / "exports"
        self.keep = False
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            stack.callback(clock.sweep)
            stack.callback(self._remove)
            self.folder.chmod(0o711)
            next(iter(self.clocks.values())).check()
            stack.enter_context(self.servers)
            for line in self.lines.values():
                stack.enter_context(line)
            self._make_database()
            stack.enter_context(_pointed(self._environment(direct=True)))
            self._fill()
            self.programs = self._crew()
            stack.callback(self._end)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def make_due(self, day: date, *, spread: float) -> None:
        """
        Say that a day is complete, with every active audience due within so many seconds.

        Asked again for the same day it changes nothing but the seconds of those that have no run yet.
        """
        with self.session() as session:
            session.execute(
                "UPDATE audiences SET next_slot_at = now(), next_due_at = now() + random() * make_interval(secs => %s)"
                " WHERE status = 'active' AND last_daily_date IS DISTINCT FROM %s",
                (spread, day),
            )
        for dataset in ("people", "signals"):
            self.query(
                "INSERT INTO data_loads (dataset, data_date, version, rows) VALUES ({it:String}, {day:Date}, 1, 1)",
                it=dataset,
                day=day,
            )

    def session(self) -> psycopg.Connection[dict[str, Any]]:
        """Open a session of the databases' superuser, for whom places are kept; every statement commits itself."""
        return psycopg.connect(
            host=HOST,
            port=self.servers.postgres.port,
            user="postgres",
            dbname=USER,
            autocommit=True,
            connect_timeout=5,
            row_factory=dict_row,
        )

    def rows(self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> list[dict[str, Any]]:
        """Read rows of Postgres; raises psycopg's OperationalError while it is down."""
        with self.session() as session:
            return session.execute(sql, parameters).fetchall()

    def redis(self) -> Redis:
        """A client of Redis that goes there directly."""
        return Redis(host=HOST, port=self.servers.redis.port, socket_timeout=2, socket_connect_timeout=2)

    def query(self, sql: str, **parameters: Any) -> Sequence[Sequence[Any]]:
        """Read rows of ClickHouse."""
        with self._client() as client:
            return client.query(sql, parameters=parameters).result_rows

    def frames(self) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Read people and signals, as the oracle takes them."""
        columns = ", ".join(sorted({"hem_hash", "hashed_email", *oracle.COLUMNS.values()}))
        return (
            self._frame(f"SELECT {columns} FROM people_kept"),
            self._frame("SELECT data_date, topic_id, hem_hash, score FROM intent_signals").with_columns(
                pl.col("data_date").cast(pl.Date)
            ),
        )

    def _frame(self, sql: str) -> pl.DataFrame:
        """Read rows of ClickHouse into polars."""
        with self._client() as client:
            return pl.read_parquet(io.BytesIO(client.raw_query(sql, fmt="Parquet")))

    def _client(self) -> Client:
        """Connect to ClickHouse directly."""
        return clickhouse_connect.get_client(
            dsn=self.servers.clickhouse.url, autogenerate_session_id=False, connect_timeout=2, send_receive_timeout=10
        )

    def _make_database(self) -> None:
        """Make the workers' own user, who is no superuser, and a database of its own."""
        with psycopg.connect(host=HOST, port=self.servers.postgres.port, user="postgres", autocommit=True) as session:
            session.execute(f"CREATE ROLE {USER} LOGIN")
            session.execute(f"CREATE DATABASE {USER} OWNER {USER}")

    def _environment(self, *, direct: bool) -> dict[str, str]:
        """What leads to the servers: directly, or along the lines."""
        ports = {
            name: server.port if direct else self.lines[name].port for name, server in self.servers.started.items()
        }
        return {
            **self.servers.environment(),
            **SETTINGS,
            "DATABASE_URL": f"postgresql+psycopg://{USER}@{HOST}:{ports['postgres']}/{USER}",
            "REDIS_URL": f"redis://{HOST}:{ports['redis']}/0",
            "CLICKHOUSE_URL": f"http://default@{HOST}:{ports['clickhouse']}/default",
            "MAIL_URL": f"smtp://{HOST}:{ports['mail']}",
            "STORAGE_URL": self.exports.as_uri(),
        }

    def _fill(self) -> None:
        """Migrate, make people, three days of signals that are not ready yet, and the audiences."""
        migrate.migrate()
        data.build(SIZES, lambda *_: None)
        door.command("TRUNCATE TABLE data_loads")
        door.command("RENAME TABLE people TO people_kept")
        door.command(SLOW.format(tenths=self.tenths))
        self.days = data.dates(SIZES)
        self.exports.mkdir()
        defined = sample.definitions(SIZES, audiences=self.wanted + 5, organizations=5)
        with database.transaction() as connection:
            for number, one in enumerate(defined):
                audiences.add(
                    connection,
                    organization_id=one.organization_id,
                    name=one.name,
                    config=audience.parse(dict(one.config)),
                    status="active" if number < self.wanted else "paused",
                    refresh=audiences.Refresh(notify_emails=one.recipients),
                )

    def _crew(self) -> Programs:
        """The programs, each under a name and a clock of its own."""
        lines = dict(re.findall(r"^(\w+): (.+)$", PROCFILE.read_text(), flags=re.MULTILINE))
        procfile = self.folder / "Procfile"
        named = (f"{name}: " + re.sub(r"-n \w+@%h", f"-n {name}@%h", lines[line]) for name, line in CREW.items())
        procfile.write_text("\n".join(named) + "\n")
        programs = Programs(self.folder / "logs", self._environment(direct=False), procfile=procfile)
        for name, program in programs.all.items():
            program.environment |= self.clocks[name].environment()
        return programs

    def _end(self) -> None:
        """End the programs that still run, at once."""
        for name in self.programs.all:
            self.programs.kill(name)

    def _remove(self) -> None:
        """Remove the folder, unless somebody wants to look into it."""
        if not self.keep:
            shutil.rmtree(self.folder, ignore_errors=True)


class _Postgres(Postgres):
    """PostgreSQL living by a clock that can be wrong."""

    clock: clock.Clock

    def variables(self) -> Mapping[str, str]:
        """The usual ones, and the clock."""
        return {**super().variables(), **self.clock.environment()}


class _Servers(Servers):
    """The usual servers, with a PostgreSQL whose clock can be wrong."""

    def __init__(self, folder: Path, *, clock: clock.Clock) -> None:
        super().__init__(folder, durable=False)
        self.postgres = _Postgres(self.folder / "postgres", durable=False)
        self.postgres.clock = clock
        self.started["postgres"] = self.postgres


@contextlib.contextmanager
def _pointed(environment: Mapping[str, str]) -> Iterator[None]:
    """Lead this process to these servers, and to none afterwards."""
    with mock.patch.dict(os.environ, whole(environment), clear=True):
        _forget()
        try:
            yield
        finally:
            _forget()


def _forget() -> None:
    """Drop what this process has cached of its environment."""
    settings.current.cache_clear()
    if database.engine.cache_info().currsize:
        database.engine().dispose()
    database.engine.cache_clear()
    door.forget()
