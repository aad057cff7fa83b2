"""Bringing one's own data: files of an independent tool in, one plain sentence when they will not do."""

import gzip
import hashlib
import json
import os
import re
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner, Result

from cli.main import app
from worker import loads

MONDAY, TUESDAY = date(2026, 5, 4), date(2026, 5, 5)


@pytest.fixture(autouse=True)
def _stores(stores):
    """Every test here has both stores, migrated and empty."""


def email(number: int) -> str:
    """The hashed e-mail of a made-up person."""
    return hashlib.sha256(f"{number}@example.com".encode()).hexdigest()


def signals(rows: int = 3, **columns) -> pl.DataFrame:
    """Signals of Monday, as a source would write them."""
    made = {
        "data_date": [MONDAY] * rows,
        "topic_id": list(range(1, rows + 1)),
        "hashed_email": [email(number) for number in range(rows)],
        "score": [50 + number % 50 for number in range(rows)],
    }
    return pl.DataFrame({**made, **columns})


def people(rows: int = 3, **columns) -> pl.DataFrame:
    """People with the one column that they must have, and others as asked."""
    return pl.DataFrame({"hashed_email": [email(number) for number in range(rows)], **columns})


def topics(rows: int = 3, **columns) -> pl.DataFrame:
    """Topics with the two columns that they must have, and others as asked."""
    made = {"topic_id": list(range(1, rows + 1)), "name": [f"Topic {number}" for number in range(rows)]}
    return pl.DataFrame({**made, **columns})


def parquet(path: Path, frame: pl.DataFrame) -> str:
    """Write a Parquet file."""
    frame.write_parquet(path)
    return str(path)


def command(*arguments: str) -> Result:
    """Run the command line in this process."""
    return CliRunner().invoke(app, ["data", *arguments])


def loaded(*arguments: str) -> Result:
    """Run a load that must succeed."""
    result = command("load", *arguments)
    assert result.exit_code == 0, result.output
    return result


def refused(*arguments: str) -> str:
    """Run a load that must be refused, and return its one sentence."""
    result = command("load", *arguments)
    assert (result.exit_code, result.stdout) == (2, ""), result.output
    lines = [line for line in result.stderr.splitlines() if not line.endswith(" sent")]
    assert len(lines) == 1, result.stderr
    return lines[0]


def leftovers(clickhouse) -> int:
    """How many tables a load has left behind."""
    return clickhouse.query(
        "SELECT count() FROM system.tables WHERE database = currentDatabase() AND name LIKE 'load_%'"
    ).result_rows[0][0]


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


TOMORROW = datetime.now(UTC).date() + timedelta(days=1)
HEX = "hashed_email must be 64 lower-case hex characters"


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        (
            {"score": [50, 100, 101]},
            "score must be a whole number from 0 to 99; 2 rows are not so, the first is row 2.",
        ),
        ({"score": [50, None, 60]}, "score must be a whole number from 0 to 99; row 2 is not so."),
        ({"score": [50.0, 60.0, 60.5]}, "score must be a whole number from 0 to 99; row 3 is not so."),
        ({"score": [50, 60, -1]}, "score must be a whole number from 0 to 99; row 3 is not so."),
        ({"topic_id": [1, 2, 2**32]}, "topic_id must be a whole number from 0 to 4294967295; row 3 is not so."),
        ({"topic_id": ["1", "x", "3"]}, "topic_id must be a whole number from 0 to 4294967295; row 2 is not so."),
        ({"hashed_email": ["a" * 64, "A" * 64, "a" * 63]}, f"{HEX}; 2 rows are not so, the first is row 2."),
        ({"hashed_email": ["a" * 64, "b" * 64 + "\n", "c" * 64]}, f"{HEX}; row 2 is not so."),
        ({"data_date": [MONDAY, TOMORROW, MONDAY]}, "data_date must not lie in the future; row 2 is not so."),
        (
            {"data_date": ["2026-05-04", "2026-02-30", "04.05.2026"]},
            "data_date must be a date as YYYY-MM-DD from 1970 on; 2 rows are not so, the first is row 2.",
        ),
        (
            {"data_date": [datetime(2026, 5, 4, 1)] * 3},  # noqa: DTZ001 - as pandas writes a time
            "data_date must be a date as YYYY-MM-DD from 1970 on; 3 rows are not so, the first is row 1.",
        ),
        (
            {"score": [[50], [60], [70]]},
            "has a column 'score' of lists or structures; plain values are needed.",
        ),
        ({"hem_hash": [1, 2, 3]}, "has an unknown column 'hem_hash'."),
        ({"topicId": [1, 2, 3]}, "has an unknown column 'topicId'; perhaps topic_id is meant."),
    ],
)
def test_a_broken_rule_is_named_and_nothing_is_replaced(clickhouse, tmp_path, columns, sentence):
    """File, column, rule and the first row are named, and the day keeps its old rows."""
    loaded("signals", parquet(tmp_path / "good.parquet", signals(5)))

    said = refused("signals", parquet(tmp_path / "bad.parquet", signals(3, **columns)))

    assert f"bad.parquet: {sentence}" == said
    assert [(5,)] == list(clickhouse.query("SELECT count() FROM intent_signals").result_rows)
    assert 0 == leftovers(clickhouse)


