"""The serving index of a day: built once, resumed, waited for, given up."""

from datetime import date

import pytest
from builders import attempts, queued, run_row, saved
from sqlalchemy import text

from worker import drain, errors, indexing, loads, serving, settings, tasks
from worker.database import transaction

DAY, NEXT, LAST = date(2026, 11, 20), date(2026, 11, 21), date(2026, 11, 22)
VERSIONS = "SELECT data_version, people_version FROM data_dates WHERE data_date = '{}'"


@pytest.fixture(autouse=True)
def _data(clickhouse, monkeypatch):
    """A hundred people with a signal each; the day is ready, and its index is to have three pieces."""
    clickhouse.command(
        "INSERT INTO people (hem_hash, hashed_email, seniority) SELECT cityHash64(email), email, 'vp'"
        " FROM (SELECT lower(hex(SHA256(toString(number)))) AS email FROM numbers(100))"
    )
    ready(clickhouse, DAY)
    monkeypatch.setenv("INDEX_PIECE_PEOPLE", "40")
    settings.current.cache_clear()


def ready(clickhouse, day):
    """Give a day its signals and say that it is complete."""
    clickhouse.command(f"INSERT INTO intent_signals SELECT '{day}', 1, hem_hash, 80 FROM people")
    loads.make_ready(day)
    loads.watch()


def prepare(worker="w1", **options):
    """Ask for the newest day's index, and build it if nobody else does."""
    return indexing.prepare(worker, **{"leaving": lambda: False, **options})


def stored(pieces):
    """Count the rows of these pieces."""
    sql = "SELECT count() FROM serving_index WHERE piece IN {pieces:Array(UInt64)}"
    return serving.clickhouse.query(sql, {"pieces": list(pieces)}).rows[0][0]


def test_an_index_is_built_once_in_pieces(clickhouse):
    """Who comes first builds all pieces; who comes later finds them."""
    first = prepare().index

    assert (3, 100) == (len(first.pieces), stored(first.pieces))
    assert first == prepare("w2").index
    assert 100 == clickhouse.command("SELECT count() FROM serving_index")


@pytest.mark.parametrize(("signals", "people", "pieces"), [(100, 100, 1), (99, 100, 2), (100, 34, 3), (20, 40, 5)])
def test_a_piece_is_bounded_by_its_signals_and_by_its_people(monkeypatch, signals, people, pieces):
    """Whichever needs more pieces decides; signals of other days and of a score that never counts are left out."""
    monkeypatch.setenv("INDEX_PIECE_SIGNALS", str(signals))
    monkeypatch.setenv("INDEX_PIECE_PEOPLE", str(people))
    settings.current.cache_clear()
    serving.clickhouse.command(f"INSERT INTO intent_signals SELECT '{NEXT}', 2, hem_hash, 80 FROM people")
    serving.clickhouse.command(f"INSERT INTO intent_signals SELECT '{DAY}', 2, hem_hash, 49 FROM people")

    assert pieces == len(prepare().index.pieces)


def test_texts_are_those_of_people_with_signals(clickhouse):
    """What the others are called would only take memory and time, and a signal that never counts is none."""
    clickhouse.command(
        "INSERT INTO people (hem_hash, hashed_email, company_name) SELECT number, toString(number), company"
        " FROM VALUES('number UInt64, company String', (1, 'Known'), (2, 'Silent'), (3, 'Faint'))"
    )
    clickhouse.command(f"INSERT INTO intent_signals VALUES ('{DAY}', 1, 1, 50), ('{DAY}', 1, 3, 49)")
    pieces = list(prepare().index.pieces)

    found = serving.clickhouse.query(
        "SELECT text FROM serving_texts WHERE field = 'company_name' AND text != '' AND piece IN {pieces:Array(UInt64)}",
        {"pieces": pieces},
    )
    assert [("known",)] == [tuple(row) for row in found.rows]


def test_a_lost_builder_s_pieces_are_taken_over(clickhouse, monkeypatch):
    """The next builder goes on after the piece that stands; what the lost one wrote besides is never read."""
    add = serving.add

    def lost(*given, **named):
        if 1 == len(told("pieces")):
            raise KeyboardInterrupt
        return add(*given, **named)

    monkeypatch.setattr(serving, "add", lost)
    with pytest.raises(KeyboardInterrupt):
        prepare()
    monkeypatch.undo()
    monkeypatch.setenv("INDEX_PIECE_PEOPLE", "40")
    kept = told("pieces")
    with transaction() as connection:
        connection.execute(text("UPDATE serving_indexes SET lease_expires_at = now() - interval '1 s'"))

    index = prepare("w2").index

    assert (1, kept[0], 100) == (len(kept), index.pieces[0], stored(index.pieces))
    assert 100 < clickhouse.command("SELECT count() FROM serving_index")


