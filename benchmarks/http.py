"""
How long the HTTP side takes: ``make bench-http``.

Lists, result pages and new runs under 50 concurrent clients, each beside a bare FastAPI route that is served the same
way, in the same run, on the same machine. Servers and processes are real; every number printed was just measured.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import text

from local import sample
from local.environment import whole
from local.process import HOST, free_port, taken
from local.servers import Servers
from worker import audience, audiences, drain, keys, loads, log, manual, migrate
from worker.database import transaction

ROOT = Path(__file__).parent.parent
SIZES = sample.Sizes(people=50_000, signals=300_000, topics=100, days=1)
LISTED = 25
PLACES = 40_000
START_SECONDS = 60
ORGANIZATION = uuid4()


def main() -> int:
    """Start everything, measure, print the table."""
    options = _options()
    log.configure("console", "WARNING")
    with ExitStack() as running, tempfile.TemporaryDirectory(prefix="aw-") as name:
        folder = Path(name)
        servers = running.enter_context(Servers(folder / "servers"))
        environment = whole({**servers.environment(), "RATE_LIMIT_PER_MINUTE": "0"})
        os.environ.clear()
        os.environ.update(environment)
        audience_id, run_id, key = _prepared()
        ours = running.enter_context(_process(["-m", "api"], environment, folder / "api.log"))
        bare = running.enter_context(_process(["-m", "benchmarks.bare"], environment, folder / "bare.log"))
        runs = f"/v1/intent/audiences/{audience_id}/runs"
        asked = {
            "bare FastAPI route": (bare, "GET", "/healthz", [""]),
            f"list, {LISTED} runs": (ours, "GET", f"{runs}?limit={LISTED}", [""]),
            "results, limit 100": (ours, "GET", f"{runs}/{run_id}/results?limit=100", [""]),
            "queue, a new run each": (ours, "POST", "/v1/intent/audiences/{place}/runs", _places()),
        }
        found = {what: _measured(options, key, *how) for what, how in asked.items()}
    _show(found, options)
    return 0


def _options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Measure the HTTP side beside a bare FastAPI route.")
    parser.add_argument("--clients", type=int, default=50, help="concurrent clients (50)")
    parser.add_argument("--seconds", type=float, default=10, help="how long each route is measured (10)")
    return parser.parse_args()


def _prepared() -> tuple[UUID, UUID, str]:
    """Load a sample, complete a run over it, and return the audience's id, the run's and a key."""
    migrate.migrate()
    sample.build(SIZES, lambda *_: None)
    loads.watch()
    config = audience.parse({"topicIds": [SIZES.topic(place) for place in range(5)]})
    with transaction() as connection:
        key = keys.create(connection, ORGANIZATION, "benchmark")
        audience_id = audiences.add(connection, organization_id=ORGANIZATION, name="Benchmark", config=config)
    ids = [_completed(audience_id) for _ in range(LISTED)]
    _save_places()
    return audience_id, ids[-1], key


def _completed(audience_id: UUID) -> UUID:
    """Queue a run and work on it here."""
    run = manual.queue(audience_id)
    drained = drain.drain("manual", "benchmark@here")
    if drained.get("completed") != 1:
        sys.exit(f"The run to read was not completed: {drained}")
    return run.run_id


def _save_places() -> None:
    """Save many audiences in one statement, so that each queued run is a new one."""
    sql = """
        INSERT INTO audiences (id, organization_id, name, status, config, config_hash)
        SELECT gen_random_uuid(), organization_id, 'Place', 'draft', config, config_hash
        FROM audiences, generate_series(1, :count)
    """
    with transaction() as connection:
        connection.execute(text(sql), {"count": PLACES})
        connection.execute(text("ANALYZE audiences"))


def _places() -> list[str]:
    """Return the ids of those audiences."""
    with transaction() as connection:
        return [str(one) for one in connection.scalars(text("SELECT id FROM audiences WHERE name = 'Place'"))]


@contextmanager
def _process(arguments: Sequence[str], environment: dict[str, str], log: Path) -> Iterator[int]:
    """Serve on a free port until the end of the block, and give the port."""
    port, internal = free_port(), free_port()
    ports = {"WEB_PORT": str(port), "INTERNAL_PORT": str(internal), "PYTHONPATH": str(ROOT)}
    with log.open("w") as file:
        process = subprocess.Popen([sys.executable, *arguments], env={**environment, **ports}, stderr=file)
    try:
        until = time.monotonic() + START_SECONDS
        while not taken(port):
            if process.poll() is not None or time.monotonic() > until:
                sys.exit(f"{' '.join(arguments)} does not serve:\n{log.read_text()}")
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait(timeout=60)


def _measured(
    options: argparse.Namespace, key: str, port: int, method: str, path: str, places: Sequence[str]
) -> dict[str, Any]:
    """Let the clients ask one route: shortly to warm it up, then for the time that counts."""
    asked = {"host": HOST, "port": port, "key": key, "method": method, "path": path, "clients": options.clients}
    half = len(places) // 2
    shares = (places[:half] or places, places[half:])
    for seconds, share in zip((1, options.seconds), shares, strict=True):
        order = json.dumps({**asked, "seconds": seconds, "places": share})
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.load"], input=order, capture_output=True, text=True, check=True
        )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _show(found: dict[str, dict[str, Any]], options: argparse.Namespace) -> None:
    """Print the table."""
    bare = next(iter(found.values()))
    print(f"{options.clients} clients at once, {options.seconds:g} s a route; milliseconds, and times the bare route")
    print(f"{'':24}{'p50 ms':>9}{'p99 ms':>9}{'p50 x':>8}{'p99 x':>8}{'per s':>8}  statuses")
    for what, it in found.items():
        ratios = f"{it['p50'] / bare['p50']:8.1f}{it['p99'] / bare['p99']:8.1f}"
        statuses = ", ".join(f"{status}: {count}" for status, count in sorted(it["statuses"].items()))
        print(f"{what:24}{it['p50']:9.1f}{it['p99']:9.1f}{ratios}{it['requests'] / options.seconds:8.0f}  {statuses}")


if __name__ == "__main__":
    sys.exit(main())
