"""Runs whose worker is gone: taken over, their queries killed, given back to the queue or up."""

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import uuid4

import clickhouse_connect
import pytest
from builders import (
    MINUTE,
    NOON,
    attempts,
    before_each_statement,
    claimed,
    everything,
    held,
    many_queued,
    published,
    run_row,
    saved,
)

from worker import audit, errors, rescue, runs, settings
from worker import clickhouse as door
from worker.database import transaction

LATER = NOON + 2 * MINUTE
COUNTS = {"retried": 0, "failed": 0, "lost": 0}


@pytest.fixture
def _tables(tables):
    """Empty tables, and the session's ClickHouse."""


@pytest.fixture
def _without_clickhouse(tables, monkeypatch):
    """Empty tables, and a ClickHouse address where nobody answers."""
    monkeypatch.setenv("CLICKHOUSE_URL", "http://127.0.0.1:9/default")
    settings.current.cache_clear()
    door.forget()


def sent(claim, *query_ids):
    """Record what a claim was about to send."""
    with transaction() as connection:
        assert runs.record(
            connection, claim, strategy="s", query_ids=query_ids, snapshot_key=uuid4(), versions=(1, 1, 1)
        )


@pytest.mark.usefixtures("_tables")
def test_a_lost_worker_s_run_is_queued_again_at_once():
    """The first loss is charged, told as WORKER_LOST, and waits for nothing."""
    claim = held()

    assert {**COUNTS, "retried": 1} == rescue.rescue(now=LATER)

    row = run_row(claim.run_id)
    names = ("status", "attempts", "failures", "error_code", "due_at", "claimed_by")
    assert ("queued", 1, 1, "WORKER_LOST", LATER, None) == tuple(row[name] for name in names)
    [attempt] = attempts(claim.run_id)
    told = ("worker", "outcome", "charged", "error_code", "ended_at")
    assert ("w1", "rescued", True, "WORKER_LOST", LATER) == tuple(attempt[name] for name in told)


@pytest.mark.usefixtures("_tables")
def test_a_second_loss_waits():
    """Whoever loses two workers in a row is not thrown at a third at once."""
    held()
    rescue.rescue(now=LATER)
    [again] = claimed(now=LATER)

    rescue.rescue(now=LATER + 2 * MINUTE)

    assert run_row(again.run_id)["due_at"] > LATER + 2 * MINUTE


@pytest.mark.usefixtures("_tables")
def test_a_healthy_lease_is_left_alone():
    """A pass before the lease's end changes nothing."""
    held()
    untouched = everything()

    assert COUNTS == rescue.rescue(now=NOON + MINUTE)
    assert untouched == everything()


@pytest.mark.usefixtures("_tables")
def test_a_run_that_has_spent_its_budget_fails():
    """The last charged attempt that loses its worker fails the run as WORKER_LOST."""
    claim = held(attempts=7, failures=7)

    assert {**COUNTS, "failed": 1} == rescue.rescue(now=LATER)

    names = ("status", "attempts", "failures", "error_code", "finished_at")
    assert ("failed", 8, 8, "WORKER_LOST", LATER) == tuple(run_row(claim.run_id)[name] for name in names)
    assert ["rescued"] == [attempt["outcome"] for attempt in attempts(claim.run_id)]


@pytest.mark.usefixtures("_without_clickhouse")
def test_rescue_works_while_clickhouse_is_away():
    """A kill that cannot be sent holds up no run."""
    claims = [held(), held()]
    for claim in claims:
        sent(claim, claim.query_id("write"))

    assert {**COUNTS, "retried": 2} == rescue.rescue(now=LATER)
    assert ["queued", "queued"] == [run_row(claim.run_id)["status"] for claim in claims]


@pytest.mark.usefixtures("_without_clickhouse")
def test_a_pass_is_bounded():
    """One pass takes two hundred runs, those overdue longest, and the next takes the rest."""
    many_queued(saved(), 203)
    claimed(200)
    claimed(3, now=NOON + timedelta(seconds=1))

    passes = [rescue.rescue(now=LATER) for _ in range(3)]

    assert [200, 3, 0] == [counts["retried"] for counts in passes]


@pytest.mark.usefixtures("_tables")
def test_a_zombie_s_completion_comes_to_nothing():
    """The worker that was thought lost wakes up, is told so, and changes nothing."""
    claim = held()
    rescue.rescue(now=LATER)
    untouched = everything()

    with pytest.raises(errors.ClaimLost), transaction() as connection:
        runs.complete(connection, claim, published())

    assert untouched == everything()


@pytest.mark.usefixtures("_tables")
def test_a_worker_that_completes_in_time_is_not_rescued():
    """The completion came first, so there is nothing to take over."""
    claim = held()
    with transaction() as connection:
        runs.complete(connection, claim, published())

    assert COUNTS == rescue.rescue(now=LATER)


@pytest.mark.usefixtures("_without_clickhouse")
def test_a_rescuer_that_dies_is_rescued():
    """A run that a rescuer took and never gave back goes back after the hold, its worker's attempt ended once."""
    claim = held()
    sent(claim, claim.query_id("write"))
    take_over(LATER)

    passes = [rescue.rescue(now=LATER + minutes * MINUTE) for minutes in (1, 2)]

    assert [0, 1] == [counts["retried"] for counts in passes]
    assert (3, 1, 1) == tuple(run_row(claim.run_id)[name] for name in ("fence", "attempts", "failures"))
    assert [("w1", "rescued")] == [(attempt["worker"], attempt["outcome"]) for attempt in attempts(claim.run_id)]