def told(name):
    """Read one column of the only index."""
    with transaction() as connection:
        return connection.scalar(text(f"SELECT {name} FROM serving_indexes"))


def held():
    """Let somebody else hold the building of the index."""
    with transaction() as connection:
        versions = (*connection.execute(text(VERSIONS.format(DAY))).one(), 1)
        serving.want(connection, DAY, versions, 3, now=None)
        return serving.claim(connection, DAY, versions, "other", lease_seconds=60, now=None)


def test_daily_runs_wait_while_somebody_builds():
    """They are not claimed, and the drain says what it waits for."""
    held()
    with transaction() as connection:
        now = connection.scalar(text("SELECT now()"))
    run_id = queued(saved(now=None), lane="daily", run_type="daily", data_date=DAY, due_at=now)

    done = drain.drain("daily", "w1")

    assert ({"waiting": "serving_index"}, "queued") == (done, run_row(run_id)["status"])


def test_who_has_waited_long_enough_goes_the_direct_way():
    """After INDEX_WAIT_SECONDS the day's runs need no index."""
    held()
    with transaction() as connection:
        connection.execute(text("UPDATE serving_indexes SET wanted_at = now() - interval '1 hour'"))
        now = connection.scalar(text("SELECT now()"))
    run_id = queued(saved(now=None), lane="daily", run_type="daily", data_date=DAY, due_at=now)

    drain.drain("daily", "w1")

    assert ("completed", "serving_table_in") == (run_row(run_id)["status"], attempts(run_id)[0]["strategy"])


def test_a_stale_builder_adds_nothing():
    """Its fence has been raised: the piece it wrote is not named, and it lets go of nothing."""
    stale = held()
    with transaction() as connection:
        connection.execute(text("UPDATE serving_indexes SET fence = fence + 1, claimed_by = 'newer'"))

    with transaction() as connection:
        serving.release(connection, stale, now=None)
    with pytest.raises(errors.ClaimLost), transaction() as connection:
        serving.add(connection, stale, 7)

    assert ([], "newer") == (told("pieces"), told("claimed_by"))


def test_a_builder_that_goes_away_leaves_the_rest_to_the_next():
    """Told to stop after the first piece, it lets go at once."""
    pieces = iter((False, False, True))

    left = prepare(stopping=lambda: next(pieces))

    assert (None, True, 1, None) == (left.index, left.waiting, len(told("pieces")), told("claimed_by"))
    assert 3 == len(prepare("w2").index.pieces)


def test_what_clickhouse_refuses_is_tried_again(clickhouse):
    """The building is let go with its code, and runs wait meanwhile."""
    clickhouse.command("RENAME TABLE serving_texts TO elsewhere")

    prepared = prepare()

    assert (None, True) == (prepared.index, prepared.waiting)
    assert ("CLICKHOUSE_MISCONFIGURED", 1, None) == (told("error_code"), told("failures"), told("claimed_by"))


def test_new_versions_want_a_new_index():
    """A day that was loaded again is indexed again."""
    first = prepare().index
    loads.make_ready(DAY)
    loads.watch()

    second = prepare().index

    assert first.data_date == second.data_date
    assert first.versions != second.versions


def test_old_indexes_are_given_up(clickhouse, monkeypatch):
    """The two newest stay; the rows of the others go by partition, once no statement can be reading them."""
    monkeypatch.setattr(serving, "ORPHAN_SECONDS", 0)
    indexes = []
    for day in (DAY, NEXT, LAST):
        if day != DAY:
            ready(clickhouse, day)
        indexes.append(prepare().index)

    with transaction() as connection:
        usable = [serving.usable(connection, index) for index in indexes]
    assert [False, True, True] == usable
    assert [0, 100, 100] == [stored(index.pieces) for index in indexes]


def test_a_missing_index_rings_the_daily_lane(monkeypatch):
    """Somebody comes and builds it although no run is due yet."""
    rung = []
    monkeypatch.setattr(tasks, "ring", lambda queue, bells: rung.append((queue, bells)) or bells)

    tasks.ring_due()
    prepare()
    tasks.ring_due()

    assert [("daily", 1)] == rung
