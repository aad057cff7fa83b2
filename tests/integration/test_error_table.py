"""The table of errors, each provoked in a real ClickHouse under a real run: outcome, code, sentence, charge."""

import contextlib
import socket
import threading
from datetime import date

import pytest
from builders import claimed, run_row, saved
from chaos.proxy import Proxy
from sqlalchemy import text

from worker import clickhouse as door
from worker import drain, loads, manual, settings, snapshots
from worker.database import transaction
from worker.materialize import materialize

DAY = date(2026, 11, 20)
UNAVAILABLE = ("closed", "queued", "CLICKHOUSE_UNAVAILABLE", "ClickHouse cannot be reached.", 0)
OVERLOADED = ("closed", "queued", "CLICKHOUSE_OVERLOADED", "ClickHouse is too busy to take the query.", 0)
MISCONFIGURED = (
    *("retried", "queued", "CLICKHOUSE_MISCONFIGURED"),
    "ClickHouse refused the statement: the deployment, not the audience, needs mending.",
    0,
)
TIMEOUT = ("retried", "queued", "QUERY_TIMEOUT", "The query took longer than it may.", 1)
MEMORY = ("retried", "queued", "QUERY_MEMORY_LIMIT", "The query needed more memory than it may use.", 1)
CANCELLED = ("retried", "queued", "QUERY_CANCELLED", "The query was cancelled on the server.", 1)
CONFIG = (
    *("failed", "failed", "CONFIG_INVALID"),
    "The audience's definition cannot be run; change it and queue a new run.",
    1,
)


@pytest.fixture
def run_id(clickhouse):
    """A queued run over a thousand signalled people."""
    clickhouse.command(
        "INSERT INTO people (hem_hash, hashed_email) SELECT cityHash64(email), email"
        " FROM (SELECT lower(hex(SHA256(toString(number)))) AS email FROM numbers(1000))"
    )
    clickhouse.command(f"INSERT INTO intent_signals SELECT '{DAY}', 1, hem_hash, 90 FROM people")
    clickhouse.command("INSERT INTO topics (topic_id, name) VALUES (1, 'One')")
    loads.make_ready(DAY)
    loads.watch()
    return manual.queue(saved(now=None)).run_id


@pytest.fixture
def changed(monkeypatch):
    """Change settings for one test."""

    def change(**values):
        for name, value in values.items():
            monkeypatch.setenv(name, str(value))
        settings.current.cache_clear()
        door.forget()

    return change


def came_of(run_id):
    """Carry the run as far as it gets; return outcome, status, code, sentence and attempts charged."""
    [claim] = claimed(now=None)
    outcome = materialize(claim)
    row = run_row(run_id)
    return (outcome, *(row[name] for name in ("status", "error_code", "error_message", "attempts")))


def slow_people(clickhouse):
    """Let whoever reads people sleep for long."""
    clickhouse.command("RENAME TABLE people TO people_kept")
    clickhouse.command(
        "CREATE VIEW people AS SELECT * FROM people_kept WHERE hashed_email NOT IN ("
        "SELECT toString(sleepEachRow(0.2)) FROM numbers(300) SETTINGS max_block_size = 1)"
    )


@contextlib.contextmanager
def as_soon_as_it_runs(clickhouse, run_id, act):
    """Do something from beside as soon as the run's first statement is seen running."""
    failed = []

    def watch():
        query = "SELECT count() FROM system.processes WHERE startsWith(query_id, {run:String})"
        for _ in range(400):
            if clickhouse.command(query, parameters={"run": str(run_id)}):
                return act()
            clickhouse.command("SELECT sleep(0.05)")
        return failed.append("the statement did not start")

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        thread.join()
    assert [] == failed


def test_a_query_that_needs_too_much_memory(run_id, changed):
    """The query's own limit is charged to the run."""
    changed(QUERY_MEMORY_BYTES=1_000_000)

    assert MEMORY == came_of(run_id)


def test_the_plan_after_a_memory_limit_fits_where_the_usual_one_did_not(run_id, changed, clickhouse):
    """The second attempt writes small blocks and completes under the limit that ended the first."""
    clickhouse.command("TRUNCATE TABLE intent_signals")
    clickhouse.command("INSERT INTO people (hem_hash, hashed_email) SELECT number, hex(number) FROM numbers(60000)")
    clickhouse.command(f"INSERT INTO intent_signals SELECT '{DAY}', 1, number, 90 FROM numbers(60000)")
    changed(QUERY_MEMORY_BYTES=130_000_000)

    first = came_of(run_id)
    with transaction() as connection:
        connection.execute(text("UPDATE runs SET due_at = now()"))
    second = came_of(run_id)

    assert (MEMORY, ("completed", "completed", None, None, 2)) == (first, second)


def test_a_query_that_takes_too_long(run_id, changed, clickhouse):
    """ClickHouse itself ends what runs longer than QUERY_SECONDS."""
    changed(QUERY_SECONDS=1)
    slow_people(clickhouse)

    assert TIMEOUT == came_of(run_id)


@pytest.mark.parametrize(
    "damage",
    [
        "ALTER TABLE audience_results DROP COLUMN score",
        "ALTER TABLE people DROP COLUMN first_name",
        "DROP TABLE topics",
        "DROP TABLE data_loads",
    ],
)
def test_a_table_or_column_that_is_not_there(run_id, clickhouse, damage):
    """What our own statements name and the server lacks is for the operator to mend, and costs the run nothing."""
    clickhouse.command(damage)

    assert MISCONFIGURED == came_of(run_id)


