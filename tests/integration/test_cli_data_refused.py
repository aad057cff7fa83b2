"""Files that will not do: one plain sentence, exit code 2, nothing replaced."""

import gzip
from datetime import datetime

import polars as pl
import pytest
from source_files import MONDAY, TOMORROW, email, leftovers, loaded, parquet, people, refused, signals, topics


@pytest.fixture(autouse=True)
def _stores(stores):
    """Every test here has both stores, migrated and empty."""


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
        ("signals.csv.gz", gzip.compress(HEADER + LINE, mtime=0)[:-9], "is not a whole gzip file."),
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
