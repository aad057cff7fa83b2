"""A completed run over real stores, of people about whom everything is known."""

from datetime import date
from typing import Any
from uuid import UUID

from clickhouse_connect.driver.client import Client

from worker import audience, audiences, drain, loads, manual, person
from worker.database import transaction

DAY = date(2026, 5, 4)
KNOWN = {"String": "'known'", "Bool": "true", "UInt32": "7", "Date": "toDate('2026-01-02')"}


def completed(clickhouse: Client, organization_id: UUID, *, people: int = 3, **saved: Any) -> tuple[UUID, UUID]:
    """
    Load people of whom every field is known, run an audience that finds them all, and return its id and the run's.

    :param saved: further columns of the audience, as :func:`worker.audiences.add` takes them
    """
    _load(clickhouse, people)
    with transaction() as connection:
        audience_id = audiences.add(
            connection,
            **{
                "organization_id": organization_id,
                "name": "Everybody",
                "config": audience.parse({"topicIds": [1, 2]}),
                **saved,
            },
        )
    run = manual.queue(audience_id)
    drained = drain.drain("manual", "test@here")
    assert drained["completed"] == 1, drained
    return audience_id, run.run_id


def _load(clickhouse: Client, people: int) -> None:
    """Load the day, its people and topics, and make it ready."""
    columns = ", ".join(field.column for field in person.FIELDS)
    known = ", ".join(_known(field.type) for field in person.FIELDS[1:])
    clickhouse.command(
        f"INSERT INTO people (hem_hash, {columns}) SELECT cityHash64(hashed), hashed, {known}"
        " FROM (SELECT lower(hex(SHA256(toString(number)))) AS hashed FROM numbers({people:UInt32}))",
        parameters={"people": people},
    )
    clickhouse.command(
        "INSERT INTO intent_signals SELECT {day:Date}, topic, hem_hash, 80 FROM people ARRAY JOIN [1, 2] AS topic",
        parameters={"day": DAY},
    )
    clickhouse.command(
        "INSERT INTO topics (topic_id, name, type, industry, category) VALUES"
        " (1, 'Internet Marketing Automation', 'b2b', 'Marketing', 'Technology'),"
        " (2, 'Sales Forecasts', 'b2b', 'Sales', 'Technology')"
    )
    loads.make_ready(DAY)
    loads.watch()


def _known(kind: str) -> str:
    """Return a value of a column's type, as ClickHouse spells it."""
    return next(value for name, value in KNOWN.items() if name in kind)
