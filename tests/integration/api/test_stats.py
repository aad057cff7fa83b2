"""Stats over HTTP: fill rates, the histogram of scores, averages (test_results_refused.py: where there are none)."""

import frozen
import pytest
import web

from api.app import create
from worker import person


@pytest.fixture
def address(stores):
    """The HTTP side over stores that can hold results."""
    with web.served(create()) as address:
        yield address


def share(some, total):
    """Count, and say what percentage that is."""
    return {"count": len(some), "percent": round(100 * len(some) / total, 2)}


@pytest.mark.parametrize("results", [1, 7, 300])
def test_stats_are_those_of_the_rows(client, organization, clickhouse, results):
    """What ClickHouse counts is what counting its rows one by one gives; false and 0 are filled, empty is not."""
    claim = frozen.completed(clickhouse, organization, results)
    rows = frozen.rows_of(clickhouse, claim)

    answer = client.get(f"{frozen.path(claim)}/stats")

    data = answer.json()["data"]
    scores = [row["score"] for row in rows]
    assert (200, "completed", results) == (answer.status_code, data["state"], data["stats"]["total"])
    assert {
        field.name: share([row for row in rows if row[field.column] not in (None, "")], results)
        for field in person.FIELDS
    } == data["stats"]["fillRates"]
    assert [
        {"bucket": f"{low}-{high}", **share([score for score in scores if low <= score <= high], results)}
        for low, high in ((50, 69), (70, 89), (90, 99))
    ] == data["stats"]["scoreHistogram"]
    averages = {"score": sum(scores), "topicOverlap": sum(row["topic_overlap"] for row in rows)}
    assert {name: round(of / results, 2) for name, of in averages.items()} == data["stats"]["averages"]
