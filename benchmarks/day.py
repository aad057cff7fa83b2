"""
A morning: ``python -m benchmarks.day``.

From the tick that queues the daily runs to the last completed one, by a real worker and with the building of the
serving index, beside a plain script that computes the same audiences one by one with the direct strategy.
"""

import argparse
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Final
from uuid import NAMESPACE_DNS, uuid5

from sqlalchemy import text

from benchmarks import report, strategies
from benchmarks.plot import Bar
from benchmarks.report import Table, spread
from benchmarks.site import Site, emptied, emptied_postgres, say, settled, site, timed, told
from benchmarks.working import served, worker
from local import sample
from local.sample import Definition, Sizes
from worker import audience, audiences
from worker.database import transaction

LEAD: Final = """
All of a morning's audiences, from the tick that queues their daily runs to the last completed one: a real worker of the
daily lane (the Procfile's line), the building of the day's serving index included. Beside it the same audiences one by
one, by a plain script without any engine: count, write and verify with the statements of the direct strategy. The
audiences are those of the sample, of 50 organizations, one of which has 40 % of them; nobody is to be told, and no
announce worker runs on either side. *Identical* are audiences that ask what another one of their organization asks.
Where the script is marked *scaled*, it was timed on a fixed random choice of the audiences.

Again: `make bench-day ARGS="{again}"`.
"""
ORGANIZATIONS: Final = 50
TABLES: Final = ("audience_results", "selections", "serving_index", "serving_texts")
SEED: Final = 1
# From its first statement to its last; nothing else of the day is as long.
BUILDING: Final = "SELECT extract(epoch FROM ready_at - wanted_at) FROM serving_indexes"
HOW: Final = "SELECT coalesce(strategy, 'none'), count(*) FROM run_attempts GROUP BY 1 ORDER BY 1"


@dataclass
class Measured:
    """What a morning took, in seconds, ours and the script's, and the part of ours that the index took."""

    audiences: int
    identical: int
    timed: int
    ours: list[float] = field(default_factory=list)
    index: list[float] = field(default_factory=list)
    script: list[float] = field(default_factory=list)


def main() -> int:
    """Make the data, measure the mornings, print and write down those of each number of audiences."""
    options = _options()
    sizes = Sizes(people=round(options.people * 1_000_000), signals=round(options.signals * 1_000_000), days=1)
    settings = {"DAILY_CONCURRENCY": str(options.concurrency), "LANE_MAX_STATEMENTS": str(options.concurrency)}
    with site(**settings) as here:
        sample.build(sizes, told)
        settled("people", "intent_signals")
        day = sample.dates(sizes)[-1]
        for count in options.audiences:
            measured = [
                _measured(here, day, _wanted(sizes, count, identical), identical, options)
                for identical in options.identical
            ]
            # Hours may lie between one number and the next.
            _section(count, measured, sizes, options).publish(options.docs)
    return 0


def _options() -> argparse.Namespace:
    """The command line."""
    parser = report.parser("Measure a morning beside a plain script.")
    parser.add_argument("--people", type=report.millions, default=1.0, help="people, in millions")
    parser.add_argument("--signals", type=report.millions, default=6.0, help="signals of the day, in millions")
    parser.add_argument("--audiences", type=report.whole, nargs="+", default=[300], help="audiences of a morning")
    parser.add_argument(
        "--identical",
        type=int,
        choices=range(91),
        nargs="+",
        default=[10, 0],
        metavar="PERCENT",
        help="percent of them that ask what another one asks",
    )
    parser.add_argument("--repetitions", type=report.whole, default=3, help="how often each is measured")
    parser.add_argument("--concurrency", type=report.whole, default=2, help="processes of the worker")
    parser.add_argument(
        "--most", type=report.whole, default=1000, help="from more audiences than this the script does a choice"
    )
    parser.add_argument("--choice", type=report.whole, default=500, help="how many it does then")
    return parser.parse_args()


