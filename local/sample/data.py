"""
People, signals and topics, made inside ClickHouse from a seed.

The same sizes and the same seed give the same people, topics and scores on every machine; only the days differ. A
marker, written last, says which sample the tables hold, so that the next start can go on with it.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from functools import cache
from importlib import resources
from string import Template
from typing import Any, Final

from worker import clickhouse, loads

CHUNK_ROWS: Final = 125_000
FIRST_TOPIC: Final = 100_000
TOPIC_STEP: Final = 7

TABLES: Final = ("people", "intent_signals", "topics", "data_loads")

# Which sample the tables hold; one row once they hold all of it.
MARKER: Final = """
CREATE TABLE IF NOT EXISTS sample_marker (fingerprint String, newest Date) ENGINE = MergeTree ORDER BY fingerprint
"""
MARK: Final = "INSERT INTO sample_marker VALUES ({fingerprint:String}, {newest:Date})"

# The marker beside what there is to count: somebody may have loaded data of their own since.
STANDS: Final = """
SELECT
    (SELECT count() FROM sample_marker WHERE fingerprint = {fingerprint:String} AND newest = {newest:Date}),
    (SELECT count() FROM people),
    (SELECT count() FROM intent_signals),
    (SELECT count() FROM topics)
"""
YESTERDAY: Final = "SELECT toDate(now('UTC')) - 1"

Told = Callable[[str, int, int], None]
"""Called with what is being made, how many rows of it are made, and how many there will be."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """
    How much there is.

    :param signals: of all days together
    :param days: yesterday and so many days before it
    """

    people: int = 1_000_000
    signals: int = 6_000_000
    topics: int = 2_000
    days: int = 2
    seed: int = 1

    @property
    def strangers(self) -> int:
        """The first number that belongs to nobody, senders of signals whom the people lack among them."""
        return self.people * 26 // 25 + 1

    def of_day(self, position: int) -> int:
        """How many signals a day has; the first days take what cannot be shared out."""
        return self.signals // self.days + (position < self.signals % self.days)

    def topic(self, popularity: int) -> int:
        """The id of a topic by its place among the most popular, from 0."""
        return FIRST_TOPIC + TOPIC_STEP * (popularity % self.topics)


def dates(sizes: Sizes) -> list[date]:
    """The days of the sample by the database's clock, oldest first."""
    newest = clickhouse.query(YESTERDAY).rows[0][0]
    return [newest - timedelta(days=back) for back in reversed(range(sizes.days))]


def stands(sizes: Sizes) -> bool:
    """Whether the tables hold this very sample already."""
    clickhouse.command(MARKER)
    found = clickhouse.query(STANDS, _mark(sizes)).rows[0]
    return tuple(found) == (1, sizes.people, sizes.signals, sizes.topics)


def build(sizes: Sizes, told: Told) -> None:
    """Replace whatever the tables hold by this sample, and say that its days are ready."""
    clickhouse.command(MARKER)
    for table in ("sample_marker", *TABLES):
        clickhouse.command(f"TRUNCATE TABLE {table}")  # names of our own
    days = dates(sizes)
    _insert("topics", sizes.topics, sizes, told, {})
    _insert("people", sizes.people, sizes, told, {"newest": days[-1]})
    for position, day in enumerate(days):
        _insert("signals", sizes.of_day(position), sizes, told, {"data_date": day})
    for day in days:
        loads.make_ready(day)
    clickhouse.command(MARK, _mark(sizes))


def grow(sizes: Sizes, people: int, told: Told, *, first: int) -> None:
    """
    Add people to a sample, none of whom has sent a signal, and say once more that its newest day is ready.

    :param people: how many
    :param first: the number of the first, at least :attr:`Sizes.strangers`
    """
    newest = dates(sizes)[-1]
    _insert("people", people, sizes, told, {"newest": newest}, first=first)
    loads.make_ready(newest)


def _insert(what: str, rows: int, sizes: Sizes, told: Told, places: dict[str, Any], *, first: int = 0) -> None:
    """Make the rows of one table, or of one day, in chunks."""
    values = asdict(sizes) | {"first_topic": FIRST_TOPIC, "topic_step": TOPIC_STEP} | places
    name = f"{what} of {places['data_date']}" if "data_date" in places else what
    told(name, 0, rows)
    for made, count in _chunks(rows):
        sent = values | {"first": first + made, "count": count}
        clickhouse.command(_statements()[what], sent, options={"max_insert_threads": 2, "max_threads": 2})
        told(name, made + count, rows)


def _chunks(rows: int) -> Iterator[tuple[int, int]]:
    """Cut rows into pieces that show progress: the first row of each and how many it has."""
    for first in range(0, rows, CHUNK_ROWS):
        yield first, min(CHUNK_ROWS, rows - first)


def _mark(sizes: Sizes) -> dict[str, Any]:
    """What tells one sample from another: sizes, seed, the statements themselves, and the newest day."""
    described = json.dumps([asdict(sizes), _statements()], sort_keys=True)
    return {"fingerprint": hashlib.sha256(described.encode()).hexdigest(), "newest": dates(sizes)[-1]}


@cache
def _statements() -> dict[str, str]:
    """Read the statements, once a process."""
    folder = resources.files("local") / "sample"
    texts = {name: (folder / f"{name}.sql").read_text(encoding="utf-8") for name in ("topics", "people", "signals")}
    chance = (folder / "chance.sql").read_text(encoding="utf-8").rstrip()
    return {name: Template(text).substitute(chance=chance) for name, text in texts.items()}
