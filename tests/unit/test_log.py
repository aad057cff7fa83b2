"""What a line of the log looks like, and what never stands in one."""

import io
import json
import logging

import pytest
import structlog

from worker import log


@pytest.fixture
def logged():
    """A text stream that takes what one format writes; the test run's own handlers come back afterwards."""
    level, stream = logging.root.level, io.StringIO()
    before = logging.root.handlers[:]

    def configured(fmt: str) -> io.StringIO:
        log.configure(fmt, "INFO")
        logging.root.handlers[0].setStream(stream)
        return stream

    yield configured
    logging.root.handlers[:] = before
    logging.root.setLevel(level)
    structlog.contextvars.clear_contextvars()


@pytest.fixture
def written(logged):
    """Lines written since, as objects."""
    stream = logged("json")
    return lambda: [json.loads(line) for line in stream.getvalue().splitlines()]


def test_an_event_carries_what_was_bound(written):
    """Context bound by a door stands in every line."""
    structlog.contextvars.bind_contextvars(run_id="r1")

    log.get("worker.here").info("run_completed", results=3)

    (line,) = written()
    assert ("run_completed", "r1", 3, "info", "worker.here") == tuple(
        line[name] for name in ("event", "run_id", "results", "level", "logger")
    )


def test_a_librarys_line_goes_through_the_same_formatter(written):
    """The standard library's loggers write the same kind of line, context included."""
    structlog.contextvars.bind_contextvars(task="runs.drain")

    logging.getLogger("celery.worker").warning("Connection to broker lost after %s s", 3)

    (line,) = written()
    assert ("Connection to broker lost after 3 s", "runs.drain") == (line["event"], line["task"])


@pytest.mark.parametrize(
    "said",
    [
        "Cannot connect to redis://:secret@cache.internal:6379/0: refused",
        "Retrying after connection broken by HTTPConnection(host='db.internal', port=8123): /query",
        'connection to server at "db.internal", port 5432 failed: secret',
        "Error 111 connecting to db.internal:6379. Connection refused.",
        "failed to resolve host 'db.internal'",
    ],
)
def test_addresses_are_struck_from_what_libraries_say(written, said):
    """Hosts, URLs and the passwords in them never reach the log."""
    logging.getLogger("kombu.connection").error(said)

    (line,) = written()
    assert "<address>" in line["event"]
    assert "internal" not in line["event"]
    assert "secret@" not in line["event"]


def test_an_exception_is_one_line(written):
    """A traceback is a field of its event, not lines of its own."""
    try:
        int("broken")
    except ValueError:
        log.get("worker.here").exception("run_broke")

    (line,) = written()
    assert "ValueError: invalid literal" in line["exception"]


def test_people_get_text(logged):
    """The console format is for eyes, not for machines."""
    stream = logged("console")

    log.get("worker.here").info("run_completed", results=3)

    assert "run_completed" in stream.getvalue()
    assert not stream.getvalue().startswith("{")


def test_people_get_a_traceback_without_values(logged):
    """What variables held, addresses with passwords among them, is nobody's business on a screen either."""
    stream = logged("console")

    def connect(url):
        raise ValueError("broken")

    secret = "sword" + "fish"
    try:
        connect(f"redis://:{secret}@cache.internal/0")
    except ValueError:
        log.get("worker.here").exception("run_broke")

    assert "ValueError: broken" in stream.getvalue()
    assert "swordfish" not in stream.getvalue()
