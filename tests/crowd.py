"""A day of people in ClickHouse who all research the same topic."""

from datetime import date
from typing import Final

from clickhouse_connect.driver.client import Client

from worker import loads

DAY: Final = date(2026, 5, 6)


def filled(clickhouse: Client, people: int) -> None:
    """Load people who all research topic 1, and make the day ready."""
    clickhouse.command(
        "INSERT INTO people (hem_hash, hashed_email) SELECT cityHash64(email), email FROM ("
        "SELECT lower(hex(SHA256(toString(number)))) AS email FROM numbers({people:UInt32}))",
        parameters={"people": people},
    )
    clickhouse.command(
        "INSERT INTO intent_signals SELECT {day:Date}, 1, cityHash64(lower(hex(SHA256(toString(number))))), 80"
        " FROM numbers({people:UInt32})",
        parameters={"people": people, "day": DAY},
    )
    clickhouse.command("INSERT INTO topics (topic_id, name) VALUES (1, 'One')")
    clickhouse.command(
        "INSERT INTO data_loads (dataset, data_date, version, rows) SELECT name, {day:Date}, 1, {people:UInt32}"
        " FROM (SELECT arrayJoin(['people', 'signals']) AS name)",
        parameters={"people": people, "day": DAY},
    )
    loads.watch()


def slowed(clickhouse: Client) -> None:
    """Let whoever reads people take his time."""
    clickhouse.command("RENAME TABLE people TO people_kept")
    clickhouse.command(
        "CREATE VIEW people AS SELECT * FROM people_kept WHERE hashed_email NOT IN ("
        "SELECT toString(sleepEachRow(0.5)) FROM numbers(100) SETTINGS max_block_size = 1)"
    )


def hastened(clickhouse: Client) -> None:
    """Undo it."""
    clickhouse.command("DROP VIEW people")
    clickhouse.command("RENAME TABLE people_kept TO people")


def until_running(clickhouse: Client, query_id: str) -> None:
    """Return once a query is seen running."""
    running = "SELECT count() FROM system.processes WHERE query_id = {id:String}"
    for _ in range(200):
        if clickhouse.query(running, parameters={"id": query_id}).result_rows[0][0]:
            return
        clickhouse.query("SELECT sleep(0.05)")
    raise TimeoutError("the query did not start")
