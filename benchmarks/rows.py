"""
What rows weigh and what the serving index costs: ``make bench-rows``, the figures that docs/scale.md starts from.

One day of the sample is loaded into one real server, indexed in one piece, and 25 audiences are picked and frozen.
"""

import argparse
import os
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from uuid import uuid4

from benchmarks.site import timed
from local import sample
from local.environment import whole
from local.servers import Servers
from worker import audience, clickhouse, indexing, log, migrate, plan, selections, serving, serving_plan

SIGNALS_A_PERSON: Final = 3.57
"""A billion signals of 280 million people."""

WEIGHT: Final = """
SELECT table, sum(rows), sum(data_compressed_bytes) / sum(rows), sum(primary_key_bytes_in_memory) / sum(rows), count()
FROM system.parts
WHERE active AND database = currentDatabase()
    AND table IN ('people', 'intent_signals', 'serving_index', 'serving_texts', 'audience_results', 'selections')
GROUP BY table ORDER BY table
"""


def main() -> int:
    """Start a server, load, index, pick, and print the table."""
    parser = argparse.ArgumentParser(prog="make bench-rows", description=__doc__)
    parser.add_argument("--people", type=int, default=500_000, help="500,000 unless given")
    people = parser.parse_args().people
    sizes = sample.Sizes(people=people, signals=int(people * SIGNALS_A_PERSON), topics=2000, days=1)
    log.configure("console", "WARNING")
    with tempfile.TemporaryDirectory(prefix="aw-") as name, Servers(Path(name) / "servers") as servers:
        environment = whole(servers.environment())
        os.environ.clear()
        os.environ.update(environment)
        migrate.migrate()
        sample.build(sizes, lambda *_: None)
        _measure(sizes)
    return 0


def _measure(sizes: sample.Sizes) -> None:
    """Index the day, pick and freeze the audiences, and print what each took and what their rows weigh."""
    day = sample.dates(sizes)[-1]
    limits = plan.limits(600, 4_000_000_000, 2, lighter=False)
    held = serving.Building(uuid4(), 1, day, (), 1, 0)
    build, _ = timed(lambda: serving.write(held, 0, 1, {**limits, **indexing.PART}))
    configs = [audience.parse(it.config) for it in sample.definitions(sizes)]
    planned = serving_plan.pick(
        configs,
        [1],
        batch=uuid4(),
        snapshot_keys=[uuid4() for _ in configs],
        data_date=day,
        written_on=datetime.now(UTC).date(),
        settings=limits,
    )
    pick, few = timed(lambda: selections.pick(planned, str(uuid4())))
    freeze, _ = timed(lambda: selections.freeze(planned, str(uuid4()), few=few))
    counts = [one.counted for one in selections.frozen(planned, str(uuid4()))]
    print(f"{'table':<18}{'rows':>12}{'bytes/row':>11}{'key bytes/row':>15}{'parts':>7}")
    for table, rows, weight, key, parts in clickhouse.query(WEIGHT).rows:
        print(f"{table:<18}{rows:>12,}{weight:>11.1f}{key:>15.3f}{parts:>7}")
    print(f"index of {sizes.signals:,} signals: {build:.1f} s with 2 threads")
    print(
        f"{len(configs)} audiences, {sum(it.results for it in counts):,} results: {pick:.2f} s pick, {freeze:.2f} s freeze"
    )


if __name__ == "__main__":
    raise SystemExit(main())
