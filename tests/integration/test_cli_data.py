"""Bringing one's own data: files of an independent tool go in, and the day becomes ready."""

import gzip
import json
import os
import re
import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest
from source_files import (
    MONDAY,
    TOMORROW,
    TUESDAY,
    command,
    email,
    leftovers,
    loaded,
    parquet,
    people,
    refused,
    signals,
    topics,
)

from worker import loads

PROGRAM = Path(sys.executable).with_name("audience-worker")


@pytest.fixture(autouse=True)
def _stores(stores):
    """Every test here has both stores, migrated and empty."""


def test_three_parquet_files_make_a_day_ready(clickhouse, tmp_path):
    """People, signals and topics of polars load, and the day becomes ready for queueing."""
    loaded("people", parquet(tmp_path / "people.parquet", people(job_title=["cfo", None, ""])))
    loaded("signals", parquet(tmp_path / "signals.parquet", signals()))
    loaded("topics", parquet(tmp_path / "topics.parquet", topics(industry=["Finance", None, None])))

    ready = command("ready", "2026-05-04")
    counts = loads.watch(now=datetime(2026, 5, 5, tzinfo=UTC))

    assert "2026-05-04 is ready: 3 signals under version 1, people under version 1.\n" == ready.stdout
    assert 1 == counts["ready"]
    assert 0 == leftovers(clickhouse)


def test_rows_arrive_as_they_were(clickhouse, tmp_path):
    """Every stored value is the file's, and hem_hash is cityHash64 of the hashed e-mail."""
    loaded("signals", parquet(tmp_path / "signals.parquet", signals(500)))

    stored = clickhouse.query("SELECT data_date, topic_id, score FROM intent_signals ORDER BY topic_id").result_rows
    strangers = clickhouse.query(
        "SELECT count() FROM intent_signals WHERE hem_hash NOT IN (SELECT cityHash64(arrayJoin({emails:Array(String)})))",
        parameters={"emails": [email(number) for number in range(500)]},
    ).result_rows

    assert signals(500).select("data_date", "topic_id", "score").rows() == list(stored)
    assert [(0,)] == list(strangers)


def test_people_keep_every_column_and_lack_what_the_file_lacks(clickhouse, tmp_path):
    """Texts, flags, numbers and days are stored typed; absent columns and nulls are null."""
    frame = people(
        company_name=["  Ünïcode\t", "", None],
        role_is_ceo=[True, False, None],
        company_employee_count=[120.0, 7.0, None],
        source_last_seen_on=["2026-01-31", None, "2024-02-29"],
        geo_country_code=pl.Series(["US", "DE", "US"], dtype=pl.Categorical),
    )
    loaded("people", parquet(tmp_path / "people.parquet", frame))

    names = [*frame.columns[1:], "phone"]
    stored = clickhouse.query(
        f"SELECT {', '.join(names)} FROM people WHERE hem_hash = cityHash64(hashed_email) ORDER BY company_name"
    ).result_rows

    assert [
        ("", False, 7, None, "DE", None),
        ("  Ünïcode\t", True, 120, date(2026, 1, 31), "US", None),
        (None, None, None, date(2024, 2, 29), "US", None),
    ] == list(stored)


@pytest.mark.parametrize(
    "columns",
    [
        {"data_date": ["2026-05-04"] * 3},
        {"data_date": [datetime(2026, 5, 4)] * 3},  # noqa: DTZ001 - as pandas writes a day
        {"topic_id": pl.Series([1, 2, 3], dtype=pl.UInt64)},
        {"topic_id": ["1", "2", "3"]},
        {"score": [50.0, 51.0, 52.0]},
        {"score": pl.Series([50, 51, 52], dtype=pl.Decimal(10, 2))},
        {"hashed_email": pl.Series([email(it) for it in range(3)], dtype=pl.Categorical)},
        {"hashed_email": [email(it).encode() for it in range(3)]},
    ],
)
def test_another_type_that_loses_nothing_loads(clickhouse, tmp_path, columns):
    """Whatever the file's physical types, the same values are stored."""
    loaded("signals", parquet(tmp_path / "signals.parquet", signals(3, **columns)))

    stored = clickhouse.query("SELECT data_date, topic_id, score FROM intent_signals ORDER BY topic_id").result_rows

    assert [(MONDAY, 1, 50), (MONDAY, 2, 51), (MONDAY, 3, 52)] == list(stored)


