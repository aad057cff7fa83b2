"""Which days are ready, as ClickHouse says it and Postgres mirrors it."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime

import pytest
from clickhouse_connect.driver.client import Client
from sqlalchemy import select, text

from worker import database, loads
from worker.errors import DataMissing
from worker.loads import mirror as mirror_module
from worker.models import data_dates

MONDAY, TUESDAY = date(2026, 5, 4), date(2026, 5, 5)
NOON = datetime(2026, 5, 5, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _stores(stores):
    """Every test here reads and writes both stores."""


def say_loaded(clickhouse: Client, dataset: str, day: date, version: int, rows: int) -> None:
    """Write one load row, as an owner of the data does."""
    names = ["dataset", "data_date", "version", "rows"]
    clickhouse.insert("data_loads", [[dataset, day, version, rows]], column_names=names)


def mirror() -> dict[date, tuple[int, int, int]]:
    """Read the mirror: versions of the day and of people, and rows."""
    with database.transaction() as connection:
        rows = connection.execute(select(data_dates)).all()
    return {row.data_date: (row.data_version, row.people_version, row.rows) for row in rows}


def test_versions_are_the_highest_of_the_day_and_of_people(clickhouse):
    """Of several load rows the one with the highest version counts."""
    say_loaded(clickhouse, "signals", MONDAY, 2, 20)
    say_loaded(clickhouse, "signals", MONDAY, 1, 10)
    say_loaded(clickhouse, "signals", TUESDAY, 9, 90)
    say_loaded(clickhouse, "people", TUESDAY, 5, 3)

    assert loads.Versions(data_version=2, people_version=5, rows=20) == loads.versions(MONDAY)


@pytest.mark.parametrize("loaded", [[], ["signals"], ["people"]])
def test_a_day_without_signals_or_people_is_missing(clickhouse, loaded):
    """A run that meets a day of which one half is not loaded waits."""
    for dataset in loaded:
        say_loaded(clickhouse, dataset, MONDAY, 1, 10)

    with pytest.raises(DataMissing):
        loads.versions(MONDAY)


def test_a_day_whose_newest_load_is_empty_is_missing(clickhouse):
    """A higher version of zero rows withdraws a day."""
    say_loaded(clickhouse, "people", MONDAY, 1, 3)
    say_loaded(clickhouse, "signals", MONDAY, 1, 10)
    say_loaded(clickhouse, "signals", MONDAY, 2, 0)

    with pytest.raises(DataMissing):
        loads.versions(MONDAY)


def test_complete_days_are_mirrored(clickhouse):
    """A day with signals and people becomes ready."""
    say_loaded(clickhouse, "people", MONDAY, 1, 3)
    say_loaded(clickhouse, "signals", MONDAY, 4, 10)

    counts = loads.watch(now=NOON)

    assert {"ready": 1, "new": 1, "moved": 0, "removed": 0, "future": 0} == counts
    assert {MONDAY: (4, 1, 10)} == mirror()


def test_watching_again_changes_nothing(clickhouse):
    """A second pass finds the mirror as it left it."""
    say_loaded(clickhouse, "people", MONDAY, 1, 3)
    say_loaded(clickhouse, "signals", MONDAY, 4, 10)
    loads.watch(now=NOON)

    counts = loads.watch(now=NOON)

    assert {"ready": 1, "new": 0, "moved": 0, "removed": 0, "future": 0} == counts


def test_nothing_is_ready_before_people_are(clickhouse):
    """Signals alone make no day ready."""
    say_loaded(clickhouse, "signals", MONDAY, 4, 10)

    counts = loads.watch(now=NOON)

    assert {"ready": 0, "new": 0, "moved": 0, "removed": 0, "future": 0} == counts


def test_a_day_in_the_future_is_reported_and_not_used(clickhouse):
    """A load row dated tomorrow is counted and left out until its day comes, in UTC."""
    say_loaded(clickhouse, "people", MONDAY, 1, 3)
    say_loaded(clickhouse, "signals", TUESDAY, 1, 10)

    early = loads.watch(now=datetime(2026, 5, 4, 23, 59, tzinfo=UTC))
    on_its_day = loads.watch(now=datetime(2026, 5, 5, tzinfo=UTC))

    assert (1, 0) == (early["future"], early["ready"])
    assert (0, 1) == (on_its_day["future"], on_its_day["ready"])


def test_new_versions_move_the_mirror(clickhouse):
    """A reload of a day moves its row, a reload of people moves every row."""
    say_loaded(clickhouse, "people", MONDAY, 1, 3)
    for day in (MONDAY, TUESDAY):
        say_loaded(clickhouse, "signals", day, 1, 10)
    loads.watch(now=NOON)

    say_loaded(clickhouse, "signals", TUESDAY, 2, 12)
    day_moved = loads.watch(now=NOON)
    say_loaded(clickhouse, "people", TUESDAY, 2, 4)
    people_moved = loads.watch(now=NOON)

    assert (1, 2) == (day_moved["moved"], people_moved["moved"])
    assert {MONDAY: (1, 2, 10), TUESDAY: (2, 2, 12)} == mirror()


def test_ready_at_is_when_the_days_own_version_was_first_seen(clickhouse):
    """New people do not make old signals look fresh."""
    say_loaded(clickhouse, "people", MONDAY, 1, 3)
    say_loaded(clickhouse, "signals", MONDAY, 1, 10)
    loads.watch(now=NOON)

    say_loaded(clickhouse, "people", MONDAY, 2, 4)
    loads.watch(now=NOON.replace(hour=13))
    with database.transaction() as connection:
        after_people = connection.execute(select(data_dates.c.ready_at)).scalar_one()
    say_loaded(clickhouse, "signals", MONDAY, 2, 11)
    loads.watch(now=NOON.replace(hour=14))
    with database.transaction() as connection:
        after_signals = connection.execute(select(data_dates.c.ready_at)).scalar_one()

    assert (NOON, NOON.replace(hour=14)) == (after_people, after_signals)


def test_a_withdrawn_day_leaves_the_mirror_and_comes_back(clickhouse):
    """A day whose load row is gone is not queued for, until the row is there again."""
    say_loaded(clickhouse, "people", MONDAY, 1, 3)
    say_loaded(clickhouse, "signals", MONDAY, 1, 10)
    loads.watch(now=NOON)

    clickhouse.command("TRUNCATE TABLE data_loads")
    gone = loads.watch(now=NOON)
    empty = mirror()
    say_loaded(clickhouse, "people", MONDAY, 1, 3)
    say_loaded(clickhouse, "signals", MONDAY, 1, 10)
    back = loads.watch(now=NOON)

    assert (1, {}) == (gone["removed"], empty)
    assert 1 == back["new"]


def test_a_pass_that_was_overtaken_takes_no_day_away(clickhouse, monkeypatch):
    """What became ready while a slow pass was reading stays ready, because the next pass waits its turn."""
    say_loaded(clickhouse, "people", MONDAY, 1, 3)
    read, second = mirror_module.complete, []

    def overtaken():
        found = read()
        if not second:
            say_loaded(clickhouse, "signals", MONDAY, 1, 10)
            second.append(beside.submit(loads.watch, now=NOON))
            until_done_or_waiting(second[0])
        return found

    monkeypatch.setattr(mirror_module, "complete", overtaken)
    with ThreadPoolExecutor(1) as beside:
        loads.watch(now=NOON)
        second[0].result()

    assert {MONDAY: (1, 1, 10)} == mirror()


def until_done_or_waiting(pass_):
    """Return once the other pass is through, or waits for a lock."""
    waiting = text("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND database IS NOT NULL)")
    for _ in range(1000):
        with database.transaction() as connection:
            if pass_.done() or connection.scalar(waiting):
                return
            connection.execute(text("SELECT pg_sleep(0.01)"))
    raise TimeoutError("the other pass neither ended nor waited")


def test_the_newest_ready_date_is_not_later_than_today():
    """A mirrored day after today is passed over, whichever clock wrote it."""
    rows = [{"data_date": day, "data_version": 1, "people_version": 1, "rows": 1} for day in (MONDAY, TUESDAY)]
    with database.transaction() as connection:
        nothing = loads.ready_date(connection, now=NOON)
        connection.execute(data_dates.insert(), rows)
        monday = loads.ready_date(connection, now=datetime(2026, 5, 4, 23, 59, tzinfo=UTC))
        tuesday = loads.ready_date(connection, now=NOON)
        both = loads.ready_dates(connection, now=NOON)

    assert (None, MONDAY, TUESDAY) == (nothing, monday, tuesday)
    assert [TUESDAY, MONDAY] == both


def test_without_a_clock_the_databases_own_is_used(clickhouse):
    """A day long past is ready now, one in 2062 is not."""
    say_loaded(clickhouse, "people", MONDAY, 1, 3)
    say_loaded(clickhouse, "signals", date(2020, 1, 1), 1, 10)
    say_loaded(clickhouse, "signals", date(2062, 1, 1), 1, 10)

    loads.watch()
    with database.transaction() as connection:
        newest = loads.ready_date(connection)

    assert date(2020, 1, 1) == newest
