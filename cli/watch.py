"""Following runs until they end: a live table in a terminal, a line a change elsewhere."""

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final
from uuid import UUID

from rich import box
from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text
from sqlalchemy import RowMapping

from cli import output
from worker import runs
from worker.database import transaction

EVERY_SECONDS: Final = 1.0
MOST_ROWS: Final = 20
ENDED: Final = ("completed", "failed", "cancelled")
# What is worth seeing first where not all fit.
ORDER: Final = ("running", "failed", "queued", "cancelled", "completed")
COLOURS: Final = {"running": "cyan", "failed": "red", "completed": "green", "cancelled": "yellow"}

Update = Callable[[Sequence[RowMapping]], None]


def follow(run_ids: Sequence[UUID]) -> bool:
    """Show runs until all of them have ended, and return whether all were completed."""
    with _live() if sys.stdout.isatty() else _lines() as update:
        while True:
            with transaction() as connection:
                rows = runs.progress(connection, run_ids)
            update(rows)
            if all(row["status"] in ENDED for row in rows):
                return all(row["status"] == "completed" for row in rows)
            time.sleep(EVERY_SECONDS)


def told(run: RowMapping) -> str:
    """Say in one line how a run stands."""
    if run["status"] == "completed":
        return f"completed: {run['result_count']:,} of {run['candidate_count']:,} candidates"
    if run["status"] == "running":
        return f"running: attempt {run['attempts']}, held by {run['claimed_by']}"
    if run["next_attempt_at"] is not None:
        return f"queued: again at {output.text(run['next_attempt_at'])} after {run['error_code']}"
    because = f": {run['error_code']}, {run['error_message']}" if run["error_code"] else ""
    return f"{run['status']}{because}"


@contextmanager
def _lines() -> Iterator[Update]:
    """Yield what prints a line for every run that stands differently from before."""
    before: dict[UUID, str] = {}

    def update(rows: Sequence[RowMapping]) -> None:
        for row in rows:
            line = told(row)
            if before.get(row["id"]) != line:
                output.say(f"{output.text(row['updated_at'])}  {row['id']}  {line}")
            before[row["id"]] = line
        sys.stdout.flush()

    yield update


@contextmanager
def _live() -> Iterator[Update]:
    """Yield what redraws a table in place."""
    with Live(console=output.console(), auto_refresh=False) as live:
        yield lambda rows: live.update(_table(rows), refresh=True)


def _table(rows: Sequence[RowMapping]) -> Group:
    """Draw the runs that matter most, and the number of each status below."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("run", "type", "data date", "status"):
        table.add_column(heading)
    for row in sorted(rows, key=lambda row: ORDER.index(row["status"]))[:MOST_ROWS]:
        state = Text(told(row), style=COLOURS.get(row["status"], ""))
        table.add_row(Text(str(row["id"])), row["run_type"], output.text(row["data_date"]), state)
    counts = Counter(row["status"] for row in rows)
    return Group(table, Text(", ".join(f"{counts[status]:,} {status}" for status in ORDER if counts[status])))
