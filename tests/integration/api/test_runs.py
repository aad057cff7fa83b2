"""Runs over HTTP: queue, list, read, cancel."""

import builders
import pytest

from worker import runs, settings
from worker.database import transaction
from worker.errors import ConfigRefused


@pytest.fixture
def audience_id(client, organization):
    """An audience of the organization, and a ready day."""
    builders.ready(builders.MONDAY)
    return builders.saved(organization_id=organization)


@pytest.fixture
def path(audience_id):
    """Where the audience's runs are."""
    return f"/v1/intent/audiences/{audience_id}/runs"


def test_a_run_is_queued(client, path, audience_id, organization):
    """A new run is answered with 202 and the whole run."""
    answer = client.post(path, json={"runType": "manual"})

    run = answer.json()["data"]
    assert 202 == answer.status_code
    assert (str(audience_id), str(organization)) == (run["audienceId"], run["organizationId"])
    assert ("queued", "manual", "2026-05-04", 0) == (run["status"], run["runType"], run["dataDate"], run["attempts"])
    assert f"res_{run['id'].replace('-', '')}" == run["resultKey"]
    assert answer.headers["X-Request-Id"] == answer.json()["meta"]["request_id"]


def test_a_body_may_be_left_out(client, path):
    """Queueing without a body queues a manual run."""
    assert 202 == client.post(path).status_code


def test_the_same_key_answers_with_the_same_run(client, path):
    """A key names its run, also when that run is over."""
    first = client.post(path, headers={"Idempotency-Key": "once"})
    client.delete(f"{path}/{first.json()['data']['id']}")
    second = client.post(path, headers={"Idempotency-Key": "once"})

    assert (202, 200) == (first.status_code, second.status_code)
    assert (first.json()["data"]["id"], "cancelled") == (second.json()["data"]["id"], second.json()["data"]["status"])
    assert "once" == second.json()["data"]["idempotencyKey"]


def test_what_is_in_flight_is_returned(client, path):
    """A second request without a key meets the run that waits."""
    first, second = client.post(path), client.post(path)

    assert (202, 200) == (first.status_code, second.status_code)
    assert first.json()["data"]["id"] == second.json()["data"]["id"]


def test_a_waiting_daily_run_moves_to_the_manual_lane(client, path, audience_id):
    """A daily run of the same config and day is returned, and somebody waits for it now."""
    daily = builders.queued(audience_id, run_type="daily", lane="daily", data_date=builders.MONDAY)

    answer = client.post(path)

    assert (200, str(daily)) == (answer.status_code, answer.json()["data"]["id"])
    assert "manual" == builders.run_row(daily)["lane"]


@pytest.mark.parametrize("body", [{"runType": "daily"}, {"runType": "preview"}, {"runType": None}, {"run": 1}, [], "x"])
def test_only_manual_runs_can_be_asked_for(client, path, body):
    """Any other run type, and anything that is no such request, is refused."""
    answer = client.post(path, json=body)

    assert (400, "INVALID_REQUEST") == (answer.status_code, answer.json()["error"]["code"])


@pytest.mark.parametrize("key", ["", "k" * 121, "caf\u00e9"])
def test_a_key_that_cannot_be_kept_is_refused(client, path, key):
    """A key has 1 to 120 printable ASCII characters."""
    answer = client.post(path, headers={"Idempotency-Key": key.encode()})

    assert (400, "INVALID_REQUEST") == (answer.status_code, answer.json()["error"]["code"])


def test_without_a_ready_day_nothing_is_queued(client, organization):
    """A refusal says so and uses no key up."""
    path = f"/v1/intent/audiences/{builders.saved(organization_id=organization)}/runs"
    early = client.post(path, headers={"Idempotency-Key": "once"})
    builders.ready(builders.MONDAY)
    later = client.post(path, headers={"Idempotency-Key": "once"})

    assert (409, "DATA_NOT_READY", 202) == (early.status_code, early.json()["error"]["code"], later.status_code)


def test_runs_are_listed_newest_first(client, path, audience_id):
    """The list holds as many runs as asked for, the newest first."""
    ids = [
        str(builders.queued(audience_id, created_at=builders.NOON + number * builders.MINUTE)) for number in range(3)
    ]

    assert ids[:0:-1] == [run["id"] for run in client.get(path, params={"limit": 2}).json()["data"]]


@pytest.mark.parametrize("limit", ["0", "101", "-1", "many", "1.5"])
def test_a_limit_out_of_bounds_is_refused(client, path, limit):
    """A list holds 1 to 100 runs."""
    answer = client.get(path, params={"limit": limit})

    assert (400, "limit") == (answer.status_code, answer.json()["error"]["details"][0]["field"])


def test_a_run_is_read(client, path):
    """A run is read as it was queued, with what changed since the run before: nothing yet."""
    queued = client.post(path).json()["data"]

    nothing = dict.fromkeys(("comparedWith", "peopleNew", "peopleLeft", "anomaly")) | {"held": False}
    assert queued | nothing == client.get(f"{path}/{queued['id']}").json()["data"]


def test_a_queued_run_is_cancelled_once(client, path):
    """Cancelling answers with the cancelled run, and a second time with its own code."""
    run_id = client.post(path).json()["data"]["id"]

    first, second = client.delete(f"{path}/{run_id}"), client.delete(f"{path}/{run_id}")

    assert (200, "cancelled") == (first.status_code, first.json()["data"]["status"])
    assert (409, "RUN_ALREADY_CANCELLED") == (second.status_code, second.json()["error"]["code"])


@pytest.mark.parametrize("state", ["running", "completed", "failed"])
def test_only_a_queued_run_can_be_cancelled(client, audience_id, path, state):
    """Each other state has a code of its own."""
    claim = builders.held(audience_id, run_type="manual", now=None)
    with transaction() as connection:
        if state == "completed":
            runs.complete(connection, claim, builders.published())
        if state == "failed":
            runs.set_back(connection, claim, ConfigRefused(), settings.current().retry_policy)

    answer = client.delete(f"{path}/{claim.run_id}")

    assert (409, f"RUN_ALREADY_{state.upper()}") == (answer.status_code, answer.json()["error"]["code"])


@pytest.mark.parametrize("name", ["not-an-id", "79bbdc99c13e4a82b13962139910848", "%00"])
def test_a_malformed_id_is_nothing_s_name(client, path, name):
    """A path that cannot name a run names none, and one that cannot name an audience names none either."""
    run, audience = client.get(f"{path}/{name}"), client.get(f"/v1/intent/audiences/{name}/runs")

    assert (404, "RUN_NOT_FOUND") == (run.status_code, run.json()["error"]["code"])
    assert (404, "AUDIENCE_NOT_FOUND") == (audience.status_code, audience.json()["error"]["code"])
