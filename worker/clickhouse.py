"""
The only door to ClickHouse: run a statement, name its failures, kill a query.

Every statement is sent once: the driver's own retries are off, because an INSERT … SELECT goes on after its client is
gone. Failures leave as the :class:`~worker.errors.AttemptError` of their class; the driver's text, which carries
hosts, goes to the log only.
"""

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, BinaryIO, TypeVar
from urllib.parse import unquote, urlsplit

import clickhouse_connect
from clickhouse_connect.driver import httputil
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError, DataError, ProgrammingError

from worker import ddl, errors, log, settings

logger = log.get(__name__)

Result = TypeVar("Result")

BY_CODE: Mapping[int, type[errors.AttemptError]] = {
    **dict.fromkeys((159, 160, 209), errors.QueryTimeout),
    # Too many queries, connections, parts or waiting threads, a spent quota, a pressed processor.
    **dict.fromkeys((201, 202, 203, 252, 439, 745), errors.ClickHouseOverloaded),
    # Statements are ours: what a server does not know or forbids in them was deployed wrong.
    **dict.fromkeys(
        (16, 36, 46, 47, 60, 62, 81, 115, 164, 192, 193, 194, 242, 243, 452, 497, 516),
        errors.ClickHouseMisconfigured,
    ),
    # A shard, a replica or the keeper behind the server that answered, or that server shutting down. 216: the line was
    # cut, and the driver, which sends a SELECT again, met the first one still running under its id.
    **dict.fromkeys((210, 216, 225, 236, 279, 285, 519, 999), errors.ClickHouseUnavailable),
    241: errors.QueryMemoryLimit,
    394: errors.QueryCancelled,
}
MISCONFIGURED_STATUS = ("status 401", "status 403", "status 404")
# How long a statement that touches no data may take to answer, in seconds: a tick must not hang on a deaf server.
SHORT = 10
LEAST_CONNECTIONS = 4
# A connection that has been idle this long, in seconds, may have gone silent; a new one costs less than that.
IDLE_SECONDS = 0.2
# What a statement says of itself in ClickHouse's own tables: whose work it is, nobody's data.
TAGS = ("organization_id", "audience_id", "run_id", "fence", "batch", "batch_runs", "index_id")
TOO_LARGE = ("Field value too long", "Too many form fields")
# How a memory limit begins that the server or the user met, not the query; versions differ in their words.
PRESSED = ("(total)", "(for user)", "User memory limit", "Total memory limit")


@dataclass(frozen=True, slots=True)
class Answer:
    """
    What one statement brought back.

    ``rows`` are tuples in the order of ``columns``; the rest is ClickHouse's own account of the statement: rows and
    bytes read, rows and bytes written, peak memory in bytes and elapsed milliseconds.
    """

    columns: tuple[str, ...]
    rows: Sequence[Sequence[Any]]
    read_rows: int = 0
    read_bytes: int = 0
    written_rows: int = 0
    written_bytes: int = 0
    memory_bytes: int = 0
    elapsed_ms: int = 0


def query(
    sql: str,
    parameters: Mapping[str, Any] | None = None,
    *,
    options: Mapping[str, Any] | None = None,
    query_id: str | None = None,
    seconds: int | None = None,
) -> Answer:
    """
    Run a statement that answers with rows.

    :param parameters: values for the statement's ``{name:Type}`` places
    :param options: ClickHouse settings of this statement
    :param query_id: stored by the caller before sending, so that somebody else can kill the query
    :param seconds: how long to wait for the answer; QUERY_CLIENT_SECONDS where it may take its time
    :raises AttemptError: named by what went wrong
    """
    result = _named(
        lambda client: client.query(sql, parameters=dict(parameters or {}), settings=_sent(options, query_id)), seconds
    )
    return Answer(tuple(result.column_names), result.result_rows, **_account(result.summary))


def command(
    sql: str,
    parameters: Mapping[str, Any] | None = None,
    *,
    options: Mapping[str, Any] | None = None,
    query_id: str | None = None,
    seconds: int | None = None,
) -> Answer:
    """
    Run a statement that answers with no rows: DDL, or an INSERT … SELECT that waits for its end.

    Parameters and errors are those of :func:`query`.
    """
    result = _named(
        lambda client: client.command(sql, parameters=dict(parameters or {}), settings=_sent(options, query_id)),
        seconds,
    )
    return Answer((), (), **_account(getattr(result, "summary", {})))


def insert_file(
    table: str, columns: Sequence[str], fmt: str, file: BinaryIO, *, options: Mapping[str, Any] | None = None
) -> int:
    """
    Stream a file into a table and return the rows written.

    :param fmt: a ClickHouse input format, ``Parquet`` or ``CSVWithNames``
    :param options: ClickHouse settings of this statement
    :raises AttemptError: named by what went wrong
    """
    result = _named(
        lambda client: client.raw_insert(
            table, column_names=list(columns) or None, insert_block=file, fmt=fmt, settings=_sent(options, None)
        )
    )
    return result.written_rows


