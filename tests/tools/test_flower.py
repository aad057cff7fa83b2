"""Flower in a real browser: tasks stand there under names that say what they do, with results worth reading."""

import html
import sys
import time

import httpx
import pytest
from browser import browse
from prometheus_client.parser import text_string_to_metric_families

from local.process import HOST, free_port
from local.programs import Programs

FAST = {"RING_SECONDS": "1", "QUEUE_SECONDS": "1", "WATCH_SECONDS": "1", "RESCUE_SECONDS": "1"}
OPERATOR = "operator:a-password"
TICKS = {"control.ring", "control.rescue"}


@pytest.fixture
def flower(stores, tmp_path):
    """
    Flower's address without its scheme, with beat, a control worker and a worker of the daily lane to look at.

    Now and then a Flower that starts together with its workers counts none of their events until it is started again,
    which is what an operator does (docs/operations.md). What a test that fails needs to know is printed.
    """
    port, names = free_port(), ["flower", "control", "worker", "beat"]
    environment = {**stores.environment, **FAST, "PORT": str(port), "FLOWER_BASIC_AUTH": OPERATOR}
    with Programs(tmp_path / "logs", environment) as programs:
        programs.start(names)
        if not _counts(f"{HOST}:{port}", TICKS, seconds=30):
            sys.stderr.write("Flower counted nothing in 30 s and is started again.\n")
            programs.restart("flower")
        yield f"{HOST}:{port}"
        for name in names:
            state = "running" if programs.running(name) else "ended"
            sys.stderr.write(f"{name}, {state}:\n{programs.log(name).read_text()[-2000:]}\n")


def _counts(address: str, wanted: set[str], *, seconds: float) -> bool:
    """Wait until Flower's metrics have counted events of these tasks, and return whether they have."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if wanted <= _counted(address):
            return True
        time.sleep(1)
    return False


def _counted(address: str) -> set[str]:
    """Names of the tasks whose events Flower's metrics have counted so far; none while it does not answer yet."""
    try:
        figures = httpx.get(f"http://{address}/metrics").text
    except httpx.TransportError:
        return set()
    return {
        sample.labels["task"]
        for family in text_string_to_metric_families(figures)
        for sample in family.samples
        if sample.name == "flower_events_total"
    }


def _page(address: str) -> str:
    """What an operator's browser shows at an address, once its scripts have run."""
    return html.unescape(browse(f"http://{OPERATOR}@{address}", "--dump-dom"))


def _awaited(address: str, wanted: list[str]) -> str:
    """Look until everything wanted stands on the page."""
    until = time.monotonic() + 90
    while time.monotonic() < until:
        page = _page(address)
        if all(text in page for text in wanted):
            return page
        time.sleep(1)
    pytest.fail(f"{[text for text in wanted if text not in page]} are not on the page")


def test_tasks_are_named_for_what_they_do_and_show_their_results(flower):
    """The ticks are listed by name, each beside the counts it returned; no module path is a name."""
    names = ["control.ring", "control.queue_daily_runs", "control.watch_data", "control.rescue"]

    page = _awaited(f"{flower}/tasks", [*names, "SUCCESS", "'queued': 0"])

    assert "worker.tasks" not in page


def test_workers_are_named_for_what_they_serve(flower):
    """Each worker's name starts with its Procfile line's lane."""
    page = _awaited(f"{flower}/workers", ["control@", "daily@", "Online"])

    assert "celery@" not in page.replace("celery@hostname", "")


def test_pages_ask_for_the_password_and_metrics_do_not(flower):
    """Who shows the password sees the queues; nobody else looks in, but Prometheus reads the tasks by name."""
    name, password = OPERATOR.split(":")
    _awaited(f"{flower}/broker", ["control", "daily", "manual", "announce"])

    assert [401, 200] == [
        httpx.get(f"http://{flower}/workers", auth=auth, follow_redirects=True).status_code
        for auth in (None, (name, password))
    ]
    assert _counts(flower, TICKS, seconds=90)