@pytest.mark.parametrize("zipped", [False, True])
def test_csv_loads_with_columns_in_any_order(clickhouse, tmp_path, zipped):
    """A CSV is read by its header, with a byte order mark, quotes and Windows line ends, zipped or not."""
    text = '\ufeffscore,"hashed_email",topic_id,data_date\r\n' + "".join(
        f'{50 + number},"{email(number)}",{number}.0,2026-05-04\r\n' for number in range(3)
    )
    path = tmp_path / ("signals.csv.gz" if zipped else "signals.csv")
    path.write_bytes(gzip.compress(text.encode()) if zipped else text.encode())
    loaded("signals", str(path))

    stored = clickhouse.query("SELECT data_date, topic_id, score FROM intent_signals ORDER BY topic_id").result_rows

    assert [(MONDAY, 0, 50), (MONDAY, 1, 51), (MONDAY, 2, 52)] == list(stored)


def test_several_files_are_one_load(clickhouse, tmp_path):
    """Signals of two files and two days replace both days, each with the rows of both files."""
    first = parquet(tmp_path / "a.parquet", signals(4, data_date=[MONDAY, MONDAY, TUESDAY, TUESDAY]))
    second = parquet(tmp_path / "b.parquet", signals(3))

    result = loaded("signals", first, second, "--json")

    assert [("2026-05-04", 5), ("2026-05-05", 2)] == [
        (day["data_date"], day["rows"]) for day in json.loads(result.stdout)["days"]
    ]


def test_a_load_replaces_its_day_and_no_other(clickhouse, tmp_path):
    """Loading a day again leaves exactly the new rows of that day and all rows of the others."""
    loaded("signals", parquet(tmp_path / "tuesday.parquet", signals(7, data_date=[TUESDAY] * 7)))
    loaded("signals", parquet(tmp_path / "monday.parquet", signals(5)))
    loaded("signals", parquet(tmp_path / "again.parquet", signals(2)))

    rows = clickhouse.query("SELECT data_date, count() FROM intent_signals GROUP BY 1 ORDER BY 1").result_rows

    assert [(MONDAY, 2), (TUESDAY, 7)] == list(rows)


def test_what_was_ready_stays_so_under_a_higher_version(tmp_path):
    """Replacing a ready day, or people, moves their versions, so that a run reading them notices."""
    loaded("people", parquet(tmp_path / "people.parquet", people()))
    loaded("signals", parquet(tmp_path / "signals.parquet", signals()))
    command("ready", "2026-05-04")

    day = loaded("signals", parquet(tmp_path / "more.parquet", signals(4)))
    after_day = loads.versions(MONDAY)
    everybody = loaded("people", parquet(tmp_path / "more_people.parquet", people(5)))
    after_people = loads.versions(MONDAY)

    assert loads.Versions(data_version=2, people_version=1, rows=4) == after_day
    assert loads.Versions(data_version=2, people_version=2, rows=4) == after_people
    assert "2026-05-04: 4 signals, ready under version 2.\n" == day.stdout
    assert "5 people, ready under version 2.\n" == everybody.stdout


def test_a_new_day_waits_to_be_made_ready(tmp_path):
    """A day that was never ready is replaced and not declared complete."""
    result = loaded("signals", parquet(tmp_path / "signals.parquet", signals()))

    assert "2026-05-04: 3 signals. When it is whole: audience-worker data ready 2026-05-04\n" == result.stdout


def test_tables_of_a_killed_load_are_dropped_after_a_day(clickhouse, servers, tmp_path):
    """What a killed load left is cleared by a later one, what another load is using is not."""
    for letter in "ab":
        clickhouse.command(f"CREATE TABLE load_{letter * 32}_staged (x Int8) ENGINE = Log")
    made = clickhouse.query("SELECT metadata_path FROM system.tables WHERE name LIKE 'load_a%'").result_rows[0][0]
    (definition,) = servers.clickhouse.folder.rglob(made)
    two_days_ago = definition.stat().st_mtime - 2 * 86_400
    os.utime(definition, (two_days_ago, two_days_ago))

    loaded("topics", parquet(tmp_path / "topics.parquet", topics()))

    assert leftovers(clickhouse) == 1


