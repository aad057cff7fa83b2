"""Flower in a real browser: tasks stand there under names that say what they do, with results worth reading."""

import html
import subprocess
import time

import pytest

from local.process import free_port
from local.programs import Programs

FAST = {"RING_SECONDS": "1", "QUEUE_SECONDS": "1", "WATCH_SECONDS": "1", "RESCUE_SECONDS": "1"}
CHROMIUM = (
    *("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--virtual-time-budget=5000", "--dump-dom"),
)


@pytest.fixture
def flower(stores, tmp_path):
    """Flower's address, with beat, a control worker and a worker of the daily lane to look at."""
    port = free_port()
    environment = {**stores.environment, **FAST, "PORT": str(port), "FLOWER_UNAUTHENTICATED_API": "true"}
    with Programs(tmp_path / "logs", environment) as programs:
        programs.start(["flower", "control", "worker", "beat"])
        yield f"http://127.0.0.1:{port}"


def _page(address: str, folder) -> str:
    """What a browser shows at an address, once its scripts have run."""
    shown = subprocess.run(
        [*CHROMIUM, f"--user-data-dir={folder}/chromium", address],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return html.unescape(shown.stdout)


def _awaited(address: str, folder, wanted: list[str]) -> str:
    """Look until everything wanted stands on the page."""
    until = time.monotonic() + 90
    while time.monotonic() < until:
        page = _page(address, folder)
        if all(text in page for text in wanted):
            return page
        time.sleep(1)
    pytest.fail(f"{[text for text in wanted if text not in page]} are not on the page")


def test_tasks_are_named_for_what_they_do_and_show_their_results(flower, tmp_path):
    """The ticks are listed by name, each beside the counts it returned; no module path is a name."""
    names = ["control.ring", "control.queue_daily_runs", "control.watch_data", "control.rescue"]

    page = _awaited(f"{flower}/tasks", tmp_path, [*names, "SUCCESS", "'queued': 0"])

    assert "worker.tasks" not in page


def test_workers_are_named_for_what_they_serve(flower, tmp_path):
    """Each worker's name starts with its Procfile line's lane."""
    page = _awaited(f"{flower}/workers", tmp_path, ["control@", "daily@", "Online"])

    assert "celery@" not in page.replace("celery@hostname", "")
