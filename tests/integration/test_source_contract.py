"""The statements of docs/source-contract.md, as they stand there."""

import re
from pathlib import Path

PAGE = (Path(__file__).parents[2] / "docs" / "source-contract.md").read_text(encoding="utf-8")
LAYOUT = (
    "index_granularity = 256, min_compress_block_size = 256, max_compress_block_size = 16384,"
    " string_serialization_version = 'single_stream',"
    " min_age_to_force_merge_seconds = 600, min_age_to_force_merge_on_partition_only = 1"
)


def _layout(clickhouse) -> str:
    """Return the settings that people is stored and merged by."""
    [[told]] = clickhouse.query(
        "SELECT engine_full FROM system.tables WHERE database = currentDatabase() AND name = 'people'"
    ).result_rows
    return str(told).partition(" SETTINGS ")[2]


def test_people_are_made_with_the_layout_and_an_older_table_is_given_it(clickhouse):
    """A new deployment has the layout; the page's statements bring it to a table with long granules and keep its rows."""
    made = _layout(clickhouse)
    clickhouse.command("DROP TABLE people SYNC")
    clickhouse.command(
        "CREATE TABLE people (hem_hash UInt64, hashed_email String) ENGINE = MergeTree ORDER BY hem_hash"
        " SETTINGS index_granularity = 1024"
    )
    clickhouse.command("INSERT INTO people SELECT number, toString(number) FROM numbers(3000)")
    (block,) = re.findall(r"^```sql\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    for statement in filter(str.strip, block.split(";")):
        clickhouse.command(statement)

    assert made == LAYOUT
    assert _layout(clickhouse) == LAYOUT
    assert (3000, 2999) == tuple(clickhouse.query("SELECT count(), max(hem_hash) FROM people").result_rows[0])
