"""Files as a source of data would write them, and the command line that loads them."""

import hashlib
import logging
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
from clickhouse_connect.driver.client import Client
from typer.testing import CliRunner, Result

from cli.main import app

MONDAY, TUESDAY = date(2026, 5, 4), date(2026, 5, 5)
TOMORROW = datetime.now(UTC).date() + timedelta(days=1)


def email(number: int) -> str:
    """The hashed e-mail of a made-up person."""
    return hashlib.sha256(f"{number}@example.com".encode()).hexdigest()


def signals(rows: int = 3, **columns: Any) -> pl.DataFrame:
    """Signals of Monday, as a source would write them."""
    made = {
        "data_date": [MONDAY] * rows,
        "topic_id": list(range(1, rows + 1)),
        "hashed_email": [email(number) for number in range(rows)],
        "score": [50 + number % 50 for number in range(rows)],
    }
    return pl.DataFrame({**made, **columns})


def people(rows: int = 3, **columns: Any) -> pl.DataFrame:
    """People with the one column that they must have, and others as asked."""
    return pl.DataFrame({"hashed_email": [email(number) for number in range(rows)], **columns})


def topics(rows: int = 3, **columns: Any) -> pl.DataFrame:
    """Topics with the two columns that they must have, and others as asked."""
    made = {"topic_id": list(range(1, rows + 1)), "name": [f"Topic {number}" for number in range(rows)]}
    return pl.DataFrame({**made, **columns})


def parquet(path: Path, frame: pl.DataFrame) -> str:
    """Write a Parquet file."""
    frame.write_parquet(path)
    return str(path)


def command(*arguments: str) -> Result:
    """Run the command line in this process, and put the logging of the test run back."""
    handlers, level = logging.root.handlers[:], logging.root.level
    try:
        return CliRunner().invoke(app, ["data", *arguments])
    finally:
        logging.root.handlers[:] = handlers
        logging.root.setLevel(level)


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


def leftovers(clickhouse: Client) -> int:
    """Count the tables that loads have left behind."""
    tables = "SELECT count() FROM system.tables WHERE database = currentDatabase() AND name LIKE 'load_%'"
    return int(clickhouse.query(tables).result_rows[0][0])
