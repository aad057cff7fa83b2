"""The walk through the HTTP side, exactly as the README has it, against real servers and processes."""

import csv
import re
import subprocess
import time
from pathlib import Path

import httpx
import pytest

from local import sample
from local.process import HOST, free_port
from local.programs import Programs
from worker import clickhouse, loads

ROOT = Path(__file__).parents[2]
PROCESSES = ["control", "beat", "manual", "announce", "web"]
FAST = {
    "RING_SECONDS": "1",
    "QUEUE_SECONDS": "1",
    "WATCH_SECONDS": "1",
    "MANUAL_CONCURRENCY": "1",
    "ANNOUNCE_CONCURRENCY": "1",
}
PATIENCE_SECONDS = 120


@pytest.fixture
def environment(stores, tmp_path):
    """Sample data, and every process that a client meets or needs; the environment that leads a shell there."""
    _load()
    ports = {"WEB_PORT": str(free_port()), "INTERNAL_PORT": str(free_port())}
    address = f"http://{HOST}:{ports['WEB_PORT']}"
    with Programs(tmp_path / "logs", {**stores.environment, **FAST, **ports, "PUBLIC_URL": address}) as programs:
        programs.start(PROCESSES)
        _ready(address)
        yield programs.environment


def _load() -> None:
    """Load a sample, with the two topics of the walk besides: those who research the most popular one research them."""
    sizes = sample.Sizes(people=2_000, signals=20_000, topics=100, days=1)
    sample.build(sizes, lambda *_: None)
    clickhouse.command(
        "INSERT INTO intent_signals SELECT data_date, topic, hem_hash, score FROM intent_signals"
        " ARRAY JOIN [4, 12] AS topic WHERE topic_id = {popular:UInt32}",
        {"popular": sizes.topic(0)},
    )
    loads.make_ready(sample.dates(sizes)[-1])


def _ready(address: str) -> None:
    """Return once the HTTP side says that it is ready."""
    until = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < until:
        try:
            if httpx.get(f"{address}/readyz", timeout=10).is_success:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    pytest.fail(f"the HTTP side was not ready within {PATIENCE_SECONDS} s")


def _walk() -> str:
    """Cut the commands out of the README."""
    (section,) = re.findall(
        r"^## For API clients$(.*?)^## ", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE
    )
    return "\n".join(re.findall(r"^```bash\n(.*?)^```$", section, re.DOTALL | re.MULTILINE))


def test_the_walk_of_the_readme(environment, tmp_path):
    """From a new key to a deleted audience, each command does what its comment says."""
    folder = tmp_path / "client"
    folder.mkdir()
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", _walk()],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )

    assert 0 == done.returncode, f"{done.stdout}\n{done.stderr}"
    with (folder / "people.csv").open(encoding="utf-8", newline="") as file:
        people = list(csv.DictReader(file))
    assert {"director", "vp", "c_suite"} == {person["seniority"] for person in people}
    for said in (
        '"valid": true',
        '"idempotencyKey": "first-steps-1"',
        "The run is completed.",
        f'"total": {len(people)}',
        '"scoreHistogram"',
        "Both files hold the same bytes.",
        '"cancelledRuns": 0',
    ):
        assert said in done.stdout, done.stdout
    assert ('"status":"cancelled"' in done.stdout) or ("It was claimed before." in done.stdout)
