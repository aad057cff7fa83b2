"""Audiences over HTTP: their whole life, and what is refused."""

import itertools
import json
from datetime import datetime
from uuid import UUID

import builders
import pytest
import web

from worker import audience, audiences, plan, runs
from worker.database import transaction

PATH = "/v1/intent/audiences"
CONFIG = {
    "topicIds": [3, 1, 3],
    "minScore": 20,
    "filters": {"role": {"isCeo": True}},
    "sourceUrl": "https://a.example/b",
}
OTHER = {"topicIds": [7]}
WISHES = {
    "name": "CEOs",
    "config": CONFIG,
    "status": "active",
    "dailyRefreshEnabled": True,
    "refreshCron": "30 7 * * 1-5",
    "refreshWindowMinutes": 15,
    "timezone": "Europe/Berlin",
    "notifyEmails": ["ann@example.com", "bob@example.com"],
    "notifyOnManual": True,
}
BAD_FIELDS = {
    "no name": ({"name": ""}, "name"),
    "blank name": ({"name": " "}, "name"),
    "long name": ({"name": "x" * 256}, "name"),
    "name of two lines": ({"name": "CEOs\nBcc: a@b.example"}, "name"),
    "name that ends its line": ({"name": "CEOs\n"}, "name"),
    "name of half a pair": ({"name": "CEOs\ud800"}, "name"),
    "null name": ({"name": None}, "name"),
    "unknown status": ({"status": "deleted"}, "status"),
    "null status": ({"status": None}, "status"),
    "text for a boolean": ({"dailyRefreshEnabled": "yes"}, "dailyRefreshEnabled"),
    "number for a boolean": ({"notifyOnManual": 1}, "notifyOnManual"),
    "cron": ({"refreshCron": "61 6 * * *"}, "refreshCron"),
    "cron of a day that never comes": ({"refreshCron": "0 6 30 2 *"}, "refreshCron"),
    "window": ({"refreshWindowMinutes": 1440}, "refreshWindowMinutes"),
    "negative window": ({"refreshWindowMinutes": -1}, "refreshWindowMinutes"),
    "text for a window": ({"refreshWindowMinutes": "60"}, "refreshWindowMinutes"),
    "zone": ({"timezone": "Europe/Atlantis"}, "timezone"),
    "recipient": ({"notifyEmails": ["ann@example.com", "nobody"]}, "notifyEmails"),
    "recipients": ({"notifyEmails": [f"a{n}@b.example" for n in range(21)]}, "notifyEmails"),
    "unknown field": ({"audienceSize": 7}, "audienceSize"),
    "the house's own name": ({"refresh_cron": "0 6 * * *"}, "refresh_cron"),
    "a name of half a pair": ({"\ud800": 7}, "body"),
    "a name that goes on": ({"x" * 9999: 7}, "x" * 60),
    "config": ({"config": None}, "config"),
    "config without topics": ({"config": {}}, "config.topicIds"),
    "config with text for a topic": ({"config": {"topicIds": [1, "2"]}}, "config.topicIds.1"),
    "crossed scores": ({"config": {"topicIds": [1], "minScore": 90, "maxScore": 80}}, "config.minScore"),
    "overlap": ({"config": {"topicIds": [1], "minTopicOverlap": 2}}, "config.minTopicOverlap"),
    "unknown filter": ({"config": {"topicIds": [1], "filters": {"role.is_king": True}}}, "config.filters.role.is_king"),
    "wrong payload": ({"config": {"topicIds": [1], "filters": {"role": {"isCeo": 1}}}}, "config.filters.role.isCeo"),
    "source": ({"config": {"topicIds": [1], "sourceUrl": "ftp://a.example"}}, "config.sourceUrl"),
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


def sent(client, method, path, body):
    """Send JSON that holds ASCII only, halves of surrogate pairs too."""
    headers = {"Content-Type": "application/json"}
    return client.request(method, path, content=json.dumps(body), headers=headers)


def test_a_new_audience_is_a_draft_unless_said_otherwise(client, organization):
    """Two fields are enough; the answer is 201 with the whole audience and where it is."""
    answer = client.post(PATH, json={"name": " CEOs ", "config": CONFIG})

    one = answer.json()["data"]
    assert (201, f"{PATH}/{one['id']}") == (answer.status_code, answer.headers["Location"])
    config = audience.parse(CONFIG)
    assert {
        "id": one["id"],
        "organizationId": str(organization),
        "name": "CEOs",
        "status": "draft",
        "dailyRefreshEnabled": True,
        "audienceSize": 0,
        "lastRefreshedAt": None,
        "config": {**config.normalized, "sourceUrl": "https://a.example/b"},
        "configHash": config.hash,
        "refreshCron": "0 6 * * *",
        "refreshWindowMinutes": 60,
        "timezone": "UTC",
        "notifyEmails": [],
        "notifyOnManual": False,
        "nextRefreshAt": None,
        "createdAt": one["createdAt"],
        "updatedAt": one["createdAt"],
    } == one


def test_every_wish_is_kept(client):
    """What is asked for is what is answered, with the next refresh of an active audience."""
    one = created(client, **WISHES)

    assert {name: value for name, value in WISHES.items() if name != "config"} == {
        name: one[name] for name in WISHES if name != "config"
    }
    row = builders.audience_row(one["id"])
    assert row["next_due_at"].replace(microsecond=0) == datetime.fromisoformat(one["nextRefreshAt"])


def test_a_completed_run_shows_in_its_audience(client, mine):
    """Size and time of the last refresh are those of the run."""
    claim = builders.held(UUID(mine["id"]), run_type="manual", now=None)
    with transaction() as connection:
        runs.complete(connection, claim, builders.published(results=7), now=builders.NOON)
        audiences.refreshed(connection, claim.run_id, now=builders.NOON)

    one = client.get(f"{PATH}/{mine['id']}").json()["data"]

    assert (7, "2026-05-06T12:00:00.000Z") == (one["audienceSize"], one["lastRefreshedAt"])


@pytest.mark.parametrize(("wishes", "field"), BAD_FIELDS.values(), ids=BAD_FIELDS)
def test_what_cannot_work_is_refused_by_field(client, wishes, field):
    """Creating and changing refuse the same, name the field as clients do, and write nothing."""
    one = created(client)
    before = builders.everything()["audiences"]
    body = {"name": "CEOs", "config": CONFIG, **wishes}

    answers = [sent(client, "POST", PATH, body), sent(client, "PATCH", f"{PATH}/{one['id']}", wishes)]

    assert [(400, "INVALID_REQUEST")] * 2 == [(it.status_code, it.json()["error"]["code"]) for it in answers]
    told = [it.json()["error"]["details"][0]["field"].removesuffix(".1") for it in answers]
    assert [field.removesuffix(".1")] * 2 == told
    assert before == builders.everything()["audiences"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'"x"', b"\xff", b"[" * 20_000, b'{"name": "x"}'])
