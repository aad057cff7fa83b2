"""The pages that mails link to, as people, mail scanners and mail programs meet them."""

import hashlib
import io
import logging
import re
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urljoin

import builders
import httpx
import mails
import pytest
from sqlalchemy import delete

from local.process import free_port
from local.storage import Storage
from worker import database, links, models, settings
from worker.database import transaction
from worker.links import NOBODY, Link, Purpose

PAST = datetime(2026, 5, 6, tzinfo=UTC)


def token(purpose, link, keys=None):
    """Sign a link."""
    return links.sign(purpose, link, keys or settings.current().token_ring)


def test_the_way_from_a_mail_to_the_csv(site, mailed):
    """The page names audience, day, rows, size and end, and its button gives the file."""
    _, sent = mailed()
    page = site.get(sent[mails.ANN][0])
    button = re.search(r'<a class="button" href="([^"]+)"', page.text)[1]
    file = site.get(urljoin(sent[mails.ANN][0], button))

    facts = re.findall(r"<dd>(.*?)</dd>", page.text)
    week = (datetime.now(UTC) + timedelta(days=7)).strftime("%B %Y, %H:")
    assert (200, "Leaders &amp; &lt;others&gt;") == (page.status_code, mails.heading(page))
    assert ["4 May 2026", "3"] == facts[:2]
    assert re.fullmatch(r"CSV, \d\.\d kB", facts[2])
    assert facts[3].split(" ", 1)[1].startswith(week)
    assert (200, 4, str(len(file.content))) == (
        file.status_code,
        file.text.count("\r\n"),
        file.headers["Content-Length"],
    )
    assert re.fullmatch(r'attachment; filename="audience-run-[0-9a-f-]{36}\.csv"', file.headers["Content-Disposition"])
    assert ("no-store", "no-referrer") == (file.headers["Cache-Control"], file.headers["Referrer-Policy"])


def test_a_page_may_do_nothing_and_tells_nobody(site, mailed):
    """No script, nothing loaded, no person named, not kept, not indexed, no referrer; only its own style is allowed."""
    _, sent = mailed()
    for path in sent[mails.ANN]:
        page = site.get(path)
        style = re.search(r"<style>(.*?)</style>", page.text, re.DOTALL)[1]
        digest = b64encode(hashlib.sha256(style.encode()).digest()).decode()

        policy = page.headers["Content-Security-Policy"]
        assert f"default-src 'none'; style-src 'sha256-{digest}'" in policy
        assert ("no-store", "no-referrer", "noindex, nofollow", "nosniff") == tuple(
            page.headers[name]
            for name in ("Cache-Control", "Referrer-Policy", "X-Robots-Tag", "X-Content-Type-Options")
        )
        assert [] == re.findall(r"<script|https?:|src=|@import|url\(|style=| on\w+=|@example", page.text, re.IGNORECASE)


def test_following_every_link_changes_nothing(site, mailed):
    """A mail scanner may look at all there is, with GET and HEAD."""
    _, sent = mailed()
    before = builders.everything()
    download, leave = sent[mails.ANN]

    answers = [
        site.request(method, path) for path in (download, f"{download}/file", leave) for method in ("GET", "HEAD")
    ]
    assert [200] * 6 == [answer.status_code for answer in answers]
    assert ["", "", ""] == [answer.text for answer in answers[1::2]]
    assert before == builders.everything()


def test_a_broken_download_goes_on_where_it_stopped(site, mailed):
    """A phone asks for the rest of the file only."""
    _, sent = mailed()
    whole = site.get(f"{sent[mails.ANN][0]}/file")
    rest = site.get(f"{sent[mails.ANN][0]}/file", headers={"Range": "bytes=100-", "If-Range": whole.headers["ETag"]})

    assert (206, whole.content[100:]) == (rest.status_code, rest.content)


def test_a_bucket_gives_a_fresh_link_at_every_click(site, mailed, monkeypatch, tmp_path):
    """The button leads on to the bucket, whose link lasts five minutes and gives the bytes."""
    with Storage(tmp_path / "s3") as bucket:
        for name, value in bucket.environment().items():
            monkeypatch.setenv(name, value)
        settings.current.cache_clear()
        _, sent = mailed()

        click = site.get(f"{sent[mails.ANN][0]}/file")
        file = httpx.get(click.headers["Location"], timeout=30)

        assert (303, True) == (click.status_code, click.headers["Location"].startswith(f"{bucket.endpoint}/exports/"))
        assert "X-Amz-Expires=300" in click.headers["Location"]
        assert (200, 4) == (file.status_code, file.text.count("\r\n"))
        assert file.headers["Content-Disposition"].startswith("attachment; filename=")


@pytest.mark.parametrize(
    ("table", "values", "status", "title"),
    [
        (models.exports, {"status": "processing"}, 202, "The file is being prepared"),
        (
            models.exports,
            {"status": "failed", "error_code": "X", "error_message": "x"},
            409,
            "The file could not be prepared",
        ),
        (models.exports, {"expires_at": PAST}, 410, "This file has expired"),
        (models.audiences, {"notify_emails": [mails.BOB]}, 410, "This link was withdrawn"),
        (models.audiences, {"deleted_at": PAST}, 410, "This link was withdrawn"),
        (models.audiences, {"status": "paused"}, 200, "Leaders &amp; &lt;others&gt;"),
    ],
    ids=["processing", "failed", "expired", "removed", "deleted", "paused"],
)
def test_a_page_says_what_became_of_the_file(site, mailed, table, values, status, title):
    """Page and button agree, and a page that waits looks again by itself."""
    _, sent = mailed()
    mails.change(table, **values)

    page, file = site.get(sent[mails.ANN][0]), site.get(f"{sent[mails.ANN][0]}/file")

    assert (status, status, title) == (page.status_code, file.status_code, mails.heading(page))
    assert (status == 202) == ("Refresh" in page.headers)


