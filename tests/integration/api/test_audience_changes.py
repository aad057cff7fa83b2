"""Changing and deleting audiences over HTTP, and what becomes of their runs."""

from uuid import UUID

import builders
import pytest
import web

from worker import audience, audiences, runs
from worker.database import transaction

PATH = "/v1/intent/audiences"
CONFIG = {"topicIds": [3, 1, 3], "filters": {"role": {"isCeo": True}}}
OTHER = {"topicIds": [7]}
WISHES = {
    "name": "Sellers",
    "config": OTHER,
    "status": "active",
    "dailyRefreshEnabled": False,
    "refreshCron": "30 7 * * 1-5",
    "refreshWindowMinutes": 15,
    "timezone": "Europe/Berlin",
    "notifyEmails": ["ann@example.com", "bob@example.com"],
    "notifyOnManual": True,
}


@pytest.fixture
def mine(client):
    """An audience of the organization, as it was answered."""
    return created(client)


def created(client, **wishes):
    """Create an audience and return it."""
    answer = client.post(PATH, json={"name": "CEOs", "config": CONFIG, **wishes})
    assert answer.status_code == 201, answer.text
    return answer.json()["data"]


def changed(client, one, **wishes):
    """Change an audience and return it."""
    answer = client.patch(f"{PATH}/{one['id']}", json=wishes)
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


def statuses(*run_ids):
    """Read the statuses of runs."""
    return [builders.run_row(run_id)["status"] for run_id in run_ids]


def waiting(one):
    """Queue one daily run of an audience."""
    return builders.queued(one["id"], run_type="daily", lane="daily", due_at=builders.NOON)


def test_an_audience_s_whole_life(client):
    """It is created, listed, read, run, changed and deleted, and its finished run stays readable."""
    builders.ready(builders.MONDAY)
    one = created(client)
    path = f"{PATH}/{one['id']}"
    assert [one] == client.get(PATH).json()["data"]
    assert one == client.get(path).json()["data"]
    run = client.post(f"{path}/runs").json()["data"]
    changed(client, one, config=OTHER)
    [claim] = builders.claimed(now=None)
    with transaction() as connection:
        runs.complete(connection, claim, builders.published())

    gone = client.delete(path)

    assert (200, {"id": one["id"], "cancelledRuns": 0}) == (gone.status_code, gone.json()["data"])
    assert [] == client.get(PATH).json()["data"]
    later = client.get(f"{path}/runs/{run['id']}").json()["data"]
    assert ("completed", one["configHash"]) == (later["status"], later["configHash"])
    refused = [client.get(path), client.patch(path, json={}), client.delete(path)]
    refused += [client.get(f"{path}/runs"), client.post(f"{path}/runs")]
    assert [(404, "AUDIENCE_NOT_FOUND")] * 5 == [(it.status_code, it.json()["error"]["code"]) for it in refused]


def test_changing_nothing_changes_nothing(client, mine):
    """An empty change, and one to what is so already, leave even the time of the last change."""
    again = changed(client, mine, name="CEOs", status="draft", config={**CONFIG, "topicIds": [1, 3]})

    assert [mine, mine] == [changed(client, mine), again]


def test_each_field_changes_alone(client, mine):
    """A change leaves whatever it does not name."""
    for name, value in WISHES.items():
        before = client.get(f"{PATH}/{mine['id']}").json()["data"]
        after = changed(client, mine, **{name: value})
        also = {"config", "configHash"} if name == "config" else {name}

        differs = {it for it in after if after[it] != before[it]} - {"updatedAt", "nextRefreshAt"}

        assert differs <= also
        assert name == "config" or value == after[name]


def test_a_changed_config_has_a_new_hash_and_leaves_runs_alone(client, mine):
    """Queued, running and completed runs keep their hash; size and time wait for a run of the new config."""
    audience_id = UUID(mine["id"])
    finished = builders.held(audience_id, run_type="manual", data_date=builders.TUESDAY, now=None)
    with transaction() as connection:
        runs.complete(connection, finished, builders.published(results=7))
        audiences.refreshed(connection, finished.run_id)
    running = builders.held(audience_id, run_type="manual", data_date=builders.WEDNESDAY, now=None)
    queued = builders.queued(audience_id, run_type="manual", created_at=builders.NOON)
    before = client.get(f"{PATH}/{mine['id']}").json()["data"]

    after = changed(client, mine, config=OTHER)

    assert audience.parse(OTHER).hash == after["configHash"]
    old = {builders.run_row(it)["config_hash"] for it in (finished.run_id, running.run_id, queued)}
    assert {mine["configHash"]} == old
    assert ["completed", "running", "queued"] == statuses(finished.run_id, running.run_id, queued)
    for name in ("audienceSize", "lastRefreshedAt"):
        assert before[name] == after[name]


