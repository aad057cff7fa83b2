"""/metrics, read back by Prometheus's own parser."""

import asyncio
import contextlib
from datetime import timedelta

import builders
import httpx
import pytest
import web
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import text, update

from api import internal, metrics
from api.app import create
from local.process import HOST, free_port
from worker import clickhouse, database, figures, models, runs, settings
from worker.database import transaction


@contextlib.contextmanager
def served():
    """Both applications: addresses of the public and the internal one."""
    public = create()
    with web.served(public) as outer, web.served(internal.create(public.state.readiness)) as inner:
        yield outer, inner


@pytest.fixture
def addresses(tables):
    """Both applications over empty Postgres tables."""
    with served() as addresses:
        yield addresses


def scraped(address):
    """Scrape, and return every sample by name and labels, and the type of every metric."""
    answer = httpx.get(f"{address}/metrics", timeout=30)
    families = list(text_string_to_metric_families(answer.text))
    samples = {
        (sample.name.removeprefix("audience_worker_"), *sorted(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }
    assert 200 == answer.status_code
    return samples, {family.name.removeprefix("audience_worker_"): family.type for family in families}


def test_every_metric_is_there_before_anything_happened(addresses):
    """A first scrape shows every metric, so that the first event is seen as a rise."""
    samples, types = scraped(addresses[1])

    assert ("counter", "counter", "counter", "counter", "histogram", "gauge") == tuple(
        types[name] for name in ("runs", "retries", "rescued", "emails", "run_seconds", "due")
    )
    assert 0 == samples["runs_total", ("run_type", "daily"), ("status", "failed")]
    assert 0 == samples["retries_total", ("code", "QUERY_TIMEOUT")]
    assert 0 == samples["emails_total", ("status", "sent")] == samples["emails_waiting", ("status", "pending")]
    assert 0 == samples["due", ("lane", "announce")] == samples["oldest_due_seconds", ("lane", "daily")]
    assert (0, 1) == (samples["newest_ready_date_timestamp_seconds",], samples["fresh_share",])
    assert float("inf") == samples["tick_age_seconds", ("tick", "ring")] == samples["newest_ready_date_age_seconds",]


def test_a_run_shows_everywhere_it_should(addresses):
    """A completed daily run is a run, a time in its bucket, and an audience that is fresh."""
    builders.ready(builders.MONDAY)
    audience_id = builders.saved(status="active", due_now=True, now=None)
    claim = builders.held(audience_id, run_type="daily", lane="daily", now=None)
    with transaction() as connection:
        runs.complete(connection, claim, builders.published())
        connection.execute(update(models.runs).values(started_at=models.runs.c.completed_at - timedelta(seconds=2)))
    samples, _ = scraped(addresses[1])

    daily = ("run_type", "daily")
    assert 1 == samples["runs_total", daily, ("status", "completed")]
    assert (0, 1, 1) == tuple(samples["run_seconds_bucket", ("le", le), daily] for le in ("1.0", "2.5", "+Inf"))
    assert (1, 2) == (samples["run_seconds_count", daily], samples["run_seconds_sum", daily])
    assert (1, 1, 1) == tuple(samples[name,] for name in ("audiences_active", "audiences_fresh", "fresh_share"))


def test_counters_never_fall(addresses):
    """Counting and pruning between two scrapes take nothing away from any counter."""
    claim = builders.held(now=None, run_type="manual")
    with transaction() as connection:
        runs.complete(connection, claim, builders.published())
        connection.execute(update(models.runs).values(finished_at=models.runs.c.finished_at - timedelta(hours=1)))
    before, types = scraped(addresses[1])
    figures.count()
    with transaction() as connection:
        connection.execute(models.runs.delete())
    after, _ = scraped(addresses[1])

    rising = [
        name
        for name, kind in types.items()
        if kind in {"counter", "histogram"} and not name.startswith(("http", "process"))
    ]
    kept = [key for key in before if key[0].rsplit("_", 1)[0] in rising]
    assert len(kept) > 60
    assert {key: before[key] for key in kept} == {key: after[key] for key in kept}
    assert 1 == after["runs_total", ("run_type", "manual"), ("status", "completed")]


def test_requests_are_counted_by_route(addresses):
    """Requests count under their route's template; no path, no unknown method and no organization is a label."""
    secret = "a-token-nobody-should-read"
    before, _ = scraped(addresses[1])
    httpx.get(f"{addresses[0]}/v1/intent/audiences/{secret}/runs")
    httpx.get(f"{addresses[0]}/{secret}")
    httpx.request("PROPFIND", f"{addresses[0]}/healthz")
    httpx.get(f"{addresses[0]}/healthz")
    after, _ = scraped(addresses[1])

    def more(method, route, status):
        key = ("http_requests_total", ("method", method), ("route", route), ("status", status))
        return after.get(key, 0) - before.get(key, 0)

    assert 1 == more("GET", "/v1/intent/audiences/{id}/runs", "4xx")
    assert (1, 1) == (more("GET", "none", "4xx"), more("GET", "/healthz", "2xx"))
    labels = {value for key in after for _, value in key[1:]}
    assert (set(), True) == ({it for it in labels if secret in it or "PROPFIND" in it}, "other" in labels)
    assert not any(name == "organization" for key in after for name, _ in key[1:])


async def halfway(_scope, _receive, send):
    """Begin an answer and break."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"half", "more_body": True})
    raise ConnectionAbortedError


async def left(_scope, _receive, _send):
    """Answer nothing, because nobody is there any more."""


async def whole(_scope, _receive, send):
    """Answer."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"whole"})


@pytest.mark.parametrize(
    ("answering", "status", "timed"),
    [(halfway, "cut", 1), (left, "4xx", 0), (whole, "2xx", 1)],
    ids=["halfway", "left", "whole"],
)
def test_what_broke_off_and_who_hung_up_are_told_apart(answering, status, timed):
    """Half an answer is a fault of ours though it began with 200; a client that was gone before it is none."""

    async def nothing(*_message):
        return {"type": "http.disconnect"}

    labels = {"method": "GET", "route": "none"}
    names = {"http_requests_total": {**labels, "status": status}, "http_request_seconds_count": labels}
    before = [_told(name, **chosen) for name, chosen in names.items()]
    with contextlib.suppress(ConnectionAbortedError):
        asyncio.run(metrics.Counting(answering)({"type": "http", "method": "GET"}, nothing, nothing))
    after = [_told(name, **chosen) for name, chosen in names.items()]

    assert [1, timed] == [now - then for now, then in zip(after, before, strict=True)]


def _told(name, **labels):
    """Read one figure of this process."""
    return metrics.OWN.get_sample_value(f"{metrics.PREFIX}{name}", labels) or 0


def test_a_scrape_does_not_need_clickhouse_or_redis(tables, monkeypatch):
    """With both gone the figures are read all the same."""
    monkeypatch.setenv("CLICKHOUSE_URL", f"http://{HOST}:{free_port()}/default")
    monkeypatch.setenv("REDIS_URL", f"redis://{HOST}:{free_port()}/0")
    settings.current.cache_clear()
    clickhouse.forget()
    with served() as addresses:
        samples, _ = scraped(addresses[1])

    assert (1, 0) == (samples["postgres_answers",], samples["rescued_total",])


def test_a_scrape_without_postgres_says_so(tables, monkeypatch):
    """With Postgres gone a scrape still answers, with the process's own figures and one that says what is missing."""
    database.engine().dispose()
    monkeypatch.setenv("DATABASE_URL", f"postgresql+psycopg://postgres@{HOST}:{free_port()}/postgres")
    settings.current.cache_clear()
    database.engine.cache_clear()
    with served() as addresses:
        samples, _ = scraped(addresses[1])

    assert (0, False) == (samples["postgres_answers",], ("rescued_total",) in samples)
    assert samples["process_resident_memory_bytes",] > 0


def test_the_public_port_has_no_metrics(addresses):
    """What is internal is not found on the public port."""
    assert 404 == httpx.get(f"{addresses[0]}/metrics").status_code


def test_a_scrape_reads_few_rows_however_many_there_are(stores):
    """A hundred thousand counted runs are not read again: no statement of a scrape goes through them."""
    audience_id = builders.saved()
    builders.many_queued(audience_id, 100_000)
    with transaction() as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        connection.execute(
            text(
                "UPDATE runs SET status = 'failed', error_code = 'QUERY_TIMEOUT', error_message = 'x',"
                " finished_at = now() - interval '1 hour' - random() * interval '9 days'"
            )
        )
    with database.engine().connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE runs"))
    while figures.count()["counted"]:
        pass
    database.engine().dispose()  # a new session has read nothing yet
    with transaction() as connection:
        found = figures.read(connection)
        read = connection.scalar(
            text("SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relname = 'runs'")
        )

    assert (100_000, True) == (found["runs", "preview", "failed"], read < 100)
