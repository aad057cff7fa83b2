"""
One run, counts plus snapshot plus verification: ``python -m benchmarks.materialize``.

Four ways side by side, at growing populations with the same signals: a join on the e-mail's hash, the direct
``hem_hash IN``, and ours right after the index was built and later on.
"""

import argparse
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from benchmarks import report, strategies
from benchmarks.plot import Bar
from benchmarks.report import Table, spread
from benchmarks.site import awaited, emptied, merged, say, settled, site, timed, told
from local import sample
from local.sample import Sizes
from worker import audience, clickhouse, indexing, loads, serving
from worker.audience import AudienceConfig
from worker.plan import Counted

LEAD: Final = """
One audience: candidates and results counted, the snapshot written, its ranks read back, as ClickHouse statements
alone. *Join* joins people on the hash of their e-mail; *direct* is `hem_hash IN`, the reference strategy of
`worker/plan.py`; *ours* picks from the serving index. The signals are the same whatever the number of people. The four
take turns, each with an audience it was never asked before; *cold* is the first audience over an index whose parts are
new, *warm* a later one. The query cache is off for all. Soon after it was built, ClickHouse has merged each piece of
the index into one part by itself; that is waited for.

Again: `make bench-materialize ARGS="--people 1 5 20 40 --signals 30"`; 40 million people
need some 20 GB below `TMPDIR`.
"""
INDEX: Final = ("serving_index", "serving_texts")
WRITTEN: Final = ("audience_results", "selections")
SIZE: Final = """
SELECT sum(bytes_on_disk) FROM system.parts
WHERE database = currentDatabase() AND active AND table IN ('serving_index', 'serving_texts')
"""
FIRST_PLACE: Final = 20


@dataclass(frozen=True, slots=True)
class Kind:
    """Audiences alike: so many topics each, and what their people must be."""

    name: str
    topics: int
    filters: dict[str, Any]


KINDS: Final = {
    "small": Kind(
        "small", 10, {"role.isCeo": True, "company.industryGroups": {"values": ["energy", "retail", "education"]}}
    ),
    "medium": Kind("medium", 10, {"role.departments": {"values": ["marketing"]}}),
    "large": Kind("large", 40, {"contact.hasBusinessEmail": True}),
}
JOIN, DIRECT, COLD, WARM = "join", "direct", "ours, cold", "ours, warm"
WAYS: Final = (JOIN, DIRECT, COLD, WARM)


@dataclass(frozen=True, slots=True)
class Measured:
    """What one way took for one kind at one population, in seconds, and the people it found, median of the rounds."""

    people: int
    kind: str
    way: str
    seconds: Sequence[float]
    counted: Counted


def main() -> int:
    """Make the data, measure at each population, print and write down."""
    options = _options()
    people = [round(millions * 1_000_000) for millions in sorted(set(options.people))]
    sizes = Sizes(people=people[0], signals=round(options.signals * 1_000_000), days=1)
    measured: list[Measured] = []
    built: list[list[str]] = []
    with site():
        for before, now in zip([0, *people], people, strict=False):
            _populate(sizes, before, now)
            seconds, index = timed(_index)
            size = clickhouse.query(SIZE).rows[0][0]
            say(f"The index over {now:,} people was built in {seconds:.1f} s.")
            merging, _ = timed(lambda: awaited(lambda: merged("serving_index"), "the merged index", every=0.1))
            figures = (seconds, merging, size / 2**20)
            built.append([f"{now:,}", str(len(index.pieces)), *map(report.written, figures)])
            measured += _measured(now, index, sizes, options)
    _section(measured, built, sizes, options).publish(options.docs)
    return 0


def _options() -> argparse.Namespace:
    """The command line."""
    parser = report.parser("Measure one run: join, direct, ours.")
    parser.add_argument("--people", type=report.millions, nargs="+", default=[1, 5], help="populations, in millions")
    parser.add_argument("--signals", type=report.millions, default=6.0, help="signals of the day, in millions")
    parser.add_argument("--kinds", choices=KINDS, nargs="+", default=list(KINDS), help="audiences by their results")
    parser.add_argument("--rounds", type=report.whole, default=5, help="how often each is measured")
    return parser.parse_args()


def _populate(sizes: Sizes, before: int, now: int) -> None:
    """Make the sample, or let it grow by people without signals."""
    if before:
        emptied(*INDEX)
        sample.grow(sizes, now - before, told, first=sizes.strangers + before - sizes.people)
    else:
        sample.build(sizes, told)
    settled("people", "intent_signals")
    loads.watch()


def _index() -> serving.Index:
    """Build the day's index as a worker would."""
    prepared = indexing.prepare("benchmark@here", leaving=lambda: False)
    if prepared.index is None:
        sys.exit("The serving index was not built.")
    return prepared.index