def _wanted(sizes: Sizes, count: int, identical: int) -> list[Definition]:
    """Define a morning's audiences, some of them copies, in an order that chance has made."""
    copies = count * identical // 100
    chance = random.Random(SEED)
    made = [_owned(one, place) for place, one in enumerate(sample.definitions(sizes, audiences=count - copies))]
    made += [replace(one, name=f"{one.name}, again") for one in chance.choices(made, k=copies)]
    chance.shuffle(made)
    return made


def _owned(definition: Definition, place: int) -> Definition:
    """Give two audiences of five to one organization, the others to all the rest."""
    owner = 0 if place % 5 < 2 else 1 + place % (ORGANIZATIONS - 1)  # noqa: PLR2004 - two of five
    return replace(definition, organization_id=uuid5(NAMESPACE_DNS, f"organization-{owner}.example.com"))


def _measured(
    here: Site, day: date, wanted: Sequence[Definition], identical: int, options: argparse.Namespace
) -> Measured:
    """Let both sides take turns."""
    count = len(wanted)
    chosen = wanted if count <= options.most else random.Random(SEED).sample(wanted, min(options.choice, count))
    found = Measured(count, identical, len(chosen))
    for _ in range(options.repetitions):
        emptied(*TABLES)
        found.ours.append(_ours(here, wanted))
        with transaction() as connection:
            found.index.append(float(connection.scalar(text(BUILDING)) or 0))
            say(f"Attempts by strategy: {connection.execute(text(HOW)).all()}")
        emptied(*TABLES)
        seconds, _ = timed(lambda: [strategies.direct(audience.parse(one.config), day) for one in chosen])
        found.script.append(seconds * count / len(chosen))
        say(f"{count:,} audiences, {identical} % identical: {found.ours[-1]:.1f} s, script {found.script[-1]:.1f} s")
    return found


def _ours(here: Site, wanted: Sequence[Definition]) -> float:
    """Save the audiences, due now, under a worker that waits, and let the tick come."""
    emptied_postgres()
    with worker(here):
        with transaction(seconds=600) as connection:
            for one in wanted:
                audiences.add(
                    connection,
                    organization_id=one.organization_id,
                    name=one.name,
                    config=audience.parse(one.config),
                    status="active",
                    refresh=audiences.Refresh(refresh_cron=one.cron, timezone=one.timezone),
                    due_now=True,
                )
            connection.execute(text("ANALYZE audiences"))
        return served(len(wanted))


def _section(count: int, measured: Sequence[Measured], sizes: Sizes, options: argparse.Namespace) -> report.Section:
    """Put together what was measured with so many audiences."""
    rows, bars = [], []
    for one in measured:
        ours, index, script = map(spread, (one.ours, one.index, one.script))
        scaled = "" if one.timed == one.audiences else f", scaled from {one.timed}"
        head = f"{one.identical} %"
        faster = report.times(script.median, ours.median)
        each = [report.written(it.median * 1000 / one.audiences) for it in (ours, script)]
        rows.append([head, "ours", *ours.cells(), report.written(index.median), each[0], faster])
        rows.append([head, f"script{scaled}", *script.cells(), "", each[1], "1.00"])
        group = f"{head} identical"
        bars += [Bar(group, f"script{scaled}", script.median), Bar(group, "ours", ours.median, ours=True)]
    kinds = " ".join(str(one.identical) for one in measured)
    again = f"--people {options.people:g} --signals {options.signals:g} --audiences {count} --identical {kinds}"
    columns = ("identical", "way", "median s", "min", "max", "of it the index", "ms each", "times faster")
    return report.Section(
        name=f"day-{count}",
        title=f"A morning of {count:,} audiences, from the tick to the last completed run",
        lead=LEAD.format(again=again),
        sizes=f"{sizes.people:,} people, {sizes.signals:,} signals, {options.concurrency} worker processes, "
        f"{options.repetitions} repetitions",
        tables=[Table(columns, rows)],
        bars=bars,
        unit="s",
    )


if __name__ == "__main__":
    sys.exit(main())
