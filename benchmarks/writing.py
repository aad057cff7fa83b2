"""
One process that writes one CSV: reads what to do as JSON on standard input, prints what it took.

By hand means: what one would write with clickhouse-connect and the csv module to get the same bytes.
"""

import csv
import hashlib
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import clickhouse_connect
from clickhouse_connect.driver.client import Client
from sqlalchemy import select

from benchmarks.site import timed
from worker import announce, csv_format, log, models, settings, storage
from worker.database import transaction

ROWS = """
SELECT {columns} FROM audience_results
WHERE written_on = {{written_on:Date}} AND snapshot_key = {{snapshot_key:UUID}} AND rank <= {{rows:UInt64}}
ORDER BY rank
"""


def main() -> None:
    """Do what is asked, and say what it took."""
    log.configure("console", "ERROR")
    order = json.load(sys.stdin)
    seconds, file = timed(lambda: _ours(order) if order["way"] == "ours" else _by_hand(order))
    peak = _peak()
    with file.open("rb") as stored:
        digest = hashlib.file_digest(stored, "sha1").hexdigest()
    print(json.dumps({"seconds": seconds, "peak": peak, "sha1": digest, "bytes": file.stat().st_size}))


def _ours(order: dict[str, Any]) -> Path:
    """Write the export that is due, as the announce worker does."""
    counts = announce.announce("benchmark@here", seconds=600, stopping=lambda: False)
    if counts.get("exports_completed") != 1:
        sys.exit(f"The export was not written: {counts}")
    with transaction() as connection:
        path = connection.scalar(select(models.exports.c.file_id).where(models.exports.c.run_id == order["run_id"]))
    found = storage.located(str(path))
    if found is None:
        sys.exit("The export does not lie in a folder.")
    return found


def _by_hand(order: dict[str, Any]) -> Path:
    """Read all rows, or block after block, and write them."""
    sql = ROWS.format(columns=", ".join(csv_format.COLUMNS))
    bound = {name: order[name] for name in ("written_on", "snapshot_key", "rows")}
    file = Path(order["file"])
    client = _client()
    with file.open("w", encoding="utf-8", newline="") as stored:
        writer = csv.writer(stored)
        writer.writerow(csv_format.HEADER)
        if order["way"] == "at once":
            writer.writerows(_cells(client.query(sql, parameters=bound).result_rows))
        else:
            with client.query_row_block_stream(sql, parameters=bound) as blocks:
                for block in blocks:
                    writer.writerows(_cells(block))
    return file


def _cells(rows: Iterable[Sequence[Any]]) -> Iterator[list[Any]]:
    """Spell what the csv module does not."""
    for row in rows:
        cells = [{True: "true", False: "false"}[cell] if isinstance(cell, bool) else cell for cell in row]
        cells[-1] = json.dumps([_topic(topic) for topic in row[-1]], ensure_ascii=False, separators=(",", ":"))
        yield cells


def _topic(topic: dict[str, Any]) -> dict[str, Any]:
    """Name a matched topic's columns as clients know them."""
    return {public: topic[column] for public, column in csv_format.TOPIC.items()}


def _client() -> Client:
    """Connect as a script would."""
    url = urlsplit(settings.current().clickhouse_url.get_secret_value())
    return clickhouse_connect.get_client(host=url.hostname or "", port=url.port or 8123, username=url.username or "")


def _peak() -> int:
    """The most memory that this process has held, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


if __name__ == "__main__":
    main()
