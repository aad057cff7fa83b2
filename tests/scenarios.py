"""
Faults in front of real processes, and what Postgres tells of them afterwards.

Shared by tests/acceptance, in short, and tests/recovery, at full size and at production defaults. All moments are the
database's.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import redis
from builders import config
from clickhouse_connect.driver.client import Client
from sqlalchemy import text

from local.programs import PROCFILE, Programs
from local.servers import Servers
from worker import indexing, loads
from worker.app import ring
from worker.database import transaction

DAY = date(2026, 5, 4)
PEOPLE = 50
BIG = UUID(int=1)
# A period of the ringing tick, and what bell, drain and claim may take on a busy machine.
RINGING_SECONDS = 5 + 2

Answer = TypeVar("Answer")

# Audiences that nothing refreshes, and a daily run of each that is due now; nobody is told.
DUE = text(
    """
    WITH born AS (
        INSERT INTO audiences (id, organization_id, name, status, config, config_hash)
        SELECT gen_random_uuid(), coalesce(:organization_id, gen_random_uuid()), 'Buyers ' || n, 'draft',
               CAST(:config AS jsonb), :hash
        FROM generate_series(1, :count) AS n
        RETURNING *
    )
    INSERT INTO runs (id, organization_id, audience_id, status, run_type, lane, config, config_hash, data_date, due_at)
    SELECT gen_random_uuid(), organization_id, id, 'queued', 'daily', 'daily', config, config_hash, :day, now()
    FROM born
    """
)
# Every attempt with its run; a run that nobody has claimed yet is in here once.
ATTEMPTS = """
    SELECT r.id, r.organization_id, r.status, a.fence, a.outcome, a.started_at, a.ended_at
    FROM runs r LEFT JOIN run_attempts a ON a.run_id = r.id ORDER BY a.started_at, r.id
"""
# Runs that were ever completed, and completions beyond each one's first.
COMPLETED = """
    SELECT count(DISTINCT run_id) AS runs, count(*) - count(DISTINCT run_id) AS again
    FROM run_attempts WHERE outcome = 'completed'
"""


@dataclass(frozen=True)
class Site:
    """Servers, the programs that work on them, and an onlooker's ClickHouse client."""

    servers: Servers
    programs: Programs
    clickhouse: Client

    def flush(self) -> None:
        """Take everything out of Redis; connections and blocked readers stay."""
        with redis.Redis.from_url(self.servers.redis.url) as client:
            client.flushall()

    def restart_redis(self) -> None:
        """Redis comes back empty."""
        self.servers.redis.restart()

    def awake(self, names: list[str]) -> None:
        """Start programs and return once the daily worker has heard a bell and the ringing tick, if any, is under way."""
        self.programs.start(names)
        since = now()
        awaited(lambda: ring("daily", 1) + heard(since), 60, "a worker that hears its bell", every=0.5)
        for _ in ("a drain's own ringing, maybe", "the tick's"):
            since = now()
            awaited(lambda since=since: "control" not in names or ticked(since), 60, "the ringing tick")


def small_day(client: Client) -> None:
    """Fifty people who research one topic; their day is ready."""
    client.command(
        f"INSERT INTO people (hem_hash, hashed_email) SELECT number, toString(number) FROM numbers({PEOPLE})"
    )
    rows = f"SELECT {{day:Date}}, 1, number, 80 FROM numbers({PEOPLE})"
    client.command(f"INSERT INTO intent_signals {rows}", parameters={"day": DAY})
    loads.make_ready(DAY)


@contextmanager
def slow_people(client: Client) -> Iterator[None]:
    """As long as this is open, whoever starts to read people reads for most of a minute; the day's index stands."""
    loads.watch()
    indexing.prepare("scenario", leaving=lambda: False)
    client.command("RENAME TABLE people TO people_kept")
    client.command(
        "CREATE VIEW people AS SELECT * FROM people_kept WHERE hashed_email NOT IN ("
        "SELECT toString(sleepEachRow(0.5)) FROM numbers(100) SETTINGS max_block_size = 1)"
    )
    try:
        yield
    finally:
        client.command("DROP VIEW people")
        client.command("RENAME TABLE people_kept TO people")


def numbered(folder: Path, program: str, count: int) -> Path:
    """Write a Procfile in which a worker stands several times, each under a node name of its own."""
    lines = PROCFILE.read_text(encoding="utf-8").splitlines()
    (line,) = [line.partition(": ")[2] for line in lines if line.startswith(f"{program}: ")]
    several = [f"{program}{n}: {line.replace('@%h', f'{n}@%h')}" for n in range(1, count + 1)]
    file = folder / "Procfile"
    file.write_text("\n".join([*lines, *several]) + "\n", encoding="utf-8")
    return file


