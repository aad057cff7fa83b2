"""The faults that the public benchmark of Postgres queues puts queues through, and a few of our own."""

import contextlib
import os
import signal
import time

import psycopg
import pytest
import scenarios
from scenarios import all_completed, awaited, count, now, pauses, seconds
from sqlalchemy.engine import make_url

from local.process import HOST
from worker.app import ring

RUNS = 300
PATIENCE_SECONDS = 120  # two lengths of a lease
HELD_SECONDS = 15
OURS = "FROM pg_stat_activity WHERE application_name = 'audience-worker'"


def worker_killed(site):
    """What it held keeps its places in the lane until its lease is over: its queries may go on. Then it is rescued."""
    site.programs.kill("worker")
    site.programs.start(["worker"])


def worker_stopped(site):
    """What is under way is ended, nothing new is claimed, and the next process goes on."""
    site.programs.restart("worker")


def redis_restarted(site):
    """Drains need no Redis; the next ringing tick fills it again."""
    site.servers.redis.restart()


def redis_flushed(site):
    """Drains need no Redis; the next ringing tick fills it again."""
    site.flush()


def postgres_restarted(site):
    """No connection survives; attempts that end meanwhile are handed back once it listens, and bells start new drains."""
    postgres = site.servers.postgres
    os.kill(postgres.pid, signal.SIGQUIT)
    postgres.stop()
    postgres.start()


def backends_killed(site):
    """One of the programs' sessions after another is ended by Postgres, twice a second."""
    with onlooker(site) as session:
        for _ in range(2 * HELD_SECONDS):
            session.execute(f"SELECT pg_terminate_backend(pid) {OURS} ORDER BY random() LIMIT 1")
            time.sleep(0.5)


def idle_in_transaction(site):
    """Somebody else's open transaction holds back old rows and twenty due runs; claims pass them over."""
    with onlooker(site) as session, session.transaction():
        session.execute("SELECT FROM runs WHERE status = 'queued' LIMIT 20 FOR UPDATE SKIP LOCKED")
        time.sleep(HELD_SECONDS)


def pool_exhausted(site):
    """Strangers take every connection there is, the programs' own too; what was under way is handed back after it."""
    with contextlib.ExitStack() as strangers:
        session = strangers.enter_context(onlooker(site))
        for _ in range(2):
            with contextlib.suppress(psycopg.OperationalError):
                while True:
                    strangers.enter_context(onlooker(site))
            session.execute(f"SELECT pg_terminate_backend(pid) {OURS}")
        time.sleep(HELD_SECONDS)


def clickhouse_restarted(site):
    """Attempts end uncharged, the lane stays closed until a ping is answered."""
    site.servers.clickhouse.restart()


def worker_killed_again_and_again(site):
    """Each new process is killed as soon as it has claimed, which it can once the last one's leases are over."""
    for _ in range(3):
        site.programs.kill("worker")
        site.programs.start(["worker"])
        since = now()
        awaited(lambda since=since: began_since(since), PATIENCE_SECONDS, "a claim of the new worker")


FAULTS = {
    "worker kill -9": worker_killed,
    "worker SIGTERM": worker_stopped,
    "Redis restarted empty": redis_restarted,
    "Redis FLUSHALL": redis_flushed,
    "Postgres immediate restart": postgres_restarted,
    "back-ends killed one by one": backends_killed,
    "transaction left idle": idle_in_transaction,
    "connections exhausted": pool_exhausted,
    "ClickHouse restarted": clickhouse_restarted,
    "worker kill -9, three times": worker_killed_again_and_again,
}


@pytest.mark.parametrize("name", FAULTS)
def test_work_goes_on_after(site, page, name):
    """Whatever breaks, every run is completed once, and soon."""
    site.awake(["beat", "control", "worker"])
    scenarios.due_runs(RUNS)
    ring("daily", 4)
    awaited(lambda: count("completed") >= RUNS / 10, 60, "steady work")

    began = now()
    FAULTS[name](site)
    lasted = seconds(began, now())
    all_completed(RUNS, 300)

    pause, back = pauses(began)
    page.add("faults", name, " ".join(FAULTS[name].__doc__.split()), lasted, pause, back or "-", RUNS)
    assert max(pause, back) < lasted + PATIENCE_SECONDS


def began_since(moment):
    """Whether a run was claimed since."""
    return scenarios.read("SELECT FROM run_attempts WHERE started_at > :moment LIMIT 1", moment=moment)


def onlooker(site):
    """Open a session of this test's database that is none of the programs'."""
    name = make_url(site.programs.environment["DATABASE_URL"]).database
    return psycopg.connect(host=HOST, port=site.servers.postgres.port, user="postgres", dbname=name, autocommit=True)
