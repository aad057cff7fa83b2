"""
Where benchmarks run: servers of their own, from wheels, in a folder of their own that goes with them.

``TMPDIR`` says where that folder is made. Whatever the environment says of other servers is not touched.
"""

import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from sqlalchemy import text

from local.environment import whole
from local.sample.data import CHUNK_ROWS
from local.servers import Servers
from worker import clickhouse, database, log, migrate, models, settings

STORES: Final = frozenset({"postgres", "redis", "clickhouse"})
# Statements that are no part of what is measured, merges of everything among them, may take this long, in seconds.
PATIENCE: Final = 3600
MERGING: Final = "SELECT count() FROM system.merges"
MERGED: Final = """
SELECT count() = uniqExact(partition) FROM system.parts
WHERE database = currentDatabase() AND active AND table = {table:String}
"""

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Site:
    """Running servers, a folder for whatever else is needed, and the settings that lead a program to them."""

    servers: Servers
    folder: Path
    environment: dict[str, str]


@contextmanager
def site(**chosen: str) -> Iterator[Site]:
    """
    Start Postgres, Redis and ClickHouse, lead this process to them, and create all tables.

    :param chosen: settings that differ from their defaults
    """
    log.configure("console", "ERROR")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="aw-") as name, Servers(Path(name), only=STORES) as servers:
        say("The servers are up.")
        here = Site(servers, Path(name), {**servers.environment(), "LOG_LEVEL": "ERROR", **chosen})
        lead(here.environment)
        migrate.migrate()
        try:
            yield here
        finally:
            database.engine().dispose()


def lead(environment: dict[str, str]) -> None:
    """Give this process, and whatever it starts, these settings and no others."""
    if database.engine.cache_info().currsize:
        database.engine().dispose()
    found = whole(environment)
    os.environ.clear()
    os.environ.update(found)
    settings.current.cache_clear()
    database.forget()
    clickhouse.forget()


def say(sentence: str) -> None:
    """Tell an onlooker how far it is."""
    print(f"{time.strftime('%H:%M:%S')} {sentence}", file=sys.stderr, flush=True)


def told(what: str, done: int, total: int) -> None:
    """Tell an onlooker of rows being made, in tenths."""
    if done == total or done * 10 // total != max(0, done - CHUNK_ROWS) * 10 // total:
        say(f"{what}: {done:,} of {total:,}")


def settled(*tables: str) -> None:
    """Merge tables into one part a partition, and wait until nothing is being merged."""
    for table in tables:
        awaited(partial(_optimized, table), f"the merge of {table}")
    _awaited_merges()


def merged(table: str) -> bool:
    """Return whether each partition of a table lies in one part."""
    return bool(clickhouse.query(MERGED, {"table": table}).rows[0][0])


def _optimized(table: str) -> bool:
    """Merge a table and return whether that is done: ClickHouse leaves it, and says nothing, while it merges parts."""
    _awaited_merges()
    clickhouse.command(f"OPTIMIZE TABLE {table} FINAL SETTINGS optimize_skip_merged_partitions = 1", seconds=PATIENCE)
    return merged(table)


def _awaited_merges() -> None:
    awaited(lambda: clickhouse.query(MERGING).rows[0][0] == 0, "the end of all merges")


def emptied(*tables: str) -> None:
    """Empty tables of ClickHouse."""
    for table in tables:
        clickhouse.command(f"TRUNCATE TABLE {table}", seconds=PATIENCE)


def emptied_postgres(*, but: Collection[str] = ()) -> None:
    """Empty all tables of Postgres, or all but some."""
    names = ", ".join(table.name for table in models.metadata.sorted_tables if table.name not in but)
    with database.transaction() as connection:
        connection.execute(text(f"TRUNCATE {names}"))


def awaited(happened: Callable[[], Answer], what: str, *, seconds: float = PATIENCE, every: float = 0.2) -> Answer:
    """Ask until something has happened and return the answer; ends the benchmark when it does not."""
    until = time.monotonic() + seconds
    while not (answer := happened()):
        if time.monotonic() > until:
            sys.exit(f"{what} did not come within {seconds:g} s.")
        time.sleep(every)
    return answer


def timed(act: Callable[[], Answer]) -> tuple[float, Answer]:
    """Do something and return the seconds it took, and what it returned."""
    started = time.perf_counter()
    answer = act()
    return time.perf_counter() - started, answer