def test_a_query_that_somebody_kills(run_id, clickhouse):
    """KILL QUERY by an operator ends the attempt, charged."""
    slow_people(clickhouse)
    kill = f"KILL QUERY WHERE startsWith(query_id, '{run_id}') ASYNC"

    with as_soon_as_it_runs(clickhouse, run_id, lambda: clickhouse.command(kill)):
        assert CANCELLED == came_of(run_id)


def test_a_server_that_dies_in_mid_query_and_is_gone_after(run_id, clickhouse, servers, changed):
    """A killed server closes its port under the query, and refuses the next attempt at once."""
    slow_people(clickhouse)
    try:
        with as_soon_as_it_runs(clickhouse, run_id, servers.clickhouse.kill):
            during = came_of(run_id)
        with transaction() as connection:
            connection.execute(text("UPDATE runs SET due_at = now()"))
        afterwards = came_of(run_id)
    finally:
        servers.clickhouse.start()

    assert (UNAVAILABLE, UNAVAILABLE) == (during, afterwards)


def test_a_line_that_is_cut_in_mid_query(run_id, clickhouse, servers, stores, changed):
    """The statement that goes on under its id on the server is not taken for a mistake of the run."""
    slow_people(clickhouse)
    with Proxy(servers.clickhouse.port) as line:
        changed(
            CLICKHOUSE_URL=stores.environment["CLICKHOUSE_URL"].replace(str(servers.clickhouse.port), str(line.port))
        )
        with as_soon_as_it_runs(clickhouse, run_id, line.cut):
            came = came_of(run_id)

    assert UNAVAILABLE == came
    left = "SELECT count() FROM system.processes WHERE startsWith(query_id, {run:String})"
    assert 0 == clickhouse.command(left, parameters={"run": str(run_id)})


def test_a_server_at_fault_closes_the_lane(run_id, changed, monkeypatch):
    """A server that answers the ping and goes away costs one run an uncharged attempt, and no other is begun."""
    others = [manual.queue(saved(now=None)).run_id for _ in range(2)]
    changed(CLICKHOUSE_URL="http://default@127.0.0.1:9/default")
    monkeypatch.setattr(door, "ping", lambda: None)

    done = drain.drain("manual", "w1")

    rows = [run_row(it) for it in (run_id, *others)]
    assert 1 == done["closed"]
    assert [0, 0, 1] == sorted(row["fence"] for row in rows)
    assert {("queued", 0)} == {(row["status"], row["attempts"]) for row in rows}


def test_a_wrong_password(run_id, changed, stores):
    """A login that fails is for the operator to mend."""
    changed(CLICKHOUSE_URL=stores.environment["CLICKHOUSE_URL"].replace("default@", "default:wrong@"))

    assert MISCONFIGURED == came_of(run_id)


def test_too_many_queries_at_once(run_id, servers, clickhouse):
    """A server with all its places taken is busy, and the run waits."""
    with contextlib.ExitStack() as taken:
        taken.callback(clickhouse.command, "KILL QUERY WHERE startsWith(query, 'SELECT sleepEachRow(0.01)') SYNC")
        while takes_a_place(servers.clickhouse.port, taken):
            pass

        assert OVERLOADED == came_of(run_id)


def takes_a_place(port, taken):
    """Start a statement that takes a minute, and return whether there was a place for it."""
    place = taken.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
    place.sendall(
        b"GET /?query=SELECT+sleepEachRow(0.01)+FROM+numbers(6000)+SETTINGS+max_block_size=1 HTTP/1.1\r\n"
        b"Host: here\r\n\r\n"
    )
    return b"Code: 202." not in place.recv(65_536)


def test_too_many_parts(run_id, clickhouse):
    """A table that merges too slowly takes no more rows for now."""
    clickhouse.command("INSERT INTO audience_results (written_on, rank) SELECT toDate(now('UTC')), 1")
    clickhouse.command("SYSTEM STOP MERGES audience_results")
    clickhouse.command("INSERT INTO audience_results (written_on, rank) SELECT toDate(now('UTC')), 2")
    clickhouse.command("ALTER TABLE audience_results MODIFY SETTING parts_to_throw_insert = 1")

    assert OVERLOADED == came_of(run_id)


@pytest.mark.parametrize(
    "parameters",
    [{"x": "x" * 200_000}, {f"x{number}": number for number in range(1001)}],
    ids=["long", "many"],
)
def test_a_field_that_is_too_large(run_id, monkeypatch, parameters):
    """What no server takes is the definition's fault, should one ever get so far."""
    monkeypatch.setattr(snapshots, "count", lambda planned, query_id: door.query(asking(parameters), parameters))

    assert CONFIG == came_of(run_id)


def test_a_server_that_accepts_and_never_answers(run_id, changed, monkeypatch):
    """A deaf server is an unreachable one as soon as our patience ends."""
    monkeypatch.setattr(door, "SHORT", 1)
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        changed(CLICKHOUSE_URL=f"http://default@127.0.0.1:{deaf.getsockname()[1]}/default")

        assert UNAVAILABLE == came_of(run_id)


def asking(parameters):
    """Write a statement that binds each of these."""
    return "SELECT " + ", ".join(f"{{{name}:String}} AS {name}" for name in parameters)
