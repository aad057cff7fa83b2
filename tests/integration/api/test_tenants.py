"""Two organizations: whatever one names of the other is not there, and nothing shows that it is."""

from uuid import uuid4

import builders
import published
import pytest
import web

from api.app import create
from worker import exports
from worker.database import transaction

UNLISTED = ("get", "post", "put", "patch", "delete")


@pytest.fixture
def address(stores):
    """The HTTP side over stores that hold a day of data."""
    with web.served(create()) as address:
        yield address


@pytest.fixture
def theirs(clickhouse, organization):
    """What an organization has: an audience, a completed run, a queued one, an export."""
    audience_id, run_id = published.completed(clickhouse, organization)
    waiting = builders.queued(audience_id, data_date=published.DAY)
    with transaction() as connection:
        export = exports.get(connection, organization, run_id)
    return {"id": audience_id, "runId": run_id, "waiting": waiting, "exportId": export["id"]}


def named(operations, names):
    """Fill the names of things into the paths that take any."""
    for path, methods in operations.items():
        for method in methods.keys() & set(UNLISTED):
            if "{" in path:
                filled = path
                for name, value in names.items():
                    filled = filled.replace(f"{{{name}}}", str(value))
                yield method, path, filled


def told(client, method, path):
    """Return what an answer says, without the ids it was asked for and without its date."""
    body = {"json": {"name": "Stolen"}} if method in ("patch", "put") else {}
    answer = client.request(method, path, **body)
    error = answer.json().get("error", {})
    return answer.status_code, error.get("code"), error.get("details"), sorted(answer.headers.keys())


def test_another_s_things_are_not_there(stranger, theirs):
    """Every documented path answers the other's ids as it answers ids of nothing, with 404."""
    operations = stranger.get("/openapi.json").json()["paths"]
    nothing = {name: uuid4() for name in ("id", "runId", "exportId")}
    before = builders.everything()

    asked = 0
    for run in ("runId", "waiting"):
        names = {**theirs, "runId": theirs[run]}
        pairs = zip(sorted(named(operations, names)), sorted(named(operations, nothing)), strict=True)
        for (method, template, path), (_, _, empty) in pairs:
            asked += 1
            assert (method, template, 404) == (method, template, told(stranger, method, path)[0])
            assert told(stranger, method, empty) == told(stranger, method, path)

    after = builders.everything()
    assert (True, {}) == (
        asked >= 2 * 10,
        {name: after[name] for name in after if name != "api_keys" and after[name] != before[name]},
    )


def test_another_s_run_in_one_s_own_audience_is_not_there(stranger, client, theirs, organization):
    """A run is found below its own audience only, whoever asks."""
    own = builders.saved(organization_id=organization)

    answer = client.get(f"/v1/intent/audiences/{own}/runs/{theirs['runId']}")

    assert (404, "RUN_NOT_FOUND") == (answer.status_code, answer.json()["error"]["code"])


def test_lists_hold_one_s_own_things_only(stranger, client, theirs):
    """The other's audiences are in no list of ours."""
    mine = client.get("/v1/intent/audiences").json()["data"]

    assert ([str(theirs["id"])], []) == (
        [one["id"] for one in mine],
        stranger.get("/v1/intent/audiences").json()["data"],
    )
