"""Stored exports over HTTP: asked for, read, fetched with the link that comes along."""

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import builders
import httpx
import mails
import published
import pytest
import redis
import web
from sqlalchemy import select

from api.app import create
from local.storage import Storage
from worker import links, models, settings
from worker.database import transaction

LINK = ("downloadUrl", "downloadUrlExpiresAt", "downloadUrlTtlSeconds")


@pytest.fixture
def address(stores):
    """The HTTP side over stores that can hold results."""
    with web.served(create()) as address:
        yield address


@pytest.fixture
def run(clickhouse, organization):
    """A completed run of three people: its audience's id and its own."""
    return published.completed(clickhouse, organization)


@pytest.fixture
def path(run):
    """Where the run's exports are."""
    return "/v1/intent/audiences/{}/runs/{}/exports".format(*run)


def bells(stores):
    """Count the bells that wait for the announce worker."""
    with redis.Redis.from_url(stores.environment["REDIS_URL"]) as broker:
        return broker.llen("announce")


def fetched(address, link):
    """Fetch what a link gives, without a key; its host is the public one, which stands for the server's own."""
    public = urlsplit(link)
    assert "https://audiences.example.com" == f"{public.scheme}://{public.netloc}"
    return httpx.get(address + public.path, timeout=30)


def test_an_export_that_is_not_written_yet_is_promised(client, path, run, organization, stores):
    """The answer is 202 with the record and no link, and a worker is rung for."""
    answer = client.post(path)

    record = answer.json()["data"]
    assert (202, "processing", "csv", 1) == (answer.status_code, record["status"], record["exportType"], bells(stores))
    assert (str(organization), *map(str, run)) == (record["organizationId"], record["audienceId"], record["runId"])
    assert {None} == {record[name] for name in (*LINK, "byteSize", "rowCount", "fileId", "completedAt", "expiresAt")}
    assert record == client.get(f"{path}/{record['id']}").json()["data"]


def test_a_written_export_comes_with_a_link_to_its_bytes(client, path, run, address, stores):
    """The link needs no key, gives exactly what was stored, and lasts five minutes."""
    mails.work()

    answer = client.post(path)
    record = answer.json()["data"]
    file = fetched(address, record["downloadUrl"])
    left = datetime.fromisoformat(record["downloadUrlExpiresAt"]) - datetime.now(UTC)
    assert (200, "completed", 300) == (answer.status_code, record["status"], record["downloadUrlTtlSeconds"])
    assert ("local", None, 3) == (record["storageProvider"], record["bucketName"], record["rowCount"])
    assert timedelta(minutes=4) < left <= timedelta(minutes=5)
    assert (200, f'attachment; filename="audience-run-{run[1]}.csv"') == (
        file.status_code,
        file.headers["Content-Disposition"],
    )
    assert (record["byteSize"], record["byteSize"]) == (int(file.headers["Content-Length"]), len(file.content))
    assert record["contentSha1"] == hashlib.sha1(file.content, usedforsecurity=False).hexdigest()
    assert "text/csv; charset=utf-8" == record["contentType"] == file.headers["Content-Type"]
    assert Path(stores.folder, "exports", record["fileId"]).read_bytes() == file.content
    assert 0 == bells(stores)


def test_the_record_holds_every_published_field(client, path):
    """Names are those of the contract, and no more of the row is shown."""
    record = client.post(path).json()["data"]

    published_names = """
        id organizationId audienceId runId exportType status storageProvider contentType byteSize rowCount bucketName
        fileId fileName contentSha1 errorCode errorMessage requestedBy completedAt expiresAt createdAt updatedAt
    """
    assert {*published_names.split(), *LINK} == set(record)


@pytest.mark.parametrize(
    "stale",
    [
        {"expires_at": datetime(2026, 5, 6, tzinfo=UTC)},
        {"status": "failed", "error_code": "STORAGE_UNAVAILABLE", "error_message": "The storage does not answer."},
    ],
    ids=["expired", "failed"],
)
def test_what_expired_or_failed_is_made_anew(client, path, stale):
    """Reading it shows no link; asking for it queues the same export again, in the name of the key."""
    mails.work()
    mails.change(models.exports, **stale)
    with transaction() as connection:
        export_id, key_id = (
            connection.scalar(select(models.exports.c.id)),
            connection.scalar(select(models.api_keys.c.id)),
        )

    before = client.get(f"{path}/{export_id}").json()["data"]
    again = client.post(path)
    mails.work()
    after = client.get(f"{path}/{export_id}").json()["data"]

    assert (None, stale.get("error_code")) == (before["downloadUrl"], before["errorCode"])
    assert (202, str(export_id), "processing") == (
        again.status_code,
        again.json()["data"]["id"],
        again.json()["data"]["status"],
    )
    assert ("completed", str(key_id), None) == (after["status"], after["requestedBy"], after["errorCode"])
    assert after["downloadUrl"] is not None


