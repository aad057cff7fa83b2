"""
The queue in Postgres: ``python -m benchmarks.queue``.

How long the tick takes to queue the daily runs of many due audiences, and whether a claim notices the finished runs of
half a year.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Final
from uuid import uuid4

import sqlalchemy
from sqlalchemy import Engine, insert, text
from sqlalchemy.engine import make_url

from benchmarks import report
from benchmarks.plot import Bar
from benchmarks.report import Table, spread
from benchmarks.site import Site, emptied_postgres, lead, say, site, timed
from worker import audience, daily, migrate, models, runs
from worker.database import transaction

LEAD: Final = """
*Queueing*: `queue_daily_runs`, pass after pass, until every due audience has its run; Postgres' commits wait for the
disk. *Claiming*: one claim, from its transaction's begin to its commit, out of the same due runs in two databases side
by side, in turns; one of them holds finished runs as well.

Again: `make bench-queue`.
"""
ORGANIZATIONS: Final = 50
DAY: Final = date(2026, 5, 4)

# Active audiences of as many organizations as there are, of twelve zones, all due.
SAVED: Final = text(
    """
    INSERT INTO audiences (id, organization_id, name, status, config, config_hash, timezone, next_slot_at, next_due_at)
    SELECT gen_random_uuid(), CAST(lpad((n % :organizations)::text, 32, '0') AS uuid), 'Buyers ' || n, 'active',
           CAST(:config AS jsonb), :hash, 'Etc/GMT+' || n % 12, now(), now()
    FROM generate_series(1, :count) AS n
    """
)
# So many completed daily runs of each audience, of the days before.
FINISHED: Final = text(
    """
    INSERT INTO runs (id, organization_id, audience_id, status, run_type, lane, config, config_hash, data_date, due_at,
                      fence, attempts, snapshot_key, written_on, results_expire_at, csv_defused, started_at,
                      completed_at, finished_at, created_at)
    SELECT gen_random_uuid(), organization_id, id, 'completed', 'daily', 'daily', config, config_hash, d, d, 1, 1,
           gen_random_uuid(), d, d + interval '90 days', true, d, d, d, d
    FROM audiences, generate_series(1, :each) AS n, CAST(CAST(:day AS date) - CAST(n AS integer) AS date) AS d
    """
)


def main() -> int:
    """Measure queueing, then claiming; print and write down."""
    options = _options()
    with site() as here:
        queueing = {count: [_queued(count) for _ in range(options.repetitions)] for count in options.audiences}
        few, many = _database(here, "few", options, 0), _database(here, "many", options, options.finished)
        say(f"{options.finished:,} finished runs are there.")
        few_took, many_took = _claims([few, many], options.claims)
        for engine in (few, many):
            engine.dispose()
    _section(queueing, few_took, many_took, options).publish(options.docs)
    return 0


def _options() -> argparse.Namespace:
    """The command line."""
    parser = report.parser("Measure queueing and claiming.")
    parser.add_argument("--audiences", type=report.whole, nargs="+", default=[10_000, 100_000], help="due audiences")
    parser.add_argument("--repetitions", type=report.whole, default=5, help="how often queueing is measured")
    parser.add_argument("--due", type=report.whole, default=10_000, help="due runs that claims choose from")
    parser.add_argument("--finished", type=report.whole, default=1_000_000, help="finished runs beside them")
    parser.add_argument("--claims", type=report.whole, default=2_000, help="claims of each kind")
    options = parser.parse_args()
    if options.claims > options.due:
        parser.error("there must be at least as many due runs as claims")
    if options.finished % options.due:
        parser.error("the finished runs must be a multiple of the due ones: each audience has as many")
    return options


def _queued(count: int) -> float:
    """Save audiences, let passes go by until none is due, and return the seconds these took."""
    emptied_postgres()
    with transaction(seconds=600) as connection:
        connection.execute(insert(models.data_dates).values(data_date=DAY, data_version=1, people_version=1, rows=1))
        connection.execute(SAVED, _saved(count))
        connection.execute(text("ANALYZE audiences"))
    started, queued = time.perf_counter(), 0
    while passed := daily.queue_daily_runs()["queued"]:
        queued += passed
    took = time.perf_counter() - started
    if queued != count:
        sys.exit(f"{queued} of {count} runs were queued.")
    say(f"{count:,} runs queued in {took:.2f} s.")
    return took


def _saved(count: int) -> dict[str, object]:
    """What :data:`SAVED` binds."""
    wanted = audience.parse({"topicIds": [1]})
    return {
        "config": json.dumps(wanted.normalized),
        "hash": wanted.hash,
        "organizations": ORGANIZATIONS,
        "count": count,
    }


def _database(here: Site, name: str, options: argparse.Namespace, finished: int) -> Engine:
    """Make a database of its own with due runs and, beside them, about so many finished ones."""
    url = make_url(here.environment["DATABASE_URL"])
    _outside(sqlalchemy.create_engine(url), f"CREATE DATABASE {name}")
    own = url.set(database=name).render_as_string(hide_password=False)
    lead({**here.environment, "DATABASE_URL": own})
    migrate.migrate()
    _queued(options.due)
    engine = sqlalchemy.create_engine(own, pool_size=1)
    with engine.begin() as connection:
        # A run is born queued; these come from elsewhere.
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        connection.execute(FINISHED, {"each": finished // options.due, "day": DAY})
    _outside(engine, "VACUUM ANALYZE")
    lead(here.environment)
    return engine


def _outside(engine: Engine, statement: str) -> None:
    """Run a statement outside any transaction."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(statement))
    engine.dispose()


