"""
What a rival's task does: the same ClickHouse statements as one of our runs, and a line about when.

The order of a benchmark lies in the file that ``BENCHMARK_ORDER`` names. Each process writes a file of its own beside it.
"""

import json
import os
import time
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from uuid import UUID

from benchmarks import strategies
from local.sample import Sizes
from worker import audience, serving
from worker.audience import AudienceConfig

SIZES = Sizes(people=1_000, signals=10_000, topics=100, days=1)


@dataclass(frozen=True, slots=True)
class Line:
    """One task: its number, below 0 where it only warmed a worker up, and three moments of the machine's clock."""

    number: int
    queued: float
    started: float
    ended: float


def config(number: int) -> AudienceConfig:
    """Return the audience of a task, which asks what no other asks, and finds few."""
    return audience.parse({"topicIds": [1 + abs(number), SIZES.topic(20 + number % 50)]})


def order(folder: Path, index: serving.Index) -> Path:
    """Write down what tasks are to read, and return the file."""
    file = folder / "order.json"
    said = {"id": str(index.id), "day": index.data_date.isoformat(), "versions": index.versions, "pieces": index.pieces}
    file.write_text(json.dumps(said))
    return file


def work(number: int, queued: float) -> None:
    """Pick, count, write and verify one audience, and note when."""
    started = time.time()
    file, index = _ordered()
    strategies.picked([config(number)], index)
    with (file.parent / f"{os.getpid()}.journal").open("a") as journal:
        journal.write(json.dumps([number, queued, started, time.time()]) + "\n")


def read(folder: Path) -> list[Line]:
    """Read what all processes have written so far."""
    lines = [line for file in folder.glob("*.journal") for line in file.read_text().splitlines()]
    return [Line(*json.loads(line)) for line in lines if line.endswith("]")]


def clear(folder: Path) -> None:
    """Forget what was written."""
    for file in folder.glob("*.journal"):
        file.unlink()


@cache
def _ordered() -> tuple[Path, serving.Index]:
    """Read the order, once a process."""
    file = Path(os.environ["BENCHMARK_ORDER"])
    said = json.loads(file.read_text())
    first, second, third = said["versions"]
    day = date.fromisoformat(said["day"])
    return file, serving.Index(UUID(said["id"]), day, (first, second, third), tuple(said["pieces"]))