@pytest.mark.parametrize("name", ["data_date", "topic_id", "hashed_email", "score"])
def test_a_missing_column_is_named(tmp_path, name):
    """Signals need all four of their columns."""
    path = parquet(tmp_path / "bad.parquet", signals().drop(name))

    assert f"bad.parquet: has no column {name}." == refused("signals", path)


def test_a_good_file_beside_a_bad_one_replaces_nothing(clickhouse, tmp_path):
    """Files of one command stand or fall together."""
    good = parquet(tmp_path / "good.parquet", signals())
    bad = parquet(tmp_path / "bad.parquet", signals(score=[1, 2, 100]))

    said = refused("signals", good, bad)

    assert "bad.parquet: score must be a whole number from 0 to 99; row 3 is not so." == said
    assert [(0,)] == list(clickhouse.query("SELECT count() FROM intent_signals").result_rows)


def test_the_row_is_named_in_a_large_file(tmp_path):
    """Rows keep the file's order through row groups that are read side by side."""
    scores = [50] * 300_000
    scores[234_567] = 100
    frame = signals(300_000, score=scores, hashed_email=[email(0)] * 300_000)
    frame.write_parquet(tmp_path / "bad.parquet", row_group_size=10_000)

    said = refused("signals", str(tmp_path / "bad.parquet"))

    assert "bad.parquet: score must be a whole number from 0 to 99; row 234,568 is not so." == said


def test_people_must_be_unique_over_all_files(tmp_path):
    """The same person in two files is refused."""
    first, second = parquet(tmp_path / "a.parquet", people(3)), parquet(tmp_path / "b.parquet", people(2))

    said = refused("people", first, second)

    assert "people: hashed_email must be unique; 2 of them appear more than once." == said


def test_topics_must_be_unique(tmp_path):
    """The same topic id twice is refused."""
    path = parquet(tmp_path / "topics.parquet", topics(3, topic_id=[1, 2, 1]))

    assert "topics: topic_id must be unique; 1 of them appear more than once." == refused("topics", path)


