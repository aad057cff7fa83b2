"""The doors: tasks called in this process, with a real Redis behind the bells."""

from datetime import UTC, datetime, timedelta

import builders
import pytest
import redis
from sqlalchemy import text

from scheduler import ticks
from worker import app, clickhouse, database, presence, settings, tasks, ticked
from worker.database import transaction

YESTERDAY = builders.MONDAY


@pytest.fixture
def broker(stores):
    """The Redis that the bells hang in."""
    with redis.Redis.from_url(stores.environment["REDIS_URL"]) as client:
        yield client


def _bells(broker) -> dict[str, int]:
    return {name: count for name in app.QUEUES if (count := broker.llen(name))}


def _serve(*lanes: str, ago: float = 0) -> None:
    """Let a worker of each lane have looked for work so many seconds ago."""
    with transaction() as connection:
        for lane in lanes:
            presence.seen(connection, f"{lane}@test", lane, now=datetime.now(UTC) - timedelta(seconds=ago))


def _age_tick(name: str, seconds: float) -> None:
    """Make a tick's last pass older than it is."""
    with transaction() as connection:
        connection.execute(
            text("INSERT INTO ticks VALUES (:name, now()) ON CONFLICT (name) DO NOTHING"), {"name": name}
        )
        connection.execute(
            text("UPDATE ticks SET passed_at = now() - make_interval(secs => :age) WHERE name = :name"),
            {"name": name, "age": seconds},
        )


def test_bells_are_topped_up_not_piled_up(broker):
    """Ringing twice leaves as many bells as ringing once."""
    assert (3, 0) == (app.ring("daily", 3), app.ring("daily", 3))
    assert {"daily": 3} == _bells(broker)


def test_a_dead_redis_stops_nobody(stores, monkeypatch):
    """A bell that cannot be rung is forgotten: the sweep over Postgres will ring again."""
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:9/0")
    settings.current.cache_clear()

    assert 0 == app.ring("daily", 1)


def test_the_ring_tick_rings_for_each_lane_with_due_work(broker):
    """As many bells as due runs, at most LANE_BELLS, and none for a lane that is served and empty."""
    audience_id = builders.saved(now=None)
    _serve("announce")
    builders.many_queued(audience_id, 2)
    for _ in range(9):
        builders.queued(audience_id, lane="daily")

    rung = ticks.ring()

    assert {"manual": 2, "daily": 4} == rung
    assert rung == _bells(broker)


@pytest.mark.parametrize(("seconds", "bells"), [(50, {}), (70, {"announce": 1, "daily": 1, "manual": 1})])
def test_a_lane_where_nobody_was_seen_is_rung_for_once(broker, seconds, bells):
    """After a minute without a sign of life one bell waits per lane, however often the tick passes."""
    _serve("manual", "daily", "announce", ago=seconds)

    for _ in range(2):
        tasks.ring_silent()

    assert bells == _bells(broker)


def test_a_tick_that_has_just_passed_is_skipped(broker):
    """Two beats are harmless: the second pass returns at once."""
    ticks.ring()

    assert {"skipped": True} == ticks.ring()


@pytest.mark.parametrize(
    "name", ["ring", "queue_daily_runs", "watch_data", "rescue_lost", "rescue_announcements", "prune_outlived"]
)
def test_every_tick_passes_over_empty_stores(broker, name):
    """With nothing to do each tick returns counts of nothing and rings nobody who was seen lately."""
    _serve("manual", "daily", "announce")

    counts = getattr(ticks, name)()

    assert not any(counts.values())
    assert {} == _bells(broker)


def test_queued_daily_runs_are_rung_for_at_once(broker):
    """The bell follows the commit, not the next ring tick."""
    builders.ready(YESTERDAY)
    builders.saved(status="active", due_now=True, now=None)

    counts = ticks.queue_daily_runs()

    assert {"due": 1, "queued": 1} == counts
    assert {"daily": 1} == _bells(broker)


def test_a_rescued_run_is_rung_for_at_once(broker):
    """What a lost worker held is offered again without waiting for the ring tick."""
    builders.held(now=None, due_at=builders.NOON)
    with transaction() as connection:
        connection.execute(text("UPDATE runs SET lease_expires_at = now() - interval '1 second'"))

    counts = ticks.rescue_lost()

    assert 1 == counts["retried"]
    assert {"manual": 1} == _bells(broker)


def test_a_drain_rings_when_the_scheduler_is_silent(broker):
    """With the ring tick long overdue, whoever hears a bell rings for the others."""
    audience_id = builders.saved(now=None)
    builders.queued(audience_id, lane="daily")
    _age_tick("ring", 31)

    done = tasks.drain_runs("manual")

    assert done["last"] == []
    assert {"daily": 1} == _bells(broker)


def test_a_drain_leaves_the_ringing_to_a_scheduler_that_is_alive(broker):
    """With the ring tick on time a drain rings nobody."""
    audience_id = builders.saved(now=None)
    builders.queued(audience_id, lane="daily")
    _age_tick("ring", 20)

    tasks.drain_runs("manual")

    assert {} == _bells(broker)


def test_a_drain_out_of_time_rings_for_the_rest(broker, monkeypatch):
    """A bell's time is bounded; what it could not do is rung for again."""
    monkeypatch.setenv("DRAIN_SECONDS", "0.001")
    settings.current.cache_clear()
    builders.queued(builders.saved(now=None))

    done = tasks.drain_runs("manual")

    assert done["more"]
    assert {"manual": 1} == _bells(broker)


def test_announcements_are_drained_by_their_own_task(stores):
    """With nothing to announce the task says so."""
    done = tasks.drain_announcements()

    assert not any(value for name, value in done.items() if name != "seconds")


def test_a_worker_told_to_stop_has_its_grace(stores, monkeypatch):
    """After the stop signal the drain claims nothing more; near the end of the grace it must leave."""
    monkeypatch.setattr(app, "_stopped_at", type("Flag", (), {"value": 0.0})())
    before = (app.stopping(), app.leaving())

    app._stop()
    at_once = (app.stopping(), app.leaving())
    app._stopped_at.value -= timedelta(seconds=30).total_seconds()
    later = (app.stopping(), app.leaving())

    assert ((False, False), (True, False), (True, True)) == (before, at_once, later)


def test_a_tick_whose_server_is_gone_says_so_and_keeps_its_age(broker, monkeypatch):
    """ClickHouse down: the tick's result is one word, and its last pass stays the one before."""
    _age_tick("watch_data", 100)
    monkeypatch.setenv("CLICKHOUSE_URL", "http://default@127.0.0.1:9/default")
    settings.current.cache_clear()
    clickhouse.forget()

    assert {"broken": "CLICKHOUSE_UNAVAILABLE"} == ticks.watch_data()
    with transaction() as connection:
        assert ticked.ages(connection)["watch_data"] > 99


def test_a_first_pass_that_failed_counts_as_none(broker, monkeypatch):
    """A tick that has never passed still has not."""
    monkeypatch.setenv("CLICKHOUSE_URL", "http://default@127.0.0.1:9/default")
    settings.current.cache_clear()
    clickhouse.forget()

    ticks.watch_data()

    with transaction() as connection:
        assert "watch_data" not in ticked.ages(connection)


def test_a_drain_without_postgres_is_a_result(broker, monkeypatch):
    """Postgres down: one word instead of a traceback with an address in it."""
    monkeypatch.setenv("DATABASE_URL", "postgresql+psycopg://nobody@127.0.0.1:9/nothing")
    settings.current.cache_clear()
    database.engine.cache_clear()

    assert {"broken": "OperationalError"} == tasks.drain_runs("manual")
