"""The CSV over HTTP: whole, the same as the stored one, or visibly broken off (test_results_refused.py: or refused)."""

import csv
import io
import os
import socket
import subprocess
import sys
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from time import monotonic
from urllib.parse import urlsplit

import builders
import door
import frozen
import httpx
import polars as pl
import psutil
import pytest
import web

from api import middleware, reads
from api.app import create
from local.process import free_port
from worker import announce, csv_format, database, settings, storage

MEGABYTE = 1024 * 1024
NAMES = ("X-ClickHouse-Query-Id", "X-Export-Row-Cap", "X-Export-Truncated", "X-Export-Result-Count")


@pytest.fixture
def key(stores, organization):
    """A key of the organization."""
    return web.key_of(organization)


@pytest.fixture
def address(stores):
    """The HTTP side over stores that can hold results."""
    with web.served(create()) as address:
        yield address


@contextmanager
def reading(address, path, key, **request):
    """Ask for a CSV over a bare socket whose buffer is small, and read the head only."""
    host = urlsplit(address)
    with socket.socket() as line:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        line.settimeout(60)
        line.connect((host.hostname, host.port))
        lines = [f"GET {path}/export.csv HTTP/{request.get('version', '1.1')}", "Host: x", f"X-API-Key: {key}", "", ""]
        line.sendall("\r\n".join(lines).encode())
        head = b""
        while b"\r\n\r\n" not in head:
            head += line.recv(1)
        assert head.startswith(b"HTTP/1.1 200"), head
        assert b"transfer-encoding: chunked" in head.lower()
        yield line


def rest(line):
    """Read what comes until the other side closes the connection."""
    parts = []
    while part := line.recv(MEGABYTE):
        parts.append(part)
    return b"".join(parts)


def stored(claim):
    """Let a worker store the run's CSV, and return its bytes."""
    done = announce.announce("w", seconds=60, stopping=lambda: False)
    assert done["exports_completed"] == 1, done
    return b"".join(storage.read(f"{claim.run_id}/1.csv"))


def test_a_csv_has_the_headers_of_the_contract(client, organization, clickhouse):
    """The four headers, a type that browsers know, and a name for the file."""
    claim = frozen.completed(clickhouse, organization, 7)

    answer = client.get(f"{frozen.path(claim)}/export.csv")

    assert ("300000", "false", "7") == tuple(answer.headers[name] for name in NAMES[1:])
    assert answer.headers[NAMES[0]].startswith(str(claim.run_id))
    expected = ("text/csv; charset=utf-8", f'attachment; filename="audience-run-{claim.run_id}.csv"')
    assert expected == (answer.headers["Content-Type"], answer.headers["Content-Disposition"])


@pytest.mark.parametrize("page_rows", [1, 3, 7, 100])
def test_a_csv_has_the_bytes_of_the_stored_one(client, organization, clickhouse, monkeypatch, page_rows):
    """Same run, same bytes, in whatever pages it is read."""
    monkeypatch.setattr(reads, "EXPORT_PAGE_ROWS", page_rows)
    claim = frozen.completed(clickhouse, organization, 7)

    direct = client.get(f"{frozen.path(claim)}/export.csv").content

    rows = list(csv.DictReader(io.StringIO(direct.decode(), newline="")))
    assert [row["hashed_email"] for row in frozen.rows_of(clickhouse, claim)] == [row["hashedEmail"] for row in rows]
    assert stored(claim) == direct


def test_later_pages_count_on_from_the_first_one_s_id(client, organization, clickhouse, monkeypatch):
    """The header names the first page's query, and whoever traces finds the others by it."""
    ids, query = [], reads.snapshots.clickhouse.query

    def listen(*given, query_id=None, **options):
        ids.append(query_id)
        return query(*given, query_id=query_id, **options)

    monkeypatch.setattr(reads.snapshots.clickhouse, "query", listen)
    monkeypatch.setattr(reads, "EXPORT_PAGE_ROWS", 2)
    claim = frozen.completed(clickhouse, organization, 5)

    told = client.get(f"{frozen.path(claim)}/export.csv").headers[NAMES[0]]

    assert [told, f"{told}-2", f"{told}-3"] == ids


