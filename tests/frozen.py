"""A run over results made up in ClickHouse: every field sometimes null, empty, or awkward to spell."""

import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import builders
import pytest
from clickhouse_connect.driver.client import Client

from local.process import free_port
from worker import clickhouse as door
from worker import exports, person, runs, settings
from worker.database import transaction

AWKWARD = ("", "plain", 'a,"b"\r\nc', "=1+1", "ünlike 名前 🙂", "+1 (800) 555-1212", "-", " a ", "'a'")


def completed(
    clickhouse: Client | None,
    organization_id: UUID,
    results: int,
    *,
    rows: int | None = None,
    run_type: str = "manual",
    expire: timedelta = timedelta(days=90),
) -> runs.Claim:
    """
    Complete a run of as many results, its stored export queued, and return the claim that was held on it.

    :param clickhouse: where its snapshot is written; None for a run without one
    :param rows: how many stand in its snapshot, where they are not as many as its results
    :param expire: how long from now its results are kept
    """
    now = datetime.now(UTC)
    claim = builders.held(builders.saved(organization_id=organization_id), run_type=run_type, now=None)
    published = replace(
        builders.published(results, results),
        snapshot_key=uuid4(),
        written_on=now.date(),
        results_expire_at=now + expire,
    )
    if clickhouse:
        freeze(clickhouse, published.snapshot_key, published.written_on, results if rows is None else rows)
    with transaction() as connection:
        runs.complete(connection, claim, published)
        names = {"organization_id": organization_id, "audience_id": claim.audience_id, "run_id": claim.run_id}
        exports.queue(connection, **names)
    return claim


def path(claim: runs.Claim) -> str:
    """Where a run is."""
    return f"/v1/intent/audiences/{claim.audience_id}/runs/{claim.run_id}"


def lead_nowhere(patch: pytest.MonkeyPatch) -> None:
    """Lead this process to a ClickHouse that is not there, from now on."""
    patch.setenv("CLICKHOUSE_URL", f"http://127.0.0.1:{free_port()}/default")
    settings.current.cache_clear()
    door.forget()


def freeze(clickhouse: Client, snapshot_key: UUID, written_on: date, rows: int) -> None:
    """Write a snapshot whose values follow from their rank, beside another one of the same day."""
    columns = ", ".join(person.COLUMNS)
    values = ", ".join(_value(field) for field in person.FIELDS)
    for key in (snapshot_key, uuid4()):
        clickhouse.command(
            f"""
            INSERT INTO audience_results
                (snapshot_key, written_on, rank, data_date, hem_hash, score, topic_overlap, matched_topics, {columns})
            WITH
                {_array(AWKWARD)} AS awkward,
                arrayMap(
                    topic -> (topic, if(topic % 2 = 0, NULL, concat('Topic "', toString(topic), '"')), 'b2b', NULL, 'x'),
                    range(1, 2 + number % 3)
                ) AS topics
            SELECT
                {{key:UUID}}, {{day:Date}}, number + 1, {{day:Date}}, number,
                99 - intDiv(number * 50, greatest({{rows:UInt64}}, 1)), length(topics), topics, {values}
            FROM numbers({{rows:UInt64}})
            """,
            parameters={"key": str(key), "day": written_on, "rows": rows if key == snapshot_key else 10},
        )


def rows_of(clickhouse: Client, claim: runs.Claim) -> list[dict[str, Any]]:
    """Read a run's rows by another way than the project does: whole, as JSON, in the order of their ranks."""
    run = builders.run_row(claim.run_id)
    text = clickhouse.raw_query(
        "SELECT * FROM audience_results WHERE snapshot_key = {key:UUID} ORDER BY rank",
        parameters={"key": str(run["snapshot_key"])},
        fmt="JSONEachRow",
    )
    return [json.loads(line) for line in text.decode().splitlines()]


def _value(field: person.Field) -> str:
    """Return how ClickHouse makes a value of a field's column up."""
    chance = f"cityHash64(number, '{field.column}')"
    made = {
        "String": f"concat(awkward[1 + {chance} % {len(AWKWARD)}], if({chance} % 3 = 0, toString(number % 1000), ''))",
        "Bool": f"{chance} % 2",
        "UInt32": f"{chance} % 3",
        "Date": f"toDate('2026-01-02') + {chance} % 100",
    }
    if "Nullable" not in field.type:
        return "lower(hex(SHA256(toString(number))))"
    return f"if({chance} % 5 = 0, NULL, {next(how for kind, how in made.items() if kind in field.type)})"


def _array(texts: tuple[str, ...]) -> str:
    """Spell texts as ClickHouse does."""
    return "[" + ", ".join(f"unhex('{text.encode().hex()}')" for text in texts) + "]"
