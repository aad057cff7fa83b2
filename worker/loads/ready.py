"""Saying that a day is ready, and telling what is."""

from dataclasses import dataclass
from datetime import date
from typing import Final, Literal

from worker import clickhouse, database, errors
from worker.errors import Refusal
from worker.loads import mirror

# How many signals a day has, how many people there are, and today.
PRESENT: Final = """
SELECT
    (SELECT count() FROM intent_signals WHERE data_date = {data_date:Date}),
    (SELECT count() FROM people),
    toDate(now('UTC'))
"""

# A load row of people under the next version.
READY_PEOPLE: Final = """
INSERT INTO data_loads (dataset, data_date, version, rows)
SELECT
    'people',
    {data_date:Date},
    1 + (SELECT max(version) FROM data_loads WHERE dataset = 'people'),
    (SELECT count() FROM people)
"""

# A load row of one day's signals under its next version.
READY_SIGNALS: Final = """
INSERT INTO data_loads (dataset, data_date, version, rows)
SELECT
    'signals',
    {data_date:Date},
    1 + (SELECT max(version) FROM data_loads WHERE dataset = 'signals' AND data_date = {data_date:Date}),
    (SELECT count() FROM intent_signals WHERE data_date = {data_date:Date})
"""

# The newest load of one day's signals, if it has rows.
LAST_SIGNALS: Final = """
SELECT max(version) FROM data_loads
WHERE dataset = 'signals' AND data_date = {data_date:Date}
HAVING argMax(rows, version) > 0
"""

# The newest load of people, if it has rows, and the day it was written for.
LAST_PEOPLE: Final = """
SELECT max(version), argMax(data_date, version) FROM data_loads
WHERE dataset = 'people'
HAVING argMax(rows, version) > 0
"""

# Every day that has signals.
DAYS: Final = "SELECT data_date, count() FROM intent_signals GROUP BY data_date ORDER BY data_date"

# The rows of people and of topics, and today.
TABLES: Final = "SELECT (SELECT count() FROM people), (SELECT count() FROM topics), toDate(now('UTC'))"


@dataclass(frozen=True, slots=True)
class Day:
    """
    One day of intent data as it stands.

    :param rows: signals in ClickHouse now
    :param data_version: version of its newest load row; None before the day was made ready
    :param state: ``ready``; ``loaded`` but not made ready; ``missing`` though its load row says complete; ``future``
    :param mirrored: whether queueing sees the day under these versions
    """

    data_date: date
    rows: int
    data_version: int | None
    state: Literal["ready", "loaded", "missing", "future"]
    mirrored: bool


@dataclass(frozen=True, slots=True)
class Status:
    """What is loaded: people (with the version of their newest load row), topics, and days, newest first."""

    people: int
    people_version: int | None
    topics: int
    days: tuple[Day, ...]


def make_ready(data_date: date) -> mirror.Versions:
    """
    Say that a day and people are complete, each under its next version.

    :raises Refusal: for a day in the future
    :raises DataNotReady: when the day has no signals, or there are no people
    :raises AttemptError: named by what went wrong in ClickHouse
    """
    signals, people, today = clickhouse.query(PRESENT, {"data_date": data_date}).rows[0]
    if data_date > today:
        raise Refusal(f"{data_date} lies in the future.")
    if not signals:
        raise errors.DataNotReady(f"{data_date} has no signals; load them first.")
    if not people:
        raise errors.DataNotReady("There are no people; load them first.")
    clickhouse.command(READY_PEOPLE, {"data_date": data_date})
    # The day's own row comes last: it is what makes the day ready.
    clickhouse.command(READY_SIGNALS, {"data_date": data_date})
    return mirror.versions(data_date)


def renew_signals(data_date: date) -> int | None:
    """Give a replaced day its next version if it was ready; return the version, or None."""
    place = {"data_date": data_date}
    if not clickhouse.query(LAST_SIGNALS, place).rows:
        return None
    clickhouse.command(READY_SIGNALS, place)
    return int(clickhouse.query(LAST_SIGNALS, place).rows[0][0])


def renew_people() -> int | None:
    """Give replaced people their next version if they were ready; return the version, or None."""
    last = clickhouse.query(LAST_PEOPLE).rows
    if not last:
        return None
    clickhouse.command(READY_PEOPLE, {"data_date": last[0][1]})
    return int(clickhouse.query(LAST_PEOPLE).rows[0][0])


def status() -> Status:
    """
    Tell what is loaded, what is ready, and what queueing sees.

    :raises AttemptError: named by what went wrong in ClickHouse
    """
    people, topics, today = clickhouse.query(TABLES).rows[0]
    rows = {row[0]: int(row[1]) for row in clickhouse.query(DAYS).rows}
    complete = mirror.complete()
    last = clickhouse.query(LAST_PEOPLE).rows
    with database.transaction() as connection:
        mirrored = mirror.mirrored(connection)
    dates = sorted(rows.keys() | complete.keys() | mirrored.keys(), reverse=True)
    days = (_day(it, rows.get(it, 0), complete.get(it), mirrored.get(it), today) for it in dates)
    return Status(int(people), int(last[0][0]) if last else None, int(topics), tuple(days))


def _day(
    data_date: date, rows: int, complete: mirror.Versions | None, mirrored: mirror.Versions | None, today: date
) -> Day:
    """Tell how one day stands."""
    state: Literal["ready", "loaded", "missing", "future"] = "ready" if complete else "loaded"
    if not rows:
        state = "missing"
    elif data_date > today:
        state = "future"
    return Day(
        data_date,
        rows,
        complete.data_version if complete else None,
        state,
        mirrored=complete is not None and complete == mirrored,
    )