def test_a_capped_file_says_of_how_many(site, mailed):
    """More people than a CSV may hold are counted beside its rows."""
    _, sent = mailed()
    mails.change(models.runs, candidate_count=512_345, result_count=512_345)

    assert "<dd>3 of 512,345</dd>" in site.get(sent[mails.ANN][0]).text


def test_a_run_that_is_no_longer_kept_takes_its_file_along(site, mailed):
    """Rows go with their runs, links stay in mailboxes."""
    _, sent = mailed()
    with transaction() as connection:
        connection.execute(delete(models.runs))

    answer = site.get(sent[mails.ANN][0])

    assert (410, "This list is no longer kept") == (answer.status_code, mails.heading(answer))


def test_a_file_that_the_storage_lost_is_missed(site, mailed, stores):
    """The page offers it in good faith; the click says so in words."""
    _, sent = mailed()
    for file in Path(stores.folder, "exports").rglob("*.csv"):
        file.unlink()

    answer = site.get(f"{sent[mails.ANN][0]}/file")

    assert (404, "The file is not there") == (answer.status_code, mails.heading(answer))


@pytest.mark.parametrize("server", ["STORAGE", "DATABASE"])
def test_a_server_that_is_down_makes_a_page_too(site, mailed, monkeypatch, server):
    """People read that they may try again."""
    _, sent = mailed()
    closed = f"127.0.0.1:{free_port()}"
    down = {
        "STORAGE": {"STORAGE_URL": "s3://exports", "STORAGE_ENDPOINT": f"http://{closed}", "STORAGE_ACCESS_KEY": "a"},
        "DATABASE": {"DATABASE_URL": f"postgresql+psycopg://postgres@{closed}/none"},
    }
    for name, value in down[server].items():
        monkeypatch.setenv(name, value)
    settings.current.cache_clear()
    database.engine().dispose()
    database.engine.cache_clear()

    answer = site.get(f"{sent[mails.ANN][0]}/file")

    assert (503, "Not available right now", "5") == (
        answer.status_code,
        mails.heading(answer),
        answer.headers["Retry-After"],
    )


def test_tokens_of_ours_only(site, mailed):
    """Another purpose, another key and a changed character are unknown; what is over is said to be over."""
    audience_id, sent = mailed()
    ring = settings.current().token_ring
    export, mail = (links.verify(Purpose.DOWNLOAD, sent[mails.ANN][0].rsplit("/", 1)[1], ring)).thing_id, NOBODY
    soon = datetime.now(UTC) + timedelta(days=1)
    leave = sent[mails.ANN][1].rsplit("/", 1)[1]
    tried = {
        f"downloads/{leave}": 404,
        f"downloads/{token(Purpose.FILE, Link(export, mail, soon))}": 404,
        f"downloads/{token(Purpose.DOWNLOAD, Link(export, mail, soon), ['x' * 32])}": 404,
        f"downloads/{token(Purpose.DOWNLOAD, Link(export, mail, soon))}": 410,
        f"downloads/{token(Purpose.DOWNLOAD, Link(export, mail, datetime.now(UTC)))}": 410,
        "downloads/x": 404,
        "downloads/%00%ff": 404,
        f"unsubscribe/{sent[mails.ANN][0].rsplit('/', 1)[1]}": 404,
        f"unsubscribe/{token(Purpose.UNSUBSCRIBE, Link(audience_id, mail, datetime.now(UTC)))}": 410,
    }

    assert tried == {path: site.get(f"/v1/intent/{path}").status_code for path in tried}
    assert [404, 410] == [site.post(f"/v1/intent/{path}").status_code for path in list(tried)[-2:]]


def test_links_outlive_the_rotation_of_the_key(site, mailed, monkeypatch):
    """A mail that was signed with the older key still opens, and still unsubscribes."""
    audience_id, sent = mailed()
    monkeypatch.setenv("TOKEN_KEYS", f"{'n' * 32},{'k' * 32}")
    settings.current.cache_clear()

    assert 200 == site.get(sent[mails.ANN][0]).status_code
    assert 200 == site.post(sent[mails.ANN][1]).status_code
    assert [mails.BOB] == builders.audience_row(audience_id)["notify_emails"]


def test_the_log_holds_no_token(site, mailed):
    """A request is named by its route's template, whatever stands in the path."""
    _, sent = mailed()
    stream = io.StringIO()
    handler = logging.root.handlers[0]
    before = handler.setStream(stream)
    for path in sent[mails.ANN]:
        site.get(path)
        site.get(f"{path}/file")
        site.get(path[:-1])
        site.post(path)
    handler.setStream(before)

    secrets = [path.rsplit("/", 1)[1].split(".")[0] for path in sent[mails.ANN]]
    assert '"route": "/v1/intent/downloads/{token}"' in stream.getvalue()
    assert [] == [secret for secret in secrets if secret in stream.getvalue()]


def test_the_pages_are_for_people(site):
    """Programs find none of them in the API's description."""
    assert [] == [
        path
        for path in site.get("/openapi.json").json()["paths"]
        if any(word in path for word in ("downloads", "files", "unsubscribe"))
    ]


def test_other_methods_are_refused(site):
    """Looking is GET, leaving is POST, and that is all."""
    path = "/v1/intent/downloads/x"

    assert [405, 405] == [site.request(method, path).status_code for method in ("POST", "DELETE")]