@pytest.mark.usefixtures("_tables")
def test_a_run_lost_to_another_rescuer_is_counted_as_lost():
    """Just before this rescuer gives the run back another one takes it over; this one writes nothing."""
    claim, others = held(), []

    def take_over_first(statement):
        if statement.startswith("UPDATE runs SET status") and not others:
            others.append(True)
            with ThreadPoolExecutor(1) as beside:
                beside.submit(take_over, now=LATER + 2 * MINUTE).result()

    with before_each_statement(take_over_first):
        assert {**COUNTS, "lost": 1} == rescue.rescue(now=LATER)

    assert (3, "running") == tuple(run_row(claim.run_id)[name] for name in ("fence", "status"))


def take_over(now):
    """Take over whatever has expired, as a rescuer would."""
    with transaction() as connection:
        return runs.take_over(connection, limit=5, seconds=60, now=now)


def test_the_orphan_s_query_is_killed(stores, clickhouse):
    """What the lost worker left running in ClickHouse is gone, and a stranger's query runs on."""
    claim, stranger = held(), f"{uuid4()}-1-write"
    sent(claim, claim.query_id("count"), claim.query_id("write"))
    threads = [
        threading.Thread(target=run_for_long, args=(stores, query_id))
        for query_id in (claim.query_id("write"), stranger)
    ]
    try:
        for thread in threads:
            thread.start()
        until_running(clickhouse, {claim.query_id("write"), stranger})

        counts = rescue.rescue(now=LATER)

        assert {**COUNTS, "retried": 1} == counts
        assert {stranger} == running(clickhouse) & {claim.query_id("write"), stranger}
    finally:
        door.kill([stranger, claim.query_id("write")], every=0.1)
        for thread in threads:
            thread.join()


def test_an_operator_takes_a_run_from_its_worker_at_once(stores, clickhouse):
    """Whatever its lease says the run is queued again, uncharged; its query is gone, and its worker publishes nothing."""
    claim = held(now=None)
    sent(claim, claim.query_id("write"))
    thread = threading.Thread(target=run_for_long, args=(stores, claim.query_id("write")))
    thread.start()
    try:
        until_running(clickhouse, {claim.query_id("write")})

        assert rescue.release(claim.run_id, by="ann")

        assert claim.query_id("write") not in running(clickhouse)
    finally:
        door.kill([claim.query_id("write")], every=0.1)
        thread.join()
    row, [attempt] = run_row(claim.run_id), attempts(claim.run_id)
    names = ("status", "attempts", "failures", "error_code", "claimed_by")
    assert ("queued", 0, 0, None, None) == tuple(row[name] for name in names)
    assert ("released", False) == (attempt["outcome"], attempt["charged"])
    with transaction() as connection:
        assert not runs.renew(connection, claim, seconds=60)
        [line] = audit.latest(connection)
    assert ("ann", "runs release", str(claim.run_id)) == (line["who"], line["verb"], line["object"])
    with pytest.raises(errors.ClaimLost), transaction() as connection:
        runs.complete(connection, claim, published())


@pytest.mark.usefixtures("_without_clickhouse")
def test_only_a_running_run_is_released():
    """What is not running, or is nobody's run, is refused and stays; a dead ClickHouse is no reason to keep one."""
    claim = held()
    sent(claim, claim.query_id("write"))
    many_queued(saved(), 1)
    untouched = everything()
    with transaction() as connection:
        [waiting] = [run["id"] for run in runs.latest(connection, status="queued")]

    refused = [refused_release(waiting), refused_release(uuid4())]

    assert ["RUN_NOT_RUNNING", "RUN_NOT_FOUND"] == [one.code for one in refused]
    assert untouched == everything()
    assert not rescue.release(claim.run_id, by="ann")
    assert "queued" == run_row(claim.run_id)["status"]


@pytest.mark.usefixtures("_tables")
def test_a_rescuer_that_comes_between_keeps_what_it_took():
    """Just before the operator gives the run back a rescuer takes it over; the refusal says so."""
    claim, others = held(), []

    def take_over_first(statement):
        if statement.startswith("UPDATE runs SET status") and not others:
            others.append(True)
            with ThreadPoolExecutor(1) as beside:
                beside.submit(take_over, now=LATER).result()

    with before_each_statement(take_over_first), pytest.raises(errors.NotAllowed, match="A rescuer took the run over"):
        rescue.release(claim.run_id, by="ann", now=NOON)

    assert (3, "running", "rescue") == tuple(run_row(claim.run_id)[name] for name in ("fence", "status", "claimed_by"))


def refused_release(run_id):
    """Release what must not be, and return the refusal."""
    with pytest.raises(errors.Refusal) as refused:
        rescue.release(run_id, by="ann")
    return refused.value


def run_for_long(stores, query_id):
    """Run a query that ends only when it is killed."""
    url = stores.environment["CLICKHOUSE_URL"]
    with clickhouse_connect.get_client(dsn=url, autogenerate_session_id=False) as client:
        try:
            client.query(
                "SELECT count() FROM numbers(1000000) WHERE NOT ignore(sleepEachRow(0.05))",
                settings={"query_id": query_id, "max_block_size": 2, "max_execution_time": 60},
            )
        except clickhouse_connect.driver.exceptions.ClickHouseError as killed:
            logging.getLogger(__name__).info("killed: %s", type(killed).__name__)


def running(clickhouse):
    """List the ids of what runs in ClickHouse."""
    return {row[0] for row in clickhouse.query("SELECT query_id FROM system.processes").result_rows}


def until_running(clickhouse, query_ids):
    """Return once these queries are seen running."""
    for _ in range(200):
        if query_ids <= running(clickhouse):
            return
        clickhouse.query("SELECT sleep(0.05)")
    raise TimeoutError("the queries did not start")