def test_what_is_no_audience_is_refused(client, body):
    """A body that is no JSON, no object, or lacks what is required, is refused."""
    answer = client.post(PATH, content=body, headers={"Content-Type": "application/json"})

    assert (400, "INVALID_REQUEST") == (answer.status_code, answer.json()["error"]["code"])


def test_what_is_not_allowed_on_the_way_to_validation_is_said_so(client):
    """The path of validation is no audience's: other methods are not allowed there."""
    answer = client.get(f"{PATH}/validate")

    assert (405, "POST") == (answer.status_code, answer.headers["Allow"])


def test_a_refusal_repeats_no_address(client):
    """Addresses are personal data and stay out of answers."""
    answer = client.post(PATH, json={"name": "CEOs", "config": CONFIG, "notifyEmails": ["john.doe@"]})

    assert "notifyEmails: number 1 is not an e-mail address" == answer.json()["error"]["message"]


def test_pages_hold_the_newest_first(client, organization):
    """Limit and offset walk through all audiences, each once, and a status narrows them."""
    saved = [builders.saved(organization_id=organization, status=status) for status in ("draft", "active") * 3]
    ids = [str(it) for it in reversed(saved)]

    pages = [client.get(PATH, params={"limit": 4, "offset": offset}).json()["data"] for offset in (0, 4, 8)]
    active = client.get(PATH, params={"status": "active"}).json()["data"]

    assert [4, 2, 0] == [len(page) for page in pages]
    assert ids == [one["id"] for one in itertools.chain(*pages)]
    assert ids[::2] == [one["id"] for one in active]


