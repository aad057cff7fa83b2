"""
The engine alone: ``python -m benchmarks.engine``.

Thousands of runs over tiny data, beside bare Celery tasks and procrastinate jobs that send the same ClickHouse
statements, with as many worker processes; and the milliseconds of our own that a run costs.
"""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final
from uuid import UUID

from sqlalchemy import text

from benchmarks import journal, own, report, rivals
from benchmarks.plot import Bar
from benchmarks.report import Table, spread
from benchmarks.rivals import Took
from benchmarks.site import Site, emptied, emptied_postgres, lead, say, site
from benchmarks.working import served, worker
from local import sample
from worker import audiences, daily, indexing, loads, settings
from worker.database import transaction

LEAD: Final = """
Runs over a thousand people, so that the engine is what takes time. *Bare Celery* and *procrastinate* do the three
statements of one run over the same serving index in each task, and nothing else: no claim in Postgres, no fence, no
attempt, no completion. *Ours, alone* sends the same statements for each run; *ours, batched* is what the worker does.
All runs are queued at once, so that the waiting of a run is mostly that for the others.

*Our own* is the wall time of a run at concurrency 1, from one claim to the next, less what ClickHouse reports for its
statements.

Again: `make bench-engine`; procrastinate is installed with pip into an environment of its own, which goes afterwards.
"""
ORGANIZATIONS: Final = 50
CELERY, PROCRASTINATE, ALONE, BATCHED = "bare Celery", "procrastinate", "ours, alone", "ours, batched"
WAITED: Final = """
SELECT
    percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM started_at - created_at)),
    percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM completed_at - created_at))
FROM runs
"""


def main() -> int:
    """Measure all engines in turns, then our own milliseconds; print and write down."""
    options = _options()
    chosen = {"DAILY_CONCURRENCY": str(options.concurrency), "LANE_MAX_STATEMENTS": str(options.concurrency)}
    with site(**chosen) as here:
        ways = _ways(here, ordered(here), options)
        took: dict[str, list[Took]] = {name: [] for name in ways}
        for _ in range(options.repetitions):
            for name, serve in ways.items():
                emptied("audience_results", "selections")
                took[name].append(serve())
                say(f"{name}: {options.runs} runs in {took[name][-1].all:.1f} s.")
        size = settings.current().batch_runs
        costs = {
            ALONE: _own(here, options.alone, 1),
            f"{BATCHED}, {size} at once": _own(here, -(-options.alone // size) * size, size),
        }
    _section(took, costs, options).publish(options.docs)
    return 0


def _options() -> argparse.Namespace:
    """The command line."""
    parser = report.parser("Measure the engine beside bare Celery and procrastinate.")
    parser.add_argument("--runs", type=report.whole, default=5000, help="runs of each engine")
    parser.add_argument("--repetitions", type=report.whole, default=3, help="how often each is measured")
    parser.add_argument("--concurrency", type=report.whole, default=2, help="worker processes of each")
    parser.add_argument(
        "--alone", type=report.whole, default=500, help="runs that our own milliseconds are measured by"
    )
    parser.add_argument("--without-procrastinate", action="store_true", help="leave it out, and its installation")
    return parser.parse_args()


def ordered(here: Site) -> Path:
    """Make the data and its index, and write down where tasks find it."""
    sample.build(journal.SIZES, lambda *_: None)
    loads.watch()
    index = indexing.prepare("benchmark@here", leaving=lambda: False).index
    if index is None:
        sys.exit("The serving index was not built.")
    folder = here.folder / "journal"
    folder.mkdir()
    return journal.order(folder, index)


def _ways(here: Site, order: Path, options: argparse.Namespace) -> dict[str, Callable[[], Took]]:
    """Return what serves the runs, by name."""
    found = [rivals.celery(options.concurrency)]
    if not options.without_procrastinate and (other := rivals.procrastinate(here, options.concurrency)):
        found.append(other)
    others = {one.name: lambda one=one: one.served(here, order, options.runs) for one in found}
    alone = replace(here, environment={**here.environment, "BATCH_RUNS": "1"})
    return {**others, ALONE: lambda: _ours(alone, options.runs), BATCHED: lambda: _ours(here, options.runs)}


def _ours(here: Site, runs: int) -> Took:
    """Serve as many audiences by a worker of the daily lane."""
    emptied_postgres(but=("data_dates", "serving_indexes"))
    with worker(here):
        save(runs)
        seconds = served(runs)
    with transaction() as connection:
        claimed, completed = connection.execute(text(WAITED)).one()
    return Took(seconds, float(claimed), float(completed))


def _own(here: Site, runs: int, batch_runs: int) -> tuple[list[float], list[float]]:
    """Work on so many runs in this process."""
    alone = {"BATCH_RUNS": str(batch_runs), "LANE_MAX_STATEMENTS": "1", "DRAIN_SECONDS": "180"}
    lead({**here.environment, **alone})
    emptied_postgres(but=("data_dates", "serving_indexes"))
    save(runs)
    daily.queue_daily_runs()
    return own.milliseconds(runs, batch_runs)


def save(count: int) -> None:
    """Save so many audiences, due now, none of which asks what another one asks."""
    with transaction(seconds=600) as connection:
        for number in range(count):
            audiences.add(
                connection,
                organization_id=UUID(int=1 + number % ORGANIZATIONS),
                name=f"Buyers {number}",
                config=journal.config(number),
                status="active",
                due_now=True,
            )
        connection.execute(text("ANALYZE audiences"))


def _section(
    took: Mapping[str, Sequence[Took]],
    costs: Mapping[str, tuple[list[float], list[float]]],
    options: argparse.Namespace,
) -> report.Section:
    """Put together what was measured."""
    base = spread([one.all for one in took[CELERY]]).median
    rows, bars = [], []
    for name, measured in took.items():
        rate = spread([options.runs / one.all for one in measured])
        waits = [spread([getattr(one, what) * 1000 for one in measured]) for what in ("claimed", "completed")]
        ratio = report.times(base, spread([one.all for one in measured]).median)
        rows.append([name, *rate.cells(), *(report.written(one.median) for one in waits), ratio])
        bars.append(Bar("runs a second", name, rate.median, ours=name in (ALONE, BATCHED)))
    if PROCRASTINATE not in took:
        why = "was left out" if options.without_procrastinate else "could not be installed here"
        rows.append([f"{PROCRASTINATE} {why}", *[""] * 6])
    own_rows = [
        [name, *spread(ours).cells(), report.written(spread(theirs).median)] for name, (ours, theirs) in costs.items()
    ]
    columns = ("engine", "runs a second", "min", "max", "queued to claimed, median ms", "queued to completed",
               "times bare Celery")  # fmt: skip
    return report.Section(
        name="engine",
        title="The engine beside bare Celery and procrastinate",
        lead=LEAD,
        sizes=f"{options.runs:,} runs, {options.concurrency} worker processes, {options.repetitions} repetitions; "
        f"our own by {options.alone} runs",
        tables=[
            Table(columns, rows),
            Table(("runs", "own ms a run", "min", "max", "ClickHouse's"), own_rows, "Our own milliseconds:"),
        ],
        bars=bars,
        unit="runs/s",
    )


if __name__ == "__main__":
    sys.exit(main())
