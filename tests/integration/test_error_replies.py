"""
What the local ClickHouse cannot be brought to say, said by a small responder, and named by the only door.

``SEEN`` was recorded word for word from ClickHouse 26.9; ``FORMED`` follows its error texts for what needs a cluster, a
full disk, other users or an older version; ``BETWEEN`` is what proxies answer in its place.
"""

import socketserver
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler

import pytest

from worker import clickhouse, errors, settings

SEEN = [
    (
        (
            "Code: 241. DB::Exception: (total) memory limit exceeded: would use 777.73 MiB (attempt to allocate chunk of"
            " 512.00 MiB), current RSS: 13.73 MiB, maximum: 667.57 MiB. Untracked memory across all threads: 2.14 MiB: While"
            " executing AggregatingTransform. (MEMORY_LIMIT_EXCEEDED) (version 26.9.2.1)"
        ),
        errors.ClickHouseOverloaded,
    ),
    (
        (
            "Code: 241. DB::Exception: User memory limit exceeded: would use 96.00 MiB (attempt to allocate chunk of 64.00"
            " MiB), maximum: 95.37 MiB. OvercommitTracker decision: Query was selected to stop by OvercommitTracker: While"
            " executing AggregatingTransform. (MEMORY_LIMIT_EXCEEDED) (version 26.9.2.1)"
        ),
        errors.ClickHouseOverloaded,
    ),
    (
        (
            "Code: 160. DB::Exception: Query is executing too slow: 3409444125.000 rows/sec., minimum: 10000000000000: While"
            " executing NumbersRange. (TOO_SLOW) (version 26.9.2.1)"
        ),
        errors.QueryTimeout,
    ),
    (
        (
            "Code: 202. DB::Exception: Too many simultaneous queries for all users. Current: 2, maximum: 1."
            " (TOO_MANY_SIMULTANEOUS_QUERIES) (version 26.9.2.1)"
        ),
        errors.ClickHouseOverloaded,
    ),
    (
        (
            "Code: 46. DB::Exception: Function with name `nope` does not exist. Maybe you meant: ['hop','now']. In scope"
            " SELECT nope(1). (UNKNOWN_FUNCTION) (version 26.9.2.1)"
        ),
        errors.ClickHouseMisconfigured,
    ),
    (
        "Code: 115. DB::Exception: Unknown setting 'nosuch'. (UNKNOWN_SETTING) (version 26.9.2.1)",
        errors.ClickHouseMisconfigured,
    ),
    (
        (
            "Code: 519. DB::NetException: All attempts to get table structure failed. Log: \n\nCode: 279. DB::NetException:"
            " All connection tries failed. Log: \n\nCode: 210. DB::NetException: Connection refused (127.0.0.1:9)."
            " (NETWORK_ERROR) (version 26.9.2.1)\n\n. (NO_REMOTE_SHARD_AVAILABLE) (version 26.9.2.1)"
        ),
        errors.ClickHouseUnavailable,
    ),
]
FORMED = [
    (f"Code: {code}. DB::Exception: {said} ({name}) (version 24.8.1.1)", kind)
    for code, said, name, kind in (
        (241, "Memory limit (total) exceeded: would use 9 GiB", "MEMORY_LIMIT_EXCEEDED", errors.ClickHouseOverloaded),
        (
            241,
            "Memory limit (for user) exceeded: would use 9 GiB",
            "MEMORY_LIMIT_EXCEEDED",
            errors.ClickHouseOverloaded,
        ),
        (241, "Memory limit (for query) exceeded: would use 9 GiB", "MEMORY_LIMIT_EXCEEDED", errors.QueryMemoryLimit),
        (201, "Quota for user `a` for 3600s has been exceeded", "QUOTA_EXCEEDED", errors.ClickHouseOverloaded),
        (745, "CPU is overloaded, CPU is waiting for execution", "SERVER_OVERLOADED", errors.ClickHouseOverloaded),
        (209, "Timeout exceeded while reading from socket", "SOCKET_TIMEOUT", errors.QueryTimeout),
        (210, "Connection reset by peer", "NETWORK_ERROR", errors.ClickHouseUnavailable),
        (225, "Can't get ZooKeeper session", "NO_ZOOKEEPER", errors.ClickHouseUnavailable),
        (285, "Number of alive replicas is less than requested", "TOO_FEW_LIVE_REPLICAS", errors.ClickHouseUnavailable),
        (999, "Session expired", "KEEPER_EXCEPTION", errors.ClickHouseUnavailable),
        (164, "Cannot modify setting in readonly mode", "READONLY", errors.ClickHouseMisconfigured),
        (242, "Table is in readonly mode", "TABLE_IS_READ_ONLY", errors.ClickHouseMisconfigured),
        (243, "Cannot reserve 1.00 MiB, not enough space", "NOT_ENOUGH_SPACE", errors.ClickHouseMisconfigured),
        (497, "a: Not enough privileges", "ACCESS_DENIED", errors.ClickHouseMisconfigured),
        (49, "Logical error: nobody foresaw this", "LOGICAL_ERROR", errors.InternalError),
    )
]
BETWEEN = [
    (HTTPStatus.UNAUTHORIZED, errors.ClickHouseMisconfigured),
    (HTTPStatus.FORBIDDEN, errors.ClickHouseMisconfigured),
    (HTTPStatus.NOT_FOUND, errors.ClickHouseMisconfigured),
    (HTTPStatus.BAD_GATEWAY, errors.ClickHouseUnavailable),
    (HTTPStatus.SERVICE_UNAVAILABLE, errors.ClickHouseUnavailable),
    (HTTPStatus.GATEWAY_TIMEOUT, errors.ClickHouseUnavailable),
]


