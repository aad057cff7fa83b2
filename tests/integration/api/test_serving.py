"""``python -m api`` as a process: how it starts, what it bears, how it stops."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import builders
import httpx
import psutil
import pytest
import web
from sqlalchemy import text

from local.environment import whole
from local.process import HOST, free_port, taken
from worker.database import engine

PATIENCE_SECONDS = 30


class Process:
    """One ``python -m api``."""

    def __init__(self, environment, folder, *arguments, program=("-m", "api"), **settings):
        self.port, self.internal = (free_port() for _ in range(2))
        ports = {"WEB_PORT": str(self.port), "INTERNAL_PORT": str(self.internal)}
        self.log = folder / f"web-{self.port}.log"
        with self.log.open("w") as log:
            self.running = subprocess.Popen(
                [sys.executable, *program, *arguments],
                env=whole({**environment, **ports, **settings}),
                cwd=Path(__file__).parents[3],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    @property
    def address(self):
        """Where clients reach it."""
        return f"http://{HOST}:{self.port}"

    def up(self):
        """Return once both ports answer."""
        until(lambda: self.running.poll() is not None or (taken(self.port) and taken(self.internal)))
        assert self.running.poll() is None, self.said()
        assert 200 == httpx.get(f"{self.address}/healthz").status_code
        return self

    def ended(self):
        """Return the exit code once it has ended."""
        return self.running.wait(timeout=PATIENCE_SECONDS)

    def said(self):
        """Return what it wrote to standard error."""
        return self.log.read_text()


def until(happened):
    """Wait for something to happen."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def start(tables, tmp_path):
    """Start processes over empty Postgres tables; whatever is left of them is killed."""
    with contextlib.ExitStack() as stack:

        def started(*arguments, **settings):
            process = Process(tables.environment, tmp_path, *arguments, **settings)
            stack.callback(process.running.communicate)
            stack.callback(process.running.kill)
            return process

        yield started


@contextlib.contextmanager
def locked():
    """Hold what every list of runs reads, so that a request stays under way."""
    with engine().connect() as connection:
        connection.execute(text("LOCK TABLE runs IN ACCESS EXCLUSIVE MODE"))
        yield connection


def asking(process, organization):
    """Begin a request over a raw connection, and return the connection: its answer waits for the lock."""
    path = f"/v1/intent/audiences/{builders.saved(organization_id=organization)}/runs"
    key = web.key_of(organization)

    def ask():
        connection = socket.create_connection((HOST, process.port), timeout=PATIENCE_SECONDS)
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: here\r\nX-API-Key: {key}\r\n\r\n".encode())
        return connection

    return ask


def received(connection):
    """Return all that comes until the other side closes."""
    with connection, contextlib.suppress(ConnectionResetError):
        return b"".join(iter(lambda: connection.recv(65_536), b""))


def test_it_serves_and_stops(start):
    """Both ports answer, and SIGTERM ends the process with 0 and closes both."""
    process = start().up()
    metrics = httpx.get(f"http://{HOST}:{process.internal}/metrics")
    answer = httpx.get(f"{process.address}/healthz")
    process.running.send_signal(signal.SIGTERM)

    assert (0, False, False) == (process.ended(), taken(process.port), taken(process.internal))
    assert (200, False) == (metrics.status_code, "server" in answer.headers)


def test_its_log_is_json_and_holds_no_path(start):
    """Every line is one JSON object, the server's own lines too, and none shows what a path may hold."""
    process = start().up()
    httpx.get(f"{process.address}/v1/secret-in-a-path")
    process.running.send_signal(signal.SIGTERM)
    process.ended()

    lines = [json.loads(line) for line in process.said().splitlines()]
    assert {"api.serving", "uvicorn.error", "api.middleware"} <= {line["logger"] for line in lines}
    assert "secret-in-a-path" not in process.said()


def test_what_is_under_way_is_finished(start, organization):
    """After SIGTERM nothing new is accepted, and the answer that was being worked on is given before the end."""
    process = start().up()
    ask = asking(process, organization)
    with locked() as connection:
        waiting = ask()
        builders.until_somebody_waits()
        process.running.send_signal(signal.SIGTERM)
        until(lambda: not taken(process.port))
        early = process.running.poll()
        connection.rollback()
        answer = received(waiting)

    assert (None, True, 0) == (early, answer.startswith(b"HTTP/1.1 200 "), process.ended())


