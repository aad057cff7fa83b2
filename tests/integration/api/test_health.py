"""Alive and ready, with every store there and with one of them gone, deaf or not migrated."""

import os
import signal
import tempfile
import time
from pathlib import Path

import httpx
import pytest
import web
from sqlalchemy import text

from api import internal
from api.app import create
from local.postgres import Postgres
from local.process import HOST, free_port
from local.redis import Redis
from worker import clickhouse, database, migrate, settings
from worker.database import transaction


@pytest.fixture
def ports():
    """Serve both applications, and give what each says of its readiness."""

    def told():
        public = create()
        with web.served(public) as outer, web.served(internal.create(public.state.readiness)) as inner:
            first = httpx.get(f"{outer}/readyz", timeout=30)
            return first.status_code, first.json(), httpx.get(f"{inner}/readyz", timeout=30)

    return told


@pytest.fixture
def folder():
    """A folder that PostgreSQL's own user may reach: those of pytest are closed by every session that begins."""
    with tempfile.TemporaryDirectory(prefix="aw-") as name:
        yield Path(name)


def down(monkeypatch, name, value):
    """Lead this process to another address."""
    monkeypatch.setenv(name, value)
    settings.current.cache_clear()
    database.engine().dispose()
    database.engine.cache_clear()
    clickhouse.forget()


def test_all_is_well(stores, ports):
    """With every store there, the public port says ready and no more, the internal one how each store answered."""
    status, body, details = ports()

    stores_told = details.json()["stores"]
    assert (200, {"ready": True}, 200) == (status, body, details.status_code)
    assert {"postgres": True, "clickhouse": True, "redis": True} == {name: it["ok"] for name, it in stores_told.items()}
    assert "PostgreSQL answers and is migrated." == stores_told["postgres"]["sentence"]
    assert all(0 <= it["milliseconds"] < 2000 for it in stores_told.values())


def test_redis_alone_is_not_needed(stores, ports, monkeypatch):
    """Without Redis requests are still answered, and the internal port tells of it."""
    down(monkeypatch, "REDIS_URL", f"redis://{HOST}:{free_port()}/0")

    status, body, details = ports()

    redis = details.json()["stores"]["redis"]
    assert (200, {"ready": True}) == (status, body)
    assert (False, False) == (redis["ok"], redis["needed"])
    assert redis["sentence"].startswith("Redis does not answer")


@pytest.mark.parametrize(
    ("name", "value", "store"),
    [
        ("CLICKHOUSE_URL", "http://127.0.0.1:{port}/default", "clickhouse"),
        ("DATABASE_URL", "postgresql+psycopg://postgres@127.0.0.1:{port}/postgres", "postgres"),
    ],
    ids=["clickhouse", "postgres"],
)
def test_a_store_that_is_needed_is_down(tables, ports, monkeypatch, name, value, store):
    """Without PostgreSQL or ClickHouse the process is alive and not ready, and no address is told to anybody."""
    port = free_port()
    down(monkeypatch, name, value.format(port=port))

    status, body, details = ports()

    assert (503, {"ready": False}, 503) == (status, body, details.status_code)
    assert not details.json()["stores"][store]["ok"]
    assert (False, False) == (HOST in details.text, str(port) in details.text)


def test_an_older_schema_is_not_ready(stores, ports):
    """Before the migration the process is not ready, and the internal port says what to run."""
    with transaction() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0001'"))

    status, body, details = ports()

    assert (503, {"ready": False}) == (status, body)
    assert "audience-worker migrate" in details.json()["stores"]["postgres"]["sentence"]


def test_a_newer_schema_is_ready(stores, ports):
    """While a deployment goes on, processes of the version before it work on."""
    with transaction() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))

    assert 200 == ports()[0]


def test_a_deaf_server_is_waited_for_shortly(tables, monkeypatch, folder):
    """A stopped PostgreSQL makes probes say not ready in time, one after the other, and ready once it goes on."""
    with Postgres(folder / "pg", durable=False) as server:
        down(monkeypatch, "DATABASE_URL", server.url)
        migrate.migrate()
        with web.served(create()) as address, httpx.Client(base_url=address, timeout=10) as client:
            before = client.get("/readyz").status_code
            stopped = [int(pid) for pid in (server.pid, *children(server.pid))]
            send(signal.SIGSTOP, stopped)
            try:
                until(client, 503)
                deaf = [client.get("/readyz") for _ in range(3)]
                alive = client.get("/healthz")
            finally:
                send(signal.SIGCONT, stopped)
            until(client, 200)

    assert (200, [503] * 3) == (before, [answer.status_code for answer in deaf])
    assert max(answer.elapsed.total_seconds() for answer in deaf) < 4
    assert (200, {"alive": True}) == (alive.status_code, alive.json())


def send(number, pids):
    """Send a signal to several processes."""
    for pid in pids:
        os.kill(pid, number)


def until(client, status):
    """Ask until the answer has this status: what was heard a moment ago still serves."""
    deadline = time.monotonic() + 20
    while client.get("/readyz").status_code != status:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def children(pid):
    """Return the process ids below one."""
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:  # noqa: PTH123 - no ordinary file
        return file.read().split()


def test_a_deaf_redis_holds_nobody_up(stores, monkeypatch, tmp_path):
    """A stopped Redis is told as not answering within the patience of a probe, and the process stays ready."""
    with Redis(tmp_path / "redis") as server:
        down(monkeypatch, "REDIS_URL", server.environment()["REDIS_URL"])
        public = create()
        with web.served(public) as outer, web.served(internal.create(public.state.readiness)) as inner:
            os.kill(server.pid, signal.SIGSTOP)
            try:
                first, details = httpx.get(f"{outer}/readyz", timeout=10), httpx.get(f"{inner}/readyz", timeout=10)
            finally:
                os.kill(server.pid, signal.SIGCONT)

    assert (200, True) == (first.status_code, first.elapsed.total_seconds() < 4)
    assert details.json()["stores"]["redis"]["ok"] is False


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_probes_need_no_key(address, path):
    """A probe shows no key, and is neither refused nor limited."""
    answers = {httpx.get(f"{address}{path}").status_code for _ in range(5)}

    assert {200} == answers