def _measured(people: int, index: serving.Index, sizes: Sizes, options: argparse.Namespace) -> Iterator[Measured]:
    """Let the four ways take turns for each kind of audience; the first round only warms up."""
    _keep_twin()
    rounds = options.rounds
    for kind in (KINDS[name] for name in options.kinds):
        took: dict[str, list[float]] = {way: [] for way in WAYS}
        counts: dict[str, list[Counted]] = {way: [] for way in WAYS}
        for turn in range(rounds + 1):
            first, own = (_config(kind, sizes, number, 2 * rounds + 2) for number in (turn, rounds + 1 + turn))
            for way, act in _acts(first, own, index).items():
                if way == COLD:
                    _renew(index)
                seconds, counted = timed(act)
                if turn:
                    took[way].append(seconds)
                    counts[way].append(counted)
        if not counts[JOIN] == counts[DIRECT] == counts[WARM]:
            sys.exit(f"The ways do not agree: {counts}")
        emptied(*WRITTEN)
        say(f"{people:,} people, {kind.name}: " + ", ".join(f"{way} {min(took[way]):.3f} s" for way in WAYS))
        yield from (Measured(people, kind.name, way, took[way], _typical(counts[way])) for way in WAYS)


def _acts(config: AudienceConfig, other: AudienceConfig, index: serving.Index) -> dict[str, Callable[[], Counted]]:
    """What is done in one round: the same audience for three ways, one of its own for the cold index."""
    return {
        JOIN: lambda: strategies.joined(config, index.data_date),
        DIRECT: lambda: strategies.direct(config, index.data_date),
        COLD: lambda: strategies.picked([other], index)[0],
        WARM: lambda: strategies.picked([config], index)[0],
    }


def _config(kind: Kind, sizes: Sizes, number: int, of: int) -> AudienceConfig:
    """Return one of so many audiences of a kind; their topics differ and are about equally popular."""
    places = range(FIRST_PLACE + number, FIRST_PLACE + number + of * kind.topics, of)
    return audience.parse({"topicIds": [sizes.topic(place) for place in places], "filters": kind.filters})


def _typical(counts: Sequence[Counted]) -> Counted:
    """Return the medians of both counts."""
    return Counted(
        round(statistics.median(one.candidates for one in counts)),
        round(statistics.median(one.results for one in counts)),
    )


def _keep_twin() -> None:
    """Keep the index a second time; its files are shared."""
    for table in INDEX:
        clickhouse.command(f"DROP TABLE IF EXISTS {table}_twin")
        clickhouse.command(f"CREATE TABLE {table}_twin AS {table}")
        _copy(table, f"{table}_twin")


def _renew(index: serving.Index) -> None:
    """Put new parts with the same bytes in the index's place: nothing of them is in ClickHouse's caches."""
    for table in INDEX:
        _copy(f"{table}_twin", table, index.pieces)


def _copy(source: str, target: str, pieces: Sequence[int] | None = None) -> None:
    """Replace partitions of a table by those of another one."""
    found = pieces or [row[0] for row in clickhouse.query(f"SELECT DISTINCT piece FROM {source}").rows]  # noqa: S608 - ours
    for piece in found:
        clickhouse.command(f"ALTER TABLE {target} REPLACE PARTITION {int(piece)} FROM {source}")


def _section(
    measured: Sequence[Measured], built: Sequence[Sequence[str]], sizes: Sizes, options: argparse.Namespace
) -> report.Section:
    """Put together what was measured."""
    direct = {(one.people, one.kind): spread(one.seconds).median for one in measured if one.way == DIRECT}
    fewest = {(one.kind, one.way): spread(one.seconds).median for one in measured if one.people == sizes.people}
    rows: list[list[str]] = []
    bars: list[Bar] = []
    for one in measured:
        took, rival = spread(one.seconds), direct[one.people, one.kind]
        people, results = f"{one.people:,}", f"{one.counted.results:,}"
        candidates = f"{one.counted.candidates:,}"
        ratios = [report.times(rival, took.median), report.times(took.median, fewest[one.kind, one.way])]
        rows.append([people, candidates, results, one.way, *took.cells(1000), *ratios])
        group = f"{people} people, {results} results"
        bars.append(Bar(group if one.way == JOIN else bars[-1].group, one.way, took.median * 1000, one.way == WARM))
    columns = (
        *("people", "candidates", "results", "way", "median ms", "min", "max"),
        *("times faster than direct", "times itself at the fewest people"),
    )
    return report.Section(
        name="materialize",
        title="One audience, from config to verified snapshot",
        lead=LEAD,
        sizes=f"{sizes.signals:,} signals, {options.rounds} rounds",
        tables=[
            Table(columns, rows),
            Table(
                ("people", "pieces", "seconds", "seconds until merged", "MB on disk"),
                built,
                "The building of the index, once a day:",
            ),
        ],
        bars=bars,
        unit="ms",
    )


if __name__ == "__main__":
    sys.exit(main())
