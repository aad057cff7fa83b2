"""Results over HTTP: pages of people by rank (test_results_refused.py: what is answered where there are none)."""

from concurrent.futures import ThreadPoolExecutor
from itertools import count

import builders
import frozen
import jsonschema
import pytest
import web

from api.app import create
from worker import clickhouse as door
from worker import person

TOPIC = {"topic_id": "topicId", "name": "topicName", "type": "type", "industry": "industry", "category": "category"}


@pytest.fixture
def address(stores):
    """The HTTP side over stores that can hold results."""
    with web.served(create()) as address:
        yield address


@pytest.fixture
def asked(monkeypatch):
    """Collect what this process asks ClickHouse: the values bound, and the bounds."""
    queries, query = [], door.query

    def listen(sql, parameters, **options):
        queries.append((parameters, options))
        return query(sql, parameters, **options)

    monkeypatch.setattr(door, "query", listen)
    return queries


def shaped(row):
    """Put a row of ClickHouse, as its own JSON has it, into the form that clients see."""
    topics = [{TOPIC[name]: value for name, value in topic.items()} for topic in row["matched_topics"]]
    intent = {"score": row["score"], "topicOverlap": row["topic_overlap"], "matchedTopics": topics}
    shown = {"intent": intent}
    for field in person.FIELDS:
        *groups, name = field.name.split(".")
        place = shown
        for group in groups:
            place = place.setdefault(group, {})
        place[name] = row[field.column]
    return shown


def test_results_are_the_rows_of_the_snapshot(client, organization, clickhouse):
    """Every field of every row is what ClickHouse holds: null is null, empty is empty, topics are named."""
    claim = frozen.completed(clickhouse, organization, 500)

    answer = client.get(f"{frozen.path(claim)}/results", params={"limit": 500})

    data = answer.json()["data"]
    assert (200, "completed", 500, 500, 0) == (
        answer.status_code,
        *(data[name] for name in ("state", "total", "limit", "offset")),
    )
    assert [shaped(row) for row in frozen.rows_of(clickhouse, claim)] == data["results"]
    assert data["run"].items() <= client.get(frozen.path(claim)).json()["data"].items()


@pytest.mark.parametrize("what", ["results", "stats"])
def test_what_is_answered_is_what_openapi_describes(client, organization, clickhouse, what):
    """A whole answer validates against the app's own schema, which allows nothing beside what it names."""
    path = frozen.path(frozen.completed(clickhouse, organization, 300))
    document = client.get("/openapi.json").json()
    template = "/v1/intent/audiences/{id}/runs/{runId}/" + what
    described = document["paths"][template]["get"]["responses"]["200"]

    answer = client.get(f"{path}/{what}")

    schema = {**described["content"]["application/json"]["schema"], "components": document["components"]}
    jsonschema.validate(
        answer.json(), schema, jsonschema.Draft202012Validator, format_checker=jsonschema.FormatChecker()
    )
    known = document["components"]["schemas"]["Person"]["properties"]
    assert {field.name.split(".")[0] for field in person.FIELDS} | {"intent"} == set(known)
    assert described["headers"].keys() <= {name for name in described["headers"] if name in answer.headers}


def test_pages_together_are_the_whole(client, organization, clickhouse):
    """A client who goes on until offset plus results reach total has seen every row once, in order."""
    claim = frozen.completed(clickhouse, organization, 23)
    seen, total = [], 1

    for offset in count(0, 5):
        if offset >= total:
            break
        page = client.get(f"{frozen.path(claim)}/results", params={"limit": 5, "offset": offset}).json()["data"]
        seen += page["results"]
        total = page["total"]

    assert [row["hashed_email"] for row in frozen.rows_of(clickhouse, claim)] == [row["hashedEmail"] for row in seen]


@pytest.mark.parametrize("what", ["results", "stats", "export.csv"])
def test_every_query_is_named_bounded_and_told_its_day(client, organization, clickhouse, asked, what):
    """One short query answers, under the id that the header tells, on the day's part of the table alone."""
    claim = frozen.completed(clickhouse, organization, 2)
    path = f"{frozen.path(claim)}/{what}"

    told = [client.get(path).headers["X-ClickHouse-Query-Id"] for _ in range(2)]

    bounds = {"options": {"max_execution_time": 20}, "seconds": 25}
    run = builders.run_row(claim.run_id)
    days = [(run["written_on"], str(run["snapshot_key"]))] * 2
    assert ([{**bounds, "query_id": one} for one in told], 2) == ([options for _, options in asked], len(set(told)))
    assert days == [(values["written_on"], values["snapshot_key"]) for values, _ in asked]


def test_each_thread_keeps_its_connection(client, organization, clickhouse, caplog):
    """As many requests as there are threads leave no connection over that must be thrown away."""
    path = f"{frozen.path(frozen.completed(clickhouse, organization, 200))}/results"
    client.get(path)

    with ThreadPoolExecutor(16) as clients:
        answers = list(clients.map(client.get, [path] * 64))

    assert {200} == {one.status_code for one in answers}
    assert "Connection pool is full" not in caplog.text


def test_a_preview_shows_the_rows_that_are_kept(client, organization, clickhouse):
    """Its counts are whole, and its total is what a client can page through."""
    claim = frozen.completed(clickhouse, organization, 1000, rows=100, run_type="preview")

    data = client.get(f"{frozen.path(claim)}/results", params={"limit": 500}).json()["data"]

    assert (1000, 100, 100) == (data["run"]["resultCount"], data["total"], len(data["results"]))


@pytest.mark.parametrize("what", ["results", "stats", "export.csv"])
def test_fewer_rows_than_the_run_has_are_no_answer(client, organization, clickhouse, what):
    """A page that the snapshot cannot fill would keep a client paging for ever, and rows that are lost do not come back: a 500."""
    claim = frozen.completed(clickhouse, organization, 20, rows=19)

    assert 500 == client.get(f"{frozen.path(claim)}/{what}").status_code
