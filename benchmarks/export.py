"""
The stored CSV: ``python -m benchmarks.export``.

Rows a second and peak memory of the project's own export, beside clickhouse-connect writing the same bytes by hand. Each
way runs in a process of its own, so that its memory is its own.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import uuid4

from sqlalchemy import select, text

from benchmarks import report
from benchmarks.plot import Bar
from benchmarks.report import Table, spread
from benchmarks.site import Site, say, settled, site, told
from local import sample
from local.process import ROOT
from local.sample import Sizes
from worker import audience, audiences, drain, loads, manual, models
from worker.database import transaction

LEAD: Final = """
One completed run to one CSV in a folder. *Ours* is the announce worker's export: claimed under a lease, read by pages,
cells defused, hashed, stored whole or not at all, completed under its fence. The rivals only read the snapshot with
clickhouse-connect and write the file, all rows at once or block by block. All write the same bytes, which is checked.
Memory is the peak of the process (VmHWM); its imports, the same for all, are included.

Again: `make bench-export`.
"""
OURS: Final = "ours"
WAYS: Final = {"at once": "clickhouse-connect, at once", "in blocks": "clickhouse-connect, in blocks", OURS: OURS}
TOPICS: Final = 200
# The export of one run, whatever other runs wait for theirs.
ALONE: Final = text("UPDATE exports SET due_at = now() + interval '1 day' WHERE run_id <> :run_id")


def main() -> int:
    """Complete a run, write its CSV in every way, print and write down."""
    options = _options()
    with site(EXPORT_ROW_CAP=str(options.rows)) as here:
        audience_id = _prepared(options.rows)
        took: dict[str, list[Mapping[str, Any]]] = {way: [] for way in WAYS}
        for _ in range(options.repetitions):
            run = _completed(audience_id, options.rows)
            for way in WAYS:
                took[way].append(_written(here, way, run, options.rows))
                say(f"{WAYS[way]}: {took[way][-1]['seconds']:.2f} s")
            if len({took[way][-1]["sha1"] for way in WAYS}) > 1:
                sys.exit("The files differ.")
    _section(took, options).publish(options.docs)
    return 0


def _options() -> argparse.Namespace:
    """The command line."""
    parser = report.parser("Measure the export beside clickhouse-connect by hand.")
    parser.add_argument("--rows", type=report.whole, default=300_000, help="rows of the CSV")
    parser.add_argument("--repetitions", type=report.whole, default=5, help="how often each is measured")
    return parser.parse_args()


def _prepared(rows: int) -> Any:
    """Make enough people for so many rows, and an audience that nearly all of them belong to."""
    sizes = Sizes(people=rows * 3 // 2, signals=rows * 15, topics=TOPICS, days=1)
    sample.build(sizes, told)
    settled("people", "intent_signals")
    loads.watch()
    config = audience.parse({"topicIds": [sizes.topic(place) for place in range(TOPICS)], "minScore": 50})
    with transaction() as connection:
        return audiences.add(connection, organization_id=uuid4(), name="Benchmark", config=config)


def _completed(audience_id: Any, rows: int) -> dict[str, Any]:
    """Complete one more run of the audience, whose export is due, and return it."""
    run_id = manual.queue(audience_id).run_id
    drain.drain("manual", "benchmark@here")
    with transaction() as connection:
        connection.execute(ALONE, {"run_id": run_id})
        run = dict(connection.execute(select(models.runs).where(models.runs.c.id == run_id)).mappings().one())
    if run["status"] != "completed" or run["result_count"] < rows:
        sys.exit(f"The run is {run['status']} with {run['result_count']} results; {rows} are needed.")
    return run


def _written(here: Site, way: str, run: Mapping[str, Any], rows: int) -> dict[str, Any]:
    """Let a process of its own write the CSV, and return what it says: seconds, peak bytes, SHA-1."""
    file = here.folder / "by-hand.csv"
    order = {
        "way": way,
        "run_id": str(run["id"]),
        "snapshot_key": str(run["snapshot_key"]),
        "written_on": str(run["written_on"]),
        "rows": rows,
        "file": str(file),
    }
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.writing"],
        input=json.dumps(order),
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    if done.returncode:
        sys.exit(f"{WAYS[way]} failed:\n{done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout)
    file.unlink(missing_ok=True)
    return found


def _section(took: Mapping[str, Sequence[Mapping[str, Any]]], options: argparse.Namespace) -> report.Section:
    """Put together what was measured."""
    base = spread([one["seconds"] for one in took["in blocks"]]).median
    rows, bars = [], []
    for way, measured in took.items():
        seconds = spread([one["seconds"] for one in measured])
        rate = spread([options.rows / one["seconds"] for one in measured])
        memory = spread([one["peak"] / 2**20 for one in measured])
        rows.append(
            [WAYS[way], *rate.cells(), report.written(memory.median), report.written(memory.high),
             report.times(base, seconds.median)]
        )  # fmt: skip
        bars.append(Bar("peak memory", WAYS[way], memory.median, ours=way == OURS))
    columns = ("way", "rows a second", "min", "max", "peak MB", "max", "times faster than in blocks")
    size = next(iter(took.values()))[0]["bytes"] / 2**20
    return report.Section(
        name="export",
        title="The stored CSV",
        lead=LEAD,
        sizes=f"{options.rows:,} rows, {report.written(size)} MB, {options.repetitions} repetitions",
        tables=[Table(columns, rows)],
        bars=bars,
        unit="MB",
    )


if __name__ == "__main__":
    sys.exit(main())