def _claims(engines: Sequence[Engine], count: int) -> list[list[float]]:
    """Claim and complete run after run in each database by turns, and return the seconds of each claim."""
    took: list[list[float]] = [[] for _ in engines]
    for _ in range(count):
        for engine, mine in zip(engines, took, strict=True):
            seconds, claims = timed(lambda engine=engine: _claimed(engine))  # type: ignore[misc]
            mine.append(seconds)
            with engine.begin() as connection:
                runs.complete(connection, claims[0], _published())
    return took


def _claimed(engine: Engine) -> list[runs.Claim]:
    """Claim one run as a worker of the daily lane does."""
    with engine.begin() as connection:
        return runs.claim(connection, "daily", "benchmark@here", lease_seconds=60, lane_max=4, organization_max=2)


def _published() -> runs.Published:
    """Make up what a completed run has to show."""
    now = datetime.now(UTC)
    return runs.Published(
        candidates=2,
        results=1,
        snapshot_key=uuid4(),
        written_on=now.date(),
        results_expire_at=now + timedelta(days=90),
        csv_defused=True,
        account={},
    )


def _section(
    queueing: dict[int, list[float]], few: Sequence[float], many: Sequence[float], options: argparse.Namespace
) -> report.Section:
    """Put together what was measured."""
    queued = {count: spread(took) for count, took in queueing.items()}
    first = next(iter(queued.items()))
    each = first[1].median / first[0]
    rows = [
        [f"{count:,}", *took.cells(), report.written(took.median / count * 1e6), f"{took.median / count / each:.2f}"]
        for count, took in queued.items()
    ]
    claims = {"0": spread(few), f"{options.finished:,}": spread(many)}
    base = claims["0"].median
    claimed = [[finished, *took.cells(1000), f"{took.median / base:.2f}"] for finished, took in claims.items()]
    bars = [
        Bar("one claim, by finished runs beside it", one, took.median * 1000, ours=True) for one, took in claims.items()
    ]
    return report.Section(
        name="queue",
        title="Queueing and claiming",
        lead=LEAD,
        sizes=f"{options.repetitions} repetitions of queueing, {options.claims:,} claims out of {options.due:,} due runs",
        tables=[
            Table(("due audiences", "median s", "min", "max", "µs each", "each, ratio"), rows, "Queueing:"),
            Table(("finished runs", "median ms", "min", "max", "ratio"), claimed, "One claim:"),
        ],
        bars=bars,
        unit="ms",
    )


if __name__ == "__main__":
    sys.exit(main())