class Reply(BaseHTTPRequestHandler):
    """Answer every request alike."""

    def do_POST(self):
        """Say what the server was told to."""
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        status, code, said = self.server.reply
        self.send_response(status)
        if code:
            self.send_header("X-ClickHouse-Exception-Code", code)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    do_GET = do_POST  # noqa: N815 - likewise

    def log_message(self, *_):
        """Keep quiet."""


@pytest.fixture
def replies(monkeypatch):
    """A server that gives one reply; the settings lead to it, and to nowhere else."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Reply) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        for name, value in (
            ("CLICKHOUSE_URL", f"http://default@127.0.0.1:{server.server_address[1]}/default"),
            ("DATABASE_URL", "postgresql+psycopg://nowhere"),
            ("REDIS_URL", "redis://nowhere"),
            ("TOKEN_KEYS", "k" * 32),
        ):
            monkeypatch.setenv(name, value)
        settings.current.cache_clear()
        clickhouse.forget()

        def reply(status, code="", said=""):
            server.reply = (status, code, said.encode())

        yield reply
        server.shutdown()
    settings.current.cache_clear()
    clickhouse.forget()


@pytest.mark.parametrize(
    ("said", "kind"), SEEN + FORMED, ids=[said.split("(")[-2].rstrip(") ") for said, _ in SEEN + FORMED]
)
def test_what_clickhouse_says_is_named(replies, said, kind):
    """The code decides, and for memory the words."""
    replies(HTTPStatus.INTERNAL_SERVER_ERROR, said.split(".")[0].removeprefix("Code: "), said)

    with pytest.raises(errors.AttemptError) as named:
        clickhouse.query("SELECT 1")

    assert kind is type(named.value)


@pytest.mark.parametrize(("status", "kind"), BETWEEN, ids=[str(int(status)) for status, _ in BETWEEN])
def test_what_stands_between_is_named(replies, status, kind):
    """A proxy without a code of ClickHouse's is judged by its status."""
    replies(status, said="<html>nginx</html>")

    with pytest.raises(errors.AttemptError) as named:
        clickhouse.query("SELECT 1")

    assert kind is type(named.value)