def test_rows_that_are_gone_bring_no_file(client, organization, clickhouse):
    """Nothing of a file is sent before its first page is at hand, and rows that are lost will not come back by waiting."""
    claim = frozen.completed(clickhouse, organization, 5000, rows=10)

    answer = client.get(f"{frozen.path(claim)}/export.csv")

    assert (500, "INTERNAL_ERROR") == (answer.status_code, answer.json()["error"]["code"])


@pytest.mark.parametrize("version", ["1.1", "1.0"])
def test_a_file_with_missing_rows_never_looks_whole(address, key, organization, clickhouse, version):
    """Where the snapshot has fewer rows than the run, the last chunk never comes, whichever HTTP was asked for."""
    claim = frozen.completed(clickhouse, organization, 9000, rows=8999)

    with reading(address, frozen.path(claim), key, version=version) as line:
        body = rest(line)

    assert 8000 < body.count(b"\r\n") < 30000  # four pages came; a chunk's length and cells hold line ends, too
    assert not body.endswith(b"0\r\n\r\n")


def test_a_whole_file_ends_with_the_last_chunk(address, key, organization, clickhouse):
    """The same bare client sees the end of a file that is whole."""
    claim = frozen.completed(clickhouse, organization, 9000)

    with reading(address, frozen.path(claim), key) as line:
        body = b""
        while not body.endswith(b"\r\n0\r\n\r\n"):
            part = line.recv(MEGABYTE)
            assert part, "the connection was closed before the last chunk"
            body += part

    assert builders.run_row(claim.run_id)["result_count"] == 9000


def test_clickhouse_gone_on_the_way_breaks_the_file_off(client, organization, clickhouse, monkeypatch):
    """An ordinary client raises instead of returning a short file, and the server goes on serving."""
    claim = frozen.completed(clickhouse, organization, 60_000)
    taken = b""

    def take():
        nonlocal taken
        with client.stream("GET", f"{frozen.path(claim)}/export.csv") as answer:
            for chunk in answer.iter_bytes():
                if not taken:
                    frozen.lead_nowhere(monkeypatch)
                taken += chunk

    with pytest.raises(httpx.RemoteProtocolError, match="incomplete chunked read"):
        take()

    assert taken.startswith(",".join(csv_format.HEADER).encode())
    assert 200 == client.get(frozen.path(claim)).status_code


def test_readers_who_stopped_reading_hold_nothing(stores, key, organization, clickhouse, monkeypatch):
    """Three stalled downloads leave ClickHouse, the pool and the only thread free, and are whole in the end."""
    monkeypatch.setenv("WEB_THREADS", "1")
    settings.current.cache_clear()
    claim = frozen.completed(clickhouse, organization, 20_000)
    path = frozen.path(claim)

    with web.served(create()) as address, web.client(address, key) as client, ExitStack() as stalled:
        lines = [stalled.enter_context(reading(address, path, key)) for _ in range(3)]
        _until_stalled(client, path, clickhouse)
        assert 200 == client.get(f"{path}/results").status_code
        whole = [_rows(line) for line in lines]

    assert [20_000] * 3 == whole


def test_a_reader_who_never_goes_on_is_let_go(stores, key, organization, clickhouse, monkeypatch):
    """Nobody's connection is kept for ever, and what arrived of the file does not look whole."""
    monkeypatch.setattr(middleware, "READER_SECONDS", 0.5)
    claim = frozen.completed(clickhouse, organization, 60_000)

    with web.served(create()) as address, door.logged() as lines, reading(address, frozen.path(claim), key) as line:
        [over] = door.over(lines)
        arrived = _whatever(line)

    assert (200, True) == (over["status"], any(one["event"] == "reader_stopped" for one in lines()))
    assert (True, False) == (len(arrived) > 0, arrived.endswith(b"0\r\n\r\n"))