def test_a_link_never_outlives_the_file(client, path, address):
    """An export that expires in a minute is linked for a minute."""
    mails.work()
    mails.change(models.exports, expires_at=datetime.now(UTC) + timedelta(minutes=1))

    record = client.post(path).json()["data"]

    assert 50 <= record["downloadUrlTtlSeconds"] <= 60
    assert 200 == fetched(address, record["downloadUrl"]).status_code


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"run_type": "preview"}, "RUN_IS_PREVIEW"),
        ({"results_expire_at": datetime(2026, 5, 6, tzinfo=UTC)}, "RESULTS_EXPIRED"),
    ],
)
def test_not_everything_completed_can_be_exported(client, path, values, code):
    """A preview was never meant to be, and what is no longer kept cannot be."""
    mails.change(models.runs, **values)

    answer = client.post(path)

    assert (409, code) == (answer.status_code, answer.json()["error"]["code"])


def test_only_a_completed_run_is_exported(client, run):
    """A run that waits has no results to store."""
    waiting = builders.queued(run[0], data_date=published.DAY)

    answer = client.post(f"/v1/intent/audiences/{run[0]}/runs/{waiting}/exports")

    assert (409, "RUN_NOT_COMPLETED") == (answer.status_code, answer.json()["error"]["code"])


def test_an_export_is_found_below_its_own_run_only(client, stranger, path, run):
    """Other ids, other organizations and malformed names find nothing."""
    export_id = client.post(path).json()["data"]["id"]
    elsewhere = path.replace(str(run[0]), str(uuid4()))

    assert [(404, code) for code in ("EXPORT_NOT_FOUND", "EXPORT_NOT_FOUND", "RUN_NOT_FOUND", "RUN_NOT_FOUND")] == [
        (answer.status_code, answer.json()["error"]["code"])
        for answer in (
            client.get(f"{path}/{uuid4()}"),
            client.get(f"{path}/none"),
            client.get(f"{elsewhere}/{export_id}"),
            stranger.get(f"{path}/{export_id}"),
        )
    ]
    assert (404, 404) == (stranger.post(path).status_code, client.post(elsewhere).status_code)


def test_a_link_is_good_for_its_file_and_its_time(client, path, address):
    """Neither a token that was mailed, nor one that is over, nor a changed one gives a byte."""
    mails.work()
    export_id = UUID(client.post(path).json()["data"]["id"])
    ring, later = settings.current().token_ring, datetime.now(UTC) + timedelta(minutes=5)
    link = links.Link(export_id, links.NOBODY, later)
    tokens = [
        links.sign(links.Purpose.FILE, link, ring),
        links.sign(links.Purpose.DOWNLOAD, link, ring),
        links.sign(links.Purpose.FILE, links.Link(export_id, links.NOBODY, datetime.now(UTC)), ring),
        links.sign(links.Purpose.FILE, link, ring)[:-1],
    ]

    assert [200, 404, 410, 404] == [
        httpx.get(f"{address}/v1/intent/files/{token}", timeout=30).status_code for token in tokens
    ]


def test_a_bucket_serves_its_own_link(client, path, monkeypatch, tmp_path):
    """The link is the bucket's, and gives the stored bytes under the file's name."""
    with Storage(tmp_path / "s3") as bucket:
        for name, value in bucket.environment().items():
            monkeypatch.setenv(name, value)
        settings.current.cache_clear()
        mails.work()

        record = client.post(path).json()["data"]
        file = httpx.get(record["downloadUrl"], timeout=30)

        assert ("s3", "exports", 300) == tuple(
            record[name] for name in ("storageProvider", "bucketName", "downloadUrlTtlSeconds")
        )
        assert record["downloadUrl"].startswith(f"{bucket.endpoint}/exports/{record['fileId']}?")
        assert (200, record["contentSha1"]) == (
            file.status_code,
            hashlib.sha1(file.content, usedforsecurity=False).hexdigest(),
        )
        assert f'attachment; filename="{record["fileName"]}"' == file.headers["Content-Disposition"]