@pytest.mark.parametrize(
    ("column", "values", "rule"),
    [
        ("role_is_ceo", ["yes", "true", "0"], "must be true or false; row 1 is not so."),
        ("company_employee_count", [1.5, 2, 3], "must be a whole number from 0 to 4294967295; row 1 is not so."),
        (
            "source_last_seen_on",
            ["2026-01-01", "soon", None],
            "must be a date as YYYY-MM-DD from 1970 on; row 2 is not so.",
        ),
        ("first_name", [b"ok", b"\xff", b"ok"], "must be UTF-8 text; row 2 is not so."),
    ],
)
def test_a_persons_column_keeps_its_type(tmp_path, column, values, rule):
    """Optional columns are checked wherever they are filled."""
    path = parquet(tmp_path / "people.parquet", people(3, **{column: pl.Series(values, strict=False)}))

    assert f"people.parquet: {column} {rule}" == refused("people", path)


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_a_file_without_rows_is_refused(tmp_path, suffix):
    """Nothing is replaced by nothing."""
    path = tmp_path / f"signals.{suffix}"
    signals(0).write_parquet(path) if suffix == "parquet" else signals(0).write_csv(path)

    assert f"signals.{suffix}: has no rows." == refused("signals", str(path))


HEADER = b"data_date,topic_id,hashed_email,score\n"
LINE = f"2026-05-04,1,{'a' * 64},50\n".encode()


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("signals.json", b"{}", "the name must end with .parquet, .csv or .csv.gz."),
        ("signals.parquet", b"", "is not a whole Parquet file."),
        ("signals.parquet", b"PAR1 and then something else", "is not a whole Parquet file."),
        ("signals.parquet", b"PAR1" + b"x" * 50 + b"\x10\0\0\0PAR1", "is not a Parquet file that ClickHouse can read."),
        ("signals.csv", b"", "has no column data_date."),
        ("signals.csv", b"\xff\xfe\x00" * 9, "is not a CSV in UTF-8."),
        (
            "signals.csv",
            HEADER.replace(b",", b";") + LINE,
            "has an unknown column 'data_date;topic_id;hashed_email;score'.",
        ),
        ("signals.csv", HEADER.replace(b"topic_id", b"score") + LINE, "has the column score twice."),
        ("signals.csv", HEADER + LINE + b"2026-05-04,1\n", "row 2 cannot be read as CSV."),
        ("signals.csv", HEADER + LINE * 2 + b'2026-05-04,"1\n', "row 3 cannot be read as CSV."),
        ("signals.csv.gz", HEADER + LINE, "is not a whole gzip file."),
        ("signals.csv.gz", gzip.compress(HEADER + LINE)[:-9], "is not a whole gzip file."),
    ],
)
def test_a_file_that_is_not_what_it_is_called_is_refused(tmp_path, name, content, sentence):
    """Broken files are named, with the row where reading stopped."""
    (tmp_path / name).write_bytes(content)

    assert f"{name}: {sentence}" == refused("signals", str(tmp_path / name))


def test_a_zipped_file_that_ends_early_is_refused(clickhouse, tmp_path):
    """A download that broke off is noticed while it is sent, and the rows before the break are not kept."""
    whole = gzip.compress(HEADER + b"".join(LINE.replace(b",1,", b",%d," % it) for it in range(200_000)))
    (tmp_path / "signals.csv.gz").write_bytes(whole[: len(whole) // 2])

    assert "signals.csv.gz: is not a whole gzip file." == refused("signals", str(tmp_path / "signals.csv.gz"))
    assert 0 == leftovers(clickhouse)


def test_a_large_file_that_breaks_early_is_refused(tmp_path):
    """ClickHouse may answer before a file is sent whole, and the answer still names the row."""
    (tmp_path / "signals.csv").write_bytes(HEADER + LINE + b"broken\n" + LINE * 300_000)

    assert "signals.csv: row 2 cannot be read as CSV." == refused("signals", str(tmp_path / "signals.csv"))


def test_tables_of_a_killed_load_are_dropped_after_a_day(clickhouse, tmp_path):
    """What a killed load left is cleared by a later one, what another load is using is not."""
    clickhouse.command(f"CREATE TABLE load_{'a' * 32}_staged (x Int8) ENGINE = Log")

    loaded("topics", parquet(tmp_path / "topics.parquet", topics()))

    assert 1 == leftovers(clickhouse)


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
    program = Path(sys.executable).with_name("audience-worker")

    done = subprocess.run(
        [program, "data", "load", "topics", path],
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