def _whatever(line):
    """Read what is still to come of a connection that the other side has given up."""
    parts = []
    with suppress(ConnectionError):
        parts.extend(iter(lambda: line.recv(65_536), b""))
    return b"".join(parts)


def _until_stalled(client, path, clickhouse):
    """Wait until nothing was seen to be at work twenty times in a row, asking for the run each time between."""
    until, quiet = monotonic() + 60, 0
    while quiet < 20:
        assert monotonic() < until, "readers that stopped reading still hold something"
        assert 200 == client.get(path).status_code
        running = clickhouse.query("SELECT count() FROM system.processes WHERE query_id LIKE '%-csv%'").result_rows
        quiet = quiet + 1 if (0, 0) == (running[0][0], database.engine().pool.checkedout()) else 0


def _rows(line):
    """Read a chunked CSV to its end, and count its rows with a reader of CSV."""
    body = io.BytesIO()
    source = line.makefile("rb")
    while length := int(source.readline(), 16):
        body.write(source.read(length))
        source.readline()
    return pl.read_csv(body.getvalue(), columns=["hashedEmail"]).height


@contextmanager
def serving(stores):
    """Serve the HTTP side in a process of its own, and give its address and the process."""
    port = free_port()
    chosen = {"WEB_PORT": str(port), "INTERNAL_PORT": str(free_port()), "LOG_LEVEL": "WARNING"}
    environment = {**os.environ, **stores.environment, **chosen}
    with subprocess.Popen([sys.executable, "-m", "api"], env=environment, cwd=Path(__file__).parents[3]) as process:
        try:
            with httpx.Client(transport=httpx.HTTPTransport(retries=12)) as onlooker:
                onlooker.get(f"http://127.0.0.1:{port}/")
            yield f"http://127.0.0.1:{port}", psutil.Process(process.pid)
        finally:
            process.terminate()


def test_a_long_export_is_cut_streamed_and_the_same_as_the_stored_one(stores, key, organization, clickhouse, tmp_path):
    """Of 300,001 results 300,000 come, in memory that does not grow with them, in the bytes of the stored export."""
    claim = frozen.completed(clickhouse, organization, 300_001)
    path, file, grown = f"{frozen.path(claim)}/export.csv", tmp_path / "direct.csv", 0

    with serving(stores) as (address, process), web.client(address, key) as client, file.open("wb") as direct:
        client.get(f"{frozen.path(claim)}/results")
        before = process.memory_info().rss
        with client.stream("GET", path) as answer:
            for chunk in answer.iter_bytes():
                direct.write(chunk)
                grown = max(grown, process.memory_info().rss - before)

    assert ("300000", "true", "300001") == tuple(answer.headers[name] for name in NAMES[1:])
    assert grown < 30 * MEGABYTE
    read = pl.read_csv(file, infer_schema=False, empty_string_is_null=False)
    assert (300_000, [*csv_format.HEADER]) == (read.height, read.columns)
    seen = _seen(clickhouse, claim)
    assert _plain(seen).equals(_plain(read.select(seen.columns)))
    assert stored(claim) == file.read_bytes()


def _seen(clickhouse, claim):
    """Read a few columns of the first 300,000 rows in another way."""
    sql = """
        SELECT hashed_email AS hashedEmail, toString(score) AS `intent.score`,
               ifNull(toString(role_is_ceo), '') AS `role.isCeo`, ifNull(last_name, '') AS lastName
        FROM audience_results WHERE snapshot_key = {key:UUID} AND rank <= 300000 ORDER BY rank
    """
    key = str(builders.run_row(claim.run_id)["snapshot_key"])
    return pl.read_parquet(io.BytesIO(clickhouse.raw_query(sql, parameters={"key": key}, fmt="Parquet")))


def _plain(rows):
    """Leave out the apostrophes that may stand before a value."""
    return rows.with_columns(pl.col("lastName").str.strip_prefix("'"))
