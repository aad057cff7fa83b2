"""What is answered for a run whose results cannot be read, or need not be; ClickHouse has no part in it."""

import socket
from datetime import timedelta

import builders
import frozen
import pytest
from clickhouse_connect.driver import httputil

from api import reads, schemas
from worker import csv_format, person, runs, settings
from worker.database import transaction
from worker.errors import ConfigRefused

WHATS = ("results", "stats", "export.csv")
ANSWERS = {
    "queued": (202, 202, "RUN_NOT_COMPLETED"),
    "running": (202, 202, "RUN_NOT_COMPLETED"),
    "failed": ("RUN_FAILED", "RUN_FAILED", "RUN_NOT_COMPLETED"),
    "cancelled": ("RUN_CANCELLED", "RUN_CANCELLED", "RUN_NOT_COMPLETED"),
    "expired": ("RESULTS_EXPIRED", "RESULTS_EXPIRED", "RESULTS_EXPIRED"),
    "preview": (200, "RUN_IS_PREVIEW", "RUN_IS_PREVIEW"),
    "empty": (200, 200, 200),
}


@pytest.fixture(autouse=True)
def nowhere(tables, monkeypatch):
    """No ClickHouse at all."""
    frozen.lead_nowhere(monkeypatch)


def run_in(state, organization_id):
    """Bring a run into a state and return where it is."""
    if state in ("expired", "preview", "empty"):
        expire = timedelta(days=-1 if state == "expired" else 1)
        kind = "preview" if state == "preview" else "daily"
        return frozen.path(frozen.completed(None, organization_id, 0, run_type=kind, expire=expire))
    claim = builders.held(builders.saved(organization_id=organization_id), run_type="manual", now=None)
    with transaction() as connection:
        if state == "failed":
            runs.set_back(connection, claim, ConfigRefused(), settings.current().retry_policy)
        if state in ("queued", "cancelled"):
            runs.release(connection, claim)
        if state == "cancelled":
            runs.cancel(connection, organization_id, claim.run_id, claim.audience_id)
    return frozen.path(claim)


@pytest.mark.parametrize("state", ANSWERS)
def test_each_state_has_its_answer(client, organization, state):
    """Results, stats and CSV each say what the run's state means for them."""
    path = run_in(state, organization)

    answers = [client.get(f"{path}/{what}") for what in WHATS]

    told = tuple(
        one.json()["error"]["code"] if one.status_code == 409 else one.status_code  # a code goes with a 409 only
        for one in answers
    )
    assert ANSWERS[state] == told


@pytest.mark.parametrize("state", ["queued", "running"])
def test_a_pending_run_shows_itself(client, organization, state):
    """Beside its state, a run that waits or works is answered whole, with no results and null for stats."""
    path = run_in(state, organization)
    run = client.get(path).json()["data"]

    page = client.get(f"{path}/results", params={"limit": 50}).json()["data"]

    shown = {"run": {name: run[name] for name in schemas.IntentAudienceRun.model_json_schema()["properties"]}}
    shown["state"] = state
    assert {**shown, "results": [], "total": 0, "limit": 50, "offset": 0} == page
    assert {**shown, "stats": None} == client.get(f"{path}/stats").json()["data"]


@pytest.mark.parametrize(("results", "offset"), [(3, 3), (3, 2**31 - 1), (0, 0)])
def test_past_the_end_nothing_is_asked(client, organization, results, offset):
    """An offset at or past the total is answered without ClickHouse, and without a query's id."""
    path = frozen.path(frozen.completed(None, organization, results))

    answer = client.get(f"{path}/results", params={"offset": offset})

    data = answer.json()["data"]
    assert (200, [], results, offset) == (answer.status_code, data["results"], data["total"], data["offset"])
    assert "X-ClickHouse-Query-Id" not in answer.headers


def test_a_run_that_found_nobody_has_stats_of_zeros(client, organization):
    """Every field and every bucket is listed, and ClickHouse is not asked."""
    answer = client.get(f"{run_in('empty', organization)}/stats")

    none = {"count": 0, "percent": 0}
    expected = {
        "total": 0,
        "fillRates": {field.name: none for field in person.FIELDS},
        "scoreHistogram": [{"bucket": bucket, **none} for bucket in ("50-69", "70-89", "90-99")],
        "averages": {"score": 0, "topicOverlap": 0},
    }
    assert expected == answer.json()["data"]["stats"]
    assert "X-ClickHouse-Query-Id" not in answer.headers


def test_a_run_that_found_nobody_has_a_csv_with_a_header(client, organization):
    """Its four headers say so, and ClickHouse is not asked."""
    answer = client.get(f"{run_in('empty', organization)}/export.csv")

    names = ("X-Export-Row-Cap", "X-Export-Truncated", "X-Export-Result-Count")
    assert ",".join(csv_format.HEADER) + "\r\n" == answer.text
    assert ("300000", "false", "0") == tuple(answer.headers[name] for name in names)


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=501", "limit=x", "limit=", "offset=-1", f"offset={2**31}", "offset=1.5", "offset=x"]
)
def test_a_page_out_of_bounds_is_refused(client, organization, query):
    """A page holds 1 to 500 rows, from 0 on."""
    answer = client.get(f"{run_in('empty', organization)}/results?{query}")

    assert (400, query.split("=")[0]) == (answer.status_code, answer.json()["error"]["details"][0]["field"])


@pytest.mark.parametrize("what", WHATS)
def test_what_belongs_to_others_is_not_there(client, stranger, organization, what):
    """Neither another organization nor another audience of the same one leads to a run's results."""
    claim = frozen.completed(None, organization, 0)
    beside = builders.saved(organization_id=organization)

    answers = [
        stranger.get(f"{frozen.path(claim)}/{what}"),
        client.get(f"/v1/intent/audiences/{beside}/runs/{claim.run_id}/{what}"),
    ]

    assert [(404, "RUN_NOT_FOUND")] * 2 == [(one.status_code, one.json()["error"]["code"]) for one in answers]
    assert 200 == client.get(f"{frozen.path(claim)}/{what}").status_code


@pytest.mark.parametrize("what", WHATS)
def test_without_clickhouse_the_answer_is_503(client, organization, what):
    """A ClickHouse that is away is answered as such, says nothing of where it is, and leaves nothing behind."""
    path = frozen.path(frozen.completed(None, organization, 2))
    client.get(f"{path}/{what}")
    pools = len(httputil.all_managers)

    answers = [client.get(f"{path}/{what}") for _ in range(5)]

    told = {(one.status_code, one.json()["error"]["code"], one.json()["error"]["message"]) for one in answers}
    assert {(503, "UNAVAILABLE", "A server behind this one does not answer; try again soon.")} == told
    assert pools == len(httputil.all_managers)


def test_a_deaf_clickhouse_is_not_waited_for(client, organization, monkeypatch):
    """One that takes the connection and says nothing is a 503 after the time of a query and of the way there."""
    monkeypatch.setattr(reads, "ON_THE_WAY", 0)
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        monkeypatch.setenv("CLICKHOUSE_URL", f"http://127.0.0.1:{deaf.getsockname()[1]}")
        monkeypatch.setenv("WEB_QUERY_SECONDS", "1")
        settings.current.cache_clear()

        answer = client.get(f"{frozen.path(frozen.completed(None, organization, 2))}/results")

    assert (503, "UNAVAILABLE") == (answer.status_code, answer.json()["error"]["code"])
    assert timedelta(seconds=1) <= answer.elapsed < timedelta(seconds=20)