def kill(query_ids: Iterable[str], *, seconds: float = 20, every: float = 2) -> bool:
    """
    Kill queries by their exact ids and return whether all of them are known to be gone.

    :param seconds: how long to insist
    :param every: pause between two attempts, in seconds
    """
    ids = list(query_ids)
    until = time.monotonic() + seconds
    while True:
        query("KILL QUERY WHERE query_id IN {ids:Array(String)} ASYNC FORMAT Null", {"ids": ids}, seconds=SHORT)
        left = query(
            "SELECT count() FROM system.processes WHERE query_id IN {ids:Array(String)}", {"ids": ids}, seconds=SHORT
        )
        if not left.rows[0][0]:
            return True
        if time.monotonic() + every > until:
            return False
        time.sleep(every)


def ping() -> None:
    """
    Ask ClickHouse for one row.

    :raises AttemptError: when it does not answer as it should
    """
    query("SELECT 1", seconds=SHORT)


def database() -> str:
    """Return the name of the database that CLICKHOUSE_URL leads to."""
    return urlsplit(settings.current().clickhouse_url.get_secret_value()).path.strip("/") or "default"


def forget() -> None:
    """Drop the client inherited from the parent process."""
    _way.cache_clear()
    _pool.cache_clear()


@dataclass(slots=True)
class _Way:
    """A client, and the monotonic second of its last answer."""

    client: Client
    answered: float

    def trusted(self) -> Client:
        """Return the client, without the connections that may have gone silent since the last answer."""
        if time.monotonic() > self.answered + IDLE_SECONDS:
            self.client.close_connections()
        return self.client


@cache
def _way(seconds: int | None = None) -> _Way:
    """Return this process's client of this patience; connecting asks the server for its time zone and settings."""
    current = settings.current()
    url = urlsplit(current.clickhouse_url.get_secret_value())
    client = clickhouse_connect.get_client(
        interface=url.scheme,
        host=url.hostname or "localhost",
        port=url.port or (8443 if url.scheme == "https" else 8123),
        username=unquote(url.username or "default"),
        password=unquote(url.password or ""),
        database=database(),
        connect_timeout=5,
        send_receive_timeout=seconds or current.query_client_seconds,
        query_retries=0,
        autogenerate_session_id=False,
        client_name="audience-worker",
        form_encode_query_params=True,
        pool_mgr=_pool(),
    )
    return _Way(client, time.monotonic())


@cache
def _pool() -> Any:
    """
    Return the connections of this process's clients; one stays open for each thread that asks at once.

    The driver remembers every pool for ever: one made for each client would be left behind by each that cannot connect.
    """
    return httputil.get_pool_manager(maxsize=max(LEAST_CONNECTIONS, settings.current().web_threads), num_pools=1)


def _named(send: Callable[[Client], Result], seconds: int | None = None) -> Result:
    """Send through the client and translate what goes wrong."""
    try:
        way = _way(seconds)
        result = send(way.trusted())
    except ClickHouseError as error:
        named = _name(error)
        logger.warning("clickhouse_refused", code=named.code, clickhouse_code=getattr(error, "code", None))
        logger.debug("clickhouse_said", text=str(error))
        raise named from error
    way.answered = time.monotonic()
    return result


def _name(error: ClickHouseError) -> errors.AttemptError:
    """Translate a driver's error into ours."""
    code, text = getattr(error, "code", None), str(error)
    if any(words in text for words in TOO_LARGE):
        return errors.ConfigRefused()
    if code == 241 and any(words in text for words in PRESSED):  # noqa: PLR2004 - MEMORY_LIMIT_EXCEEDED
        return errors.ClickHouseOverloaded()
    if code is None and isinstance(error, (ProgrammingError, DataError)):
        return errors.InternalError()
    if code is None:
        known = any(status in text for status in MISCONFIGURED_STATUS)
        return errors.ClickHouseMisconfigured() if known else errors.ClickHouseUnavailable()
    return BY_CODE.get(code, errors.InternalError)()


def _sent(chosen: Mapping[str, Any] | None, query_id: str | None) -> dict[str, Any]:
    """Return the settings to send with a statement: what shards need, what it is about, what it asks for itself."""
    sent: dict[str, Any] = dict(ddl.ACROSS_SHARDS if settings.current().shards else {})
    tags = log.bound(*TAGS)
    if tags:
        sent["log_comment"] = json.dumps(tags)
    sent |= chosen or {}
    if query_id:
        sent["query_id"] = query_id
    return sent


def _account(summary: Mapping[str, Any]) -> dict[str, int]:
    """Read ClickHouse's account of a statement."""
    return {
        "read_rows": int(summary.get("read_rows", 0)),
        "read_bytes": int(summary.get("read_bytes", 0)),
        "written_rows": int(summary.get("written_rows", 0)),
        "written_bytes": int(summary.get("written_bytes", 0)),
        "memory_bytes": int(summary.get("memory_usage", 0)),
        "elapsed_ms": int(summary.get("elapsed_ns", 0)) // 1_000_000,
    }
