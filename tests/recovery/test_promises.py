"""Four promises, measured: kill -9, Redis emptied, SIGTERM, a big neighbour."""

import time
from statistics import median

import pytest
import scenarios
from scenarios import all_completed, awaited, now, read, seconds

from local.programs import Programs
from worker.app import ring

KILLS = 20
LEASE_SECONDS = 60


def test_killed_workers(site, stores, page, tmp_path):
    """A run whose worker was killed in mid-query is claimed again within two lengths of its lease."""
    crowded = {"DAILY_CONCURRENCY": "1", "LANE_MAX_STATEMENTS": str(3 * KILLS)}
    procfile = scenarios.numbered(tmp_path, "worker", KILLS)
    victims = [f"worker{number}" for number in range(1, KILLS + 1)]
    with Programs(tmp_path / "victims", {**stores.environment, **crowded}, procfile=procfile) as programs:
        with scenarios.slow_people(site.clickhouse):
            programs.start(victims)
            awaited(lambda: all("ready." in programs.log(it).read_text() for it in victims), 300, "the workers' start")
            scenarios.due_runs(KILLS)
            ring("daily", KILLS)
            awaited(lambda: KILLS == querying(site), 60, "the queries of all workers")
            site.programs.start(["beat", "control", "worker"])
            killed = killed_one_by_one(programs, victims)
        all_completed(KILLS, 3 * LEASE_SECONDS)

    again = read("SELECT run_id, min(started_at) AS at FROM run_attempts WHERE fence > 1 GROUP BY run_id")
    waits = sorted(seconds(killed[row["run_id"]], row["at"]) for row in again)
    assert len(waits) == KILLS
    assert waits[-1] < 2 * LEASE_SECONDS
    page.add("kills", KILLS, waits[0], median(waits), waits[-1])


def querying(site):
    """Count the attempts whose query is under way."""
    return site.clickhouse.command("SELECT count() FROM system.processes WHERE query_id LIKE '%-freeze'")


def killed_one_by_one(programs, victims):
    """Kill each a second after the other, and tell when each run lost its worker."""
    held = {row["claimed_by"].partition("@")[0]: row["id"] for row in read("SELECT id, claimed_by FROM runs")}
    killed = {}
    for victim in victims:
        killed[held[victim.replace("worker", "daily")]] = now()
        programs.kill(victim)
        time.sleep(1)
    return killed


@pytest.mark.parametrize("empty", ["flush", "restart_redis"])
def test_redis_emptied(site, page, empty):
    """A thousand runs become due when no message is left, and all of them are done."""
    site.awake(["beat", "control", "worker"])

    measured = scenarios.emptied(getattr(site, empty), 1000, patience=900)

    assert measured[0] < scenarios.RINGING_SECONDS
    page.add("emptied", {"flush": "FLUSHALL", "restart_redis": "restarted empty"}[empty], 1000, *measured)


def test_sigterm(site, page):
    """A worker that is told to stop claims nothing more, and the next one does the rest."""
    site.awake(["beat", "control", "worker"])

    last, left = scenarios.stopped(site, 100)
    site.programs.start(["worker"])
    all_completed(100, 120)

    assert last < 1
    assert left > 0
    page.add("stopped", 100, last, left)


def test_a_big_neighbour(site, page):
    """Fifty organizations with one run each are served beside one with five thousand."""
    site.awake(["beat", "control", "worker"])

    begun, took = scenarios.overtaken(5000, 50, patience=300)

    assert begun < 0.05 * 5000
    page.add("neighbours", 5000, 50, took, begun)