@pytest.mark.parametrize(
    "asked",
    [{"limit": 0}, {"limit": 101}, {"limit": "all"}, {"offset": -1}, {"offset": 2**31}, {"status": "deleted"}],
    ids=str,
)
def test_a_page_out_of_bounds_is_refused(client, asked):
    """A page holds 1 to 100 audiences, begins somewhere, and knows three statuses."""
    answer = client.get(PATH, params=asked)

    assert (400, [*asked]) == (answer.status_code, [it["field"] for it in answer.json()["error"]["details"]])


def test_another_organization_s_audience_is_not_there(client, stranger, mine):
    """It is neither listed, read, changed nor deleted, and stays as it was."""
    path = f"{PATH}/{mine['id']}"

    answers = [stranger.get(path), stranger.patch(path, json={"status": "paused"}), stranger.delete(path)]

    assert [(404, "AUDIENCE_NOT_FOUND")] * 3 == [(it.status_code, it.json()["error"]["code"]) for it in answers]
    assert [] == stranger.get(PATH).json()["data"]
    assert mine == client.get(path).json()["data"]


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
@pytest.mark.parametrize("name", ["nonsense", "%00", "3c90c3cc-0d44-4b50-8888-8dd25736052a"])
def test_what_names_no_audience_is_not_there(client, method, name):
    """A malformed id names nothing, as one that was never given."""
    answer = client.request(method, f"{PATH}/{name}", **({"json": {}} if method == "PATCH" else {}))

    assert (404, "AUDIENCE_NOT_FOUND") == (answer.status_code, answer.json()["error"]["code"])


def test_nobody_is_let_in_without_a_key(address):
    """Every path asks who is there."""
    with web.client(address, "sk_nobody") as nobody:
        answers = [nobody.get(PATH), nobody.post(PATH, json=WISHES), nobody.post(f"{PATH}/validate", json={})]

    assert [401] * 3 == [it.status_code for it in answers]


def test_a_valid_config_is_told_what_it_comes_to(client, mine):
    """The answer is what creating stores, and how the people are found."""
    answer = client.post(f"{PATH}/validate", json={"config": CONFIG})

    assert (200, 1) == (answer.status_code, len(builders.everything()["audiences"]))
    assert {
        "valid": True,
        "configHash": mine["configHash"],
        "normalizedConfig": mine["config"],
        "appliedFilters": ["role.isCeo"],
        "strategy": plan.STRATEGY,
        "errors": [],
    } == answer.json()["data"]


@pytest.mark.parametrize(
    ("config", "field"),
    [
        ({"topicIds": []}, "config.topicIds"),
        ({"topicIds": [1], "filters": {"role.isCeo": "yes"}}, "config.filters.role.isCeo"),
        (None, "config"),
        ([1], "config"),
        ({"topicIds": [1], "\ud800": 1}, "config"),
    ],
)
def test_an_invalid_config_is_told_what_is_wrong(client, config, field):
    """The answer is 200 all the same, with field and rule and nothing else."""
    answer = sent(client, "POST", f"{PATH}/validate", {"config": config})

    report = answer.json()["data"]
    [error] = report.pop("errors")
    nothing = dict.fromkeys(("configHash", "normalizedConfig", "appliedFilters", "strategy"))
    assert (200, {"valid": False, **nothing}) == (answer.status_code, report)
    assert (field, True) == (error["field"], bool(error["rule"]))