@contextlib.contextmanager
def deaf(connection):
    """Stop the session that waits for a lock: whoever asked it hears nothing until the end."""
    [pid] = connection.scalars(text("SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock'"))
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_what_cannot_be_finished_is_cut_short(start, organization):
    """A request that outlasts the grace keeps the process no longer than that, and the log says so."""
    process = start(SHUTDOWN_GRACE_SECONDS="12").up()
    ask = asking(process, organization)
    with locked() as connection, ask():
        builders.until_somebody_waits()
        with deaf(connection):
            process.running.send_signal(signal.SIGTERM)
            began = time.monotonic()
            code = process.ended()

    assert (0, True) == (code, time.monotonic() - began < 12)
    assert "requests_cut_short" in process.said()


def test_a_second_signal_ends_it_at_once(start, organization):
    """Whoever asks twice does not wait for requests."""
    process = start().up()
    ask = asking(process, organization)
    with locked(), ask():
        builders.until_somebody_waits()
        process.running.send_signal(signal.SIGTERM)
        until(lambda: not taken(process.port))
        process.running.send_signal(signal.SIGTERM)
        began = time.monotonic()
        code = process.ended()

    assert (128 + signal.SIGTERM, True) == (code, time.monotonic() - began < 2)


@pytest.mark.parametrize("name", ["WEB_PORT", "INTERNAL_PORT"])
def test_a_taken_port_is_one_sentence(start, name):
    """A port that somebody else has is named in one sentence, and nothing is served."""
    with socket.create_server((HOST, 0)) as other:
        port = other.getsockname()[1]
        process = start(**{name: str(port)})

        assert (2, f"{name} {port} is taken.\n") == (process.ended(), process.said())


def test_an_address_of_nobody_is_one_sentence(start):
    """An address that is not this machine's is refused by its variable's name."""
    process = start(WEB_HOST="192.0.2.1")

    assert (2, "WEB_HOST names no address of this machine.\n") == (process.ended(), process.said())


def test_a_setting_that_cannot_work_is_one_sentence(start):
    """A variable that cannot work is named, and its value is not repeated."""
    process = start(WEB_PORT="eighty")

    code, said = process.ended(), process.said()
    assert (2, True, 1, False) == (code, said.startswith("WEB_PORT: "), len(said.splitlines()), "eighty" in said)


@pytest.mark.parametrize(("word", "code"), [("--help", 0), ("--port=80", 2)])
def test_it_takes_no_arguments(start, word, code):
    """Any argument is answered by where settings come from; asking for help is no mistake."""
    process = start(word)

    said, ended = process.running.stdout.read() + process.said(), process.ended()
    assert (code, 1, True) == (ended, len(said.splitlines()), "takes no arguments" in said)


@pytest.mark.parametrize("head", [b"X-Long: " + b"a" * 100_000, b"X-Many: a\r\n" * 9_000])
def test_a_head_that_does_not_end_is_refused(start, head):
    """Headers of more than 32 KiB are refused while they come in, and the next client is served."""
    process = start().up()
    connection = socket.create_connection((HOST, process.port), timeout=PATIENCE_SECONDS)
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: here\r\n" + head)

    assert received(connection)[:13] in {b"HTTP/1.1 400 ", b""}
    assert 200 == httpx.get(f"{process.address}/healthz").status_code


def test_headers_of_a_usual_size_are_taken(start):
    """A few kilobytes of headers, as browsers and proxies send them, are no trouble."""
    process = start().up()

    assert 200 == httpx.get(f"{process.address}/healthz", headers={"X-Long": "a" * 16_000}).status_code


def test_who_says_nothing_is_let_go(start):
    """A connection that never completes a request's head is closed, however slowly it drips."""
    process = start().up()
    with socket.create_connection((HOST, process.port), timeout=PATIENCE_SECONDS) as slow:
        slow.sendall(b"GET /healthz HTTP/1.1\r\n")
        began = time.monotonic()
        closed = received(slow)

    assert (b"", True) == (closed, 8 < time.monotonic() - began < 15)


def test_what_trails_a_body_is_thrown_away(start):
    """Trailers of a chunked body are kept by nobody, however many there are."""
    process = start().up()
    before = psutil.Process(process.running.pid).memory_info().rss
    head = f"POST /v1/intent/audiences/validate HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\n"
    with socket.create_connection((HOST, process.port), timeout=PATIENCE_SECONDS) as sender:
        sender.sendall(head.encode() + b"Content-Type: application/json\r\n\r\n0\r\n")
        for number in range(16_000):
            sender.sendall(f"X-{number}: {'a' * 1000}\r\n".encode())
        grown = psutil.Process(process.running.pid).memory_info().rss - before
        sender.sendall(b"\r\n")
        answer = sender.recv(12)

    assert (b"HTTP/1.1 401", True) == (answer, grown < 8_000_000), grown