def due_runs(count: int, organization_id: UUID | None = None) -> datetime:
    """
    Write runs that are due now, without a bell, and return the moment of the commit.

    :param organization_id: whose audiences they are; one organization each when None
    """
    wanted = config()
    values = {"organization_id": organization_id, "config": wanted.canonical, "hash": wanted.hash}
    with transaction() as connection:
        connection.execute(DUE, {**values, "count": count, "day": DAY})
    return now()


def now() -> datetime:
    """Read the database's clock."""
    with transaction() as connection:
        return connection.execute(text("SELECT clock_timestamp()")).scalar_one()


def read(sql: str, **values: Any) -> list[Mapping[str, Any]]:
    """Read rows."""
    with transaction() as connection:
        return list(connection.execute(text(sql), values).mappings())


def count(status: str) -> int:
    """Count the runs of a status."""
    return read("SELECT count(*) FROM runs WHERE status = :status", status=status)[0]["count"]


def heard(since: datetime) -> bool:
    """Whether a worker of the daily lane has looked for work since."""
    return bool(read("SELECT FROM workers WHERE lane = 'daily' AND last_claim_at > :since", since=since))


def ticked(since: datetime) -> bool:
    """Whether the ringing tick has passed since."""
    return bool(read("SELECT FROM ticks WHERE name = 'ring' AND passed_at > :since", since=since))


def awaited(happened: Callable[[], Answer], seconds: float, what: str, *, every: float = 0.1) -> Answer:
    """Ask until something has happened, and return the answer; raises ``TimeoutError`` with how the runs stand."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if answer := happened():
            return answer
        time.sleep(every)
    stand = read("SELECT status, error_code, count(*) FROM runs GROUP BY status, error_code")
    raise TimeoutError(f"{what} did not happen within {seconds:g} s; runs: {[tuple(row.values()) for row in stand]}")


def all_completed(runs: int, patience: float) -> None:
    """Wait until every run is completed; none of them is lost, and none was completed twice."""
    awaited(lambda: not read("SELECT FROM runs WHERE status <> 'completed' LIMIT 1"), patience, "the end of all runs")
    (told,) = read(COMPLETED)

    assert (runs, 0) == (told["runs"], told["again"])


def seconds(since: datetime, until: datetime) -> float:
    """Return the seconds between two moments."""
    return (until - since) / timedelta(seconds=1)


def emptied(empty: Callable[[], None], runs: int, patience: float) -> tuple[float, float]:
    """
    Let runs become due right after Redis was emptied under idle workers.

    :returns: seconds until the first claim, and until the last completion
    """
    empty()
    began = due_runs(runs)
    all_completed(runs, patience)
    (told,) = read("SELECT min(started_at) AS first, max(ended_at) AS last FROM run_attempts")
    return seconds(began, told["first"]), seconds(began, told["last"])


def stopped(site: Site, runs: int) -> tuple[float, int]:
    """
    Send SIGTERM to a worker that has begun on due runs, and wait for its end.

    :returns: seconds from the signal to the last claim, negative when it came before; and the runs left queued
    """
    due_runs(runs)
    ring("daily", 4)
    awaited(lambda: count("completed"), 60, "the first completion", every=0.02)
    asked = now()
    site.programs.stop(["worker"])

    assert 0 == count("running")
    (told,) = read("SELECT max(started_at) AS last FROM run_attempts")
    return seconds(asked, told["last"]), count("queued")


def overtaken(big: int, small: int, patience: float) -> tuple[int, float]:
    """
    Let one organization have many due runs, and then others one each; wait until the others are served.

    :returns: runs of the big one that had started by then, and the seconds it took
    """
    due_runs(big, BIG)
    began = due_runs(small)
    ring("daily", 4)
    left = "SELECT FROM runs WHERE organization_id <> :big AND status <> 'completed' LIMIT 1"
    awaited(lambda: not read(left, big=BIG), patience, "the others' runs")
    ends = [
        row["ended_at"] for row in read(ATTEMPTS) if row["organization_id"] != BIG and row["outcome"] == "completed"
    ]
    started = [row for row in read(ATTEMPTS) if row["organization_id"] == BIG and row["started_at"]]
    return sum(row["started_at"] <= max(ends) for row in started), seconds(began, max(ends))


def pauses(began: datetime) -> tuple[float, float]:
    """
    Tell how a fault has interrupted a steady stream of work, in seconds from ``began`` on.

    :returns: the longest time without a completion while there were runs that nobody had tried yet; and the time until
        the last attempt that came to nothing was ended, its run queued again; zero where none did
    """
    ended = [row for row in read(ATTEMPTS) if row["ended_at"] and row["ended_at"] > began]
    done = [row for row in ended if row["outcome"] == "completed"]
    fresh = max(row["ended_at"] for row in done if row["fence"] == 1)
    steady = sorted([began, *(row["ended_at"] for row in done if row["ended_at"] <= fresh)])
    back = [seconds(began, row["ended_at"]) for row in ended if row["outcome"] != "completed"]
    return max(seconds(one, other) for one, other in pairwise(steady)), max(back, default=0.0)