def test_the_first_run_of_a_changed_config_counts(client, mine):
    """It is taken over even when the former config was run against a later day."""
    audience_id = UUID(mine["id"])
    for day, results, config in ((builders.TUESDAY, 7, OTHER), (builders.MONDAY, 9, CONFIG)):
        claim = builders.held(audience_id, run_type="manual", data_date=day, now=None)
        with transaction() as connection:
            runs.complete(connection, claim, builders.published(results=results))
            audiences.refreshed(connection, claim.run_id)
        last = changed(client, mine, config=config)

    assert 9 == last["audienceSize"]


def test_pausing_cancels_what_waits_daily(client):
    """A paused audience has no next refresh, and its waiting daily run ends under a code of its own."""
    one = created(client, status="active")
    daily, by_hand = waiting(one), builders.queued(one["id"], run_type="manual")

    paused = changed(client, one, status="paused")

    assert ("paused", None) == (paused["status"], paused["nextRefreshAt"])
    assert ["cancelled", "queued"] == statuses(daily, by_hand)
    assert "AUDIENCE_PAUSED" == builders.run_row(daily)["error_code"]


@pytest.mark.parametrize("wish", [{"status": "draft"}, {"dailyRefreshEnabled": False}], ids=str)
def test_switching_the_refresh_off_cancels_what_waits_daily(client, wish):
    """Nobody wants the daily run of an audience that is no longer refreshed daily."""
    one = created(client, status="active")
    daily = waiting(one)

    assert changed(client, one, **wish)["nextRefreshAt"] is None
    assert ("cancelled", "REFRESH_SWITCHED_OFF") == tuple(
        builders.run_row(daily)[name] for name in ("status", "error_code")
    )


def test_other_changes_cancel_nothing(client):
    """A waiting daily run survives another name, config, schedule and circle of recipients."""
    one = created(client, status="active")
    daily = waiting(one)

    changed(client, one, **{**WISHES, "dailyRefreshEnabled": True})

    assert ["queued"] == statuses(daily)


def test_deleting_cancels_whatever_waits(client, mine):
    """Queued runs are cancelled and counted, a running one goes on, and each is still read by its id."""
    running = builders.held(UUID(mine["id"]), run_type="manual", now=None).run_id
    queued = [waiting(mine), builders.queued(mine["id"], run_type="manual", data_date=builders.TUESDAY)]

    gone = client.delete(f"{PATH}/{mine['id']}").json()["data"]

    found = [client.get(f"{PATH}/{mine['id']}/runs/{it}").json()["data"]["status"] for it in (running, *queued)]
    assert (2, ["running", "cancelled", "cancelled"]) == (gone["cancelledRuns"], found)


def test_changes_that_race_are_made_one_after_the_other(client, address, organization, mine):
    """Changes of every field at once are all kept, the config with its own hash."""
    wishes = list(WISHES.items())
    key = web.key_of(organization)

    def act(_engine, number):
        name, value = wishes[number]
        with web.client(address, key) as beside:
            return beside.patch(f"{PATH}/{mine['id']}", json={name: value}).status_code

    assert [200] * len(wishes) == builders.together(len(wishes), act)
    after = client.get(f"{PATH}/{mine['id']}").json()["data"]
    config = audience.parse(OTHER)
    expected = {**WISHES, "config": {**config.normalized, "sourceUrl": None}, "configHash": config.hash}
    assert expected == {name: after[name] for name in expected}


def test_a_change_that_meets_a_pause_ends_in_one_order_or_the_other(client, address, organization):
    """Whichever comes first, dates and status fit each other and the waiting daily run is cancelled once."""
    one = created(client, status="active")
    daily = waiting(one)
    key = web.key_of(organization)
    bodies = ({"status": "paused"}, {"refreshCron": "0 5 * * *"}) * 3

    def act(_engine, number):
        with web.client(address, key) as beside:
            return beside.patch(f"{PATH}/{one['id']}", json=bodies[number]).status_code

    assert [200] * 6 == builders.together(6, act)
    after = client.get(f"{PATH}/{one['id']}").json()["data"]
    assert ("paused", "0 5 * * *", None) == (after["status"], after["refreshCron"], after["nextRefreshAt"])
    assert ["cancelled"] == statuses(daily)


def test_of_two_deletions_one_is_answered_with_404(address, organization, mine):
    """Whoever comes second finds nothing."""
    key = web.key_of(organization)

    def act(_engine, _number):
        with web.client(address, key) as beside:
            return beside.delete(f"{PATH}/{mine['id']}").status_code

    assert [200, 404] == sorted(builders.together(2, act))