@pytest.mark.parametrize(
    ("day", "sentence"),
    [
        ("2026-05-04", "There are no people; load them first."),
        ("2026-05-03", "2026-05-03 has no signals; load them first."),
        (TOMORROW.isoformat(), f"{TOMORROW} lies in the future."),
    ],
)
def test_a_day_that_is_not_whole_is_not_made_ready(clickhouse, tmp_path, day, sentence):
    """Without signals of the day, or people, no load row is written."""
    loaded("signals", parquet(tmp_path / "signals.parquet", signals()))

    result = command("ready", day)

    assert (2, "", f"{sentence}\n") == (result.exit_code, result.stdout, result.stderr)
    assert [(0,)] == list(clickhouse.query("SELECT count() FROM data_loads").result_rows)


def test_status_tells_loaded_ready_and_mirrored(clickhouse, tmp_path):
    """Each day shows its rows, its version, whether it is ready, and whether queueing sees it."""
    loaded("people", parquet(tmp_path / "people.parquet", people()))
    loaded("signals", parquet(tmp_path / "signals.parquet", signals(3, data_date=[MONDAY, TUESDAY, TUESDAY])))
    before = json.loads(command("status", "--json").stdout)
    command("ready", "2026-05-04")
    loads.watch(now=datetime(2026, 5, 6, tzinfo=UTC))
    after = json.loads(command("status", "--json").stdout)

    tuesday = {"data_date": "2026-05-05", "rows": 2, "data_version": None, "state": "loaded", "mirrored": False}
    monday = {"data_date": "2026-05-04", "rows": 1, "data_version": 1, "state": "ready", "mirrored": True}

    assert {"people": 3, "people_version": None, "topics": 0} == {key: before[key] for key in list(before)[:3]}
    assert {"people": 3, "people_version": 1, "topics": 0, "days": [tuesday, monday]} == after


def test_status_names_a_day_whose_signals_are_gone(clickhouse, tmp_path):
    """A load row without rows behind it is what an operator must see."""
    loaded("people", parquet(tmp_path / "people.parquet", people()))
    loaded("signals", parquet(tmp_path / "signals.parquet", signals()))
    command("ready", "2026-05-04")
    clickhouse.command("TRUNCATE TABLE intent_signals")

    result = command("status")

    assert re.search(r"2026-05-04 +0 +1 +missing +no", result.stdout), result.stdout


def test_the_program_loads_in_a_process_of_its_own(stores, tmp_path):
    """The installed command prints its result to standard output and its progress to standard error."""
    path = parquet(tmp_path / "topics.parquet", topics())

    done = subprocess.run(
        [PROGRAM, "data", "load", "topics", path],
        env={**os.environ, **stores.environment},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (0, "3 topics.\n") == (done.returncode, done.stdout)
    assert re.fullmatch(r"topics\.parquet: [\d.]+ (bytes|kB) sent\n", done.stderr)


def test_on_a_cluster_files_are_not_loaded(monkeypatch, tmp_path):
    """One server of many would hold only its own share."""
    monkeypatch.setenv("CLICKHOUSE_CLUSTER", "all")

    said = refused("topics", parquet(tmp_path / "topics.parquet", topics()))

    assert said.startswith("Files are loaded into a single server")


def test_a_terminal_shows_bars(stores, tmp_path):
    """Where standard error is a terminal, bytes and speed of every file are drawn."""
    path = parquet(tmp_path / "topics.parquet", topics())
    ours, theirs = os.openpty()

    done = subprocess.run(
        [PROGRAM, "data", "load", "topics", path],
        env={**os.environ, **stores.environment, "TERM": "xterm", "COLUMNS": "100"},
        stdout=subprocess.PIPE,
        stderr=theirs,
        check=False,
    )
    os.close(theirs)
    drawn = os.read(ours, 100_000).decode()
    os.close(ours)

    assert (0, b"3 topics.\n") == (done.returncode, done.stdout)
    assert re.search(r"topics\.parquet.*━.*([\d.]+)/\1 (bytes|kB)", drawn), drawn
