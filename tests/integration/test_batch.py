"""Batches over real stores: what many runs that share a statement publish, and what happens when something breaks."""

from datetime import date
from uuid import UUID

import pytest
from builders import attempts, queued, run_row, saved
from sqlalchemy import text

from worker import (
    audience,
    batch,
    clickhouse,
    drain,
    errors,
    indexing,
    loads,
    models,
    runs,
    selections,
    serving_plan,
    settings,
)
from worker.database import transaction

DAY = date(2026, 11, 20)


@pytest.fixture(autouse=True)
def _data(clickhouse):
    """Six people, each researching topics 1 and 2, one of them unknown to the provider; the day is ready."""
    clickhouse.command(
        "INSERT INTO people (hem_hash, hashed_email) SELECT cityHash64(email), email"
        " FROM (SELECT lower(hex(SHA256(toString(number)))) AS email FROM numbers(5))"
    )
    clickhouse.command(
        f"INSERT INTO intent_signals SELECT '{DAY}', arrayJoin([1, 2]), cityHash64(email), 80"
        " FROM (SELECT lower(hex(SHA256(toString(number)))) AS email FROM numbers(6))"
    )
    loads.make_ready(DAY)
    loads.watch()


def waiting(count, *, topics=(1,), **values):
    """Queue daily runs of as many audiences, due now."""
    born = {"lane": "daily", "run_type": "daily", "data_date": DAY, "due_at": None, "created_at": None} | values
    with transaction() as connection:
        now = connection.scalar(text("SELECT now()"))
    born |= {"due_at": now, "created_at": now}
    return [queued(saved(topics=topics, status="active", now=None), **born) for _ in range(count)]


def drained(**options):
    """Let a worker of the daily lane work on what is due."""
    return drain.drain("daily", "test@here", **options)


def taken(count):
    """Claim a batch, with the index it is picked from."""
    index = indexing.prepare("test@here", leaving=lambda: False).index
    with transaction() as connection:
        claims = runs.claim(
            connection,
            "daily",
            "test@here",
            wanted=count,
            batch_date=DAY,
            lease_seconds=60,
            lane_max=9,
            organization_max=9,
        )
    return claims, index


def lost(*run_ids):
    """Let somebody else take these runs over."""
    with transaction() as connection:
        taking = text("UPDATE runs SET fence = fence + 1, claimed_by = 'rescue' WHERE id = ANY(:ids)")
        connection.execute(taking, {"ids": list(run_ids)})


def told(run_id, *names):
    """Read some of a run's columns."""
    return tuple(run_row(run_id)[name] for name in names)


@pytest.mark.parametrize("few_bytes", [selections.FEW_BYTES, 1])
def test_a_batch_publishes_every_run_under_a_key_of_its_own(clickhouse, monkeypatch, few_bytes):
    """Five runs are picked and frozen by the same statements; the person nobody knows is a candidate and no result."""
    monkeypatch.setenv("LANE_MAX_STATEMENTS", "1")
    settings.current.cache_clear()
    monkeypatch.setattr(selections, "FEW_BYTES", few_bytes)
    ways, freeze = [], selections.freeze
    monkeypatch.setattr(selections, "freeze", lambda *given, few: ways.append(few) or freeze(*given, few=few))
    run_ids = waiting(5)

    done = drained()

    found = [told(run_id, "status", "candidate_count", "result_count", "batch") for run_id in run_ids]
    [strategies, batches] = [{attempts(run_id)[0][name] for run_id in run_ids} for name in ("strategy", "batch")]
    keys = clickhouse.query("SELECT snapshot_key, count() FROM audience_results GROUP BY 1").result_rows
    assert [("completed", 6, 5, None)] * 5 == found
    assert [few_bytes > 1] == ways
    assert (5, {"serving_index"}, 1) == (done["completed"], strategies, len(batches))
    assert {run_row(run_id)["snapshot_key"]: 5 for run_id in run_ids} == dict(keys)


def test_equal_questions_of_one_organization_are_frozen_once(clickhouse):
    """Two copies of an audience share a key; the same question of somebody else has its own."""
    owner = UUID(int=1)
    for audience_id in (*(saved(organization_id=owner, now=None) for _ in range(2)), saved(now=None)):
        queued(audience_id, lane="daily", run_type="daily", data_date=DAY)
    claims, index = taken(3)

    outcomes = batch.work(claims, index)

    assert {"completed": 3} == outcomes
    assert 2 == clickhouse.command("SELECT uniqExact(snapshot_key) FROM audience_results")


def test_a_lost_claim_drops_out_of_the_publication():
    """Whoever lost its claim publishes nothing; the others are completed."""
    first, second = waiting(2)
    claims, index = taken(2)
    lost(first)

    outcomes = batch.work(claims, index)

    assert {"lost": 1, "completed": 1} == outcomes
    assert (("running", None), "completed") == (told(first, "status", "snapshot_key"), run_row(second)["status"])


def test_what_a_statement_cost_is_shared_among_those_it_served():
    """Of two copies one is lost before anything is sent: the other's account has all five rows."""
    owner = UUID(int=1)
    first, second = (
        queued(saved(organization_id=owner, now=None), lane="daily", run_type="daily", data_date=DAY) for _ in range(2)
    )
    claims, index = taken(2)
    lost(first)

    batch.work(claims, index)

    assert 5 == attempts(second)[0]["written_rows"]


def test_a_batch_that_is_lost_altogether_sends_nothing(clickhouse):
    """Nobody would read what it picks."""
    run_ids = waiting(2)
    claims, index = taken(2)
    lost(*run_ids)

    assert {"lost": 2} == batch.work(claims, index)
    assert 0 == clickhouse.command("SELECT count() FROM selections")


def test_a_config_that_cannot_run_fails_for_itself():
    """Nobody else of its batch notices."""
    first, _ = waiting(2)
    with transaction() as connection:
        broken = text("UPDATE runs SET config = '{\"topicIds\": []}', config_hash = 'other' WHERE id = :id")
        connection.execute(broken, {"id": first})

    assert {"failed": 1, "completed": 1} == batch.work(*taken(2))
    assert ("failed", "CONFIG_INVALID") == told(first, "status", "error_code")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (errors.QueryMemoryLimit(), {"attempts": 0, "solo": True, "code": "QUERY_MEMORY_LIMIT", "outcome": "retried"}),
        (
            errors.ClickHouseUnavailable(),
            {"attempts": 0, "solo": False, "code": "CLICKHOUSE_UNAVAILABLE", "outcome": "closed"},
        ),
    ],
)
def test_a_batch_that_breaks_charges_nobody(monkeypatch, error, expected):
    """Its runs come back alone, unless the servers were at fault; then as before."""
    run_ids = waiting(3)
    claims, index = taken(3)

    def breaks(*_, **__):
        raise error

    monkeypatch.setattr(selections, "freeze", breaks)
    outcomes = batch.work(claims, index)

    assert {expected["outcome"]: 3} == outcomes
    for run_id in run_ids:
        [attempt] = attempts(run_id)
        assert ("queued", expected["attempts"], expected["solo"]) == told(run_id, "status", "attempts", "solo")
        assert (False, expected["code"]) == (attempt["charged"], attempt["error_code"])


def test_alone_a_run_is_charged(monkeypatch):
    """What broke a batch breaks the run that caused it again, and then it pays."""
    [run_id] = waiting(1, solo=True)
    claims, index = taken(5)
    monkeypatch.setattr(selections.Frozen, "whole", lambda *_: False)

    outcomes = batch.work(claims, index)

    assert ({"retried": 1}, 1, "SNAPSHOT_MISMATCH") == (outcomes, *told(run_id, "attempts", "error_code"))


@pytest.mark.parametrize("within", [False, True])
def test_data_replaced_under_a_batch_is_read_again(monkeypatch, within):
    """Versions that moved since the index was built, or while the batch is written, send everybody back, uncharged."""
    run_ids = waiting(2)
    claims, index = taken(2)
    freeze = selections.freeze

    def reloaded(*given, **asked):
        loads.make_ready(DAY)
        return freeze(*given, **asked)

    if within:
        monkeypatch.setattr(selections, "freeze", reloaded)
    else:
        loads.make_ready(DAY)
    outcomes = batch.work(claims, index)

    assert {"retried": 2} == outcomes
    assert {("queued", 0, "DATA_CHANGED")} == {told(run_id, "status", "attempts", "error_code") for run_id in run_ids}


def test_an_index_that_was_given_up_is_read_by_nobody():
    """Its rows may be gone in the middle of a batch, so what was picked from it is not published."""
    run_ids = waiting(2)
    claims, index = taken(2)
    with transaction() as connection:
        connection.execute(text("UPDATE serving_indexes SET status = 'dropped'"))

    assert {"retried": 2} == batch.work(claims, index)
    assert {"DATA_CHANGED"} == {run_row(run_id)["error_code"] for run_id in run_ids}


def test_an_erased_person_is_picked_by_nobody():
    """Neither as a candidate nor as a result, although the index was built before."""
    [run_id] = waiting(1)
    claims, index = taken(1)
    clickhouse.command("INSERT INTO erased_people (hem_hash) SELECT hem_hash FROM people LIMIT 1")

    batch.work(claims, index)

    assert (5, 4) == told(run_id, "candidate_count", "result_count")


def test_a_worker_with_no_time_left_hands_its_batch_back():
    """Every run of it is queued again, due at once, as if nothing had been."""
    run_ids = waiting(2)
    claims, index = taken(2)
    clickhouse.command("RENAME TABLE people TO people_kept")
    clickhouse.command(
        "CREATE VIEW people AS SELECT * FROM people_kept WHERE hashed_email NOT IN ("
        "SELECT toString(sleepEachRow(0.5)) FROM numbers(100) SETTINGS max_block_size = 1)"
    )

    outcomes = batch.work(claims, index, leaving=lambda: True)

    assert {"released": 2} == outcomes
    assert {("queued", 0, False, None)} == {told(it, "status", "attempts", "solo", "batch") for it in run_ids}


def test_what_one_statement_cannot_carry_goes_in_packs(monkeypatch):
    """Three runs in packs of two: both packs are published, or the second is handed back when the time is over."""
    monkeypatch.setattr(serving_plan, "MOST_FIELDS", 8)
    waiting(6)

    whole, cut = batch.work(*taken(3)), batch.work(*taken(3), enough=lambda: True)

    assert [{"completed": 3}, {"completed": 2, "released": 1}] == [whole, cut]


def test_a_manual_run_uses_the_index_that_is_there():
    """Nobody waits for an index in the manual lane, but where one stands it is read."""
    [run_id] = waiting(1, lane="manual", run_type="manual")
    indexing.prepare("test@here", leaving=lambda: False)

    drain.drain("manual", "test@here")

    assert ("completed", "serving_index") == (run_row(run_id)["status"], attempts(run_id)[0]["strategy"])


def test_a_large_audience_goes_alone():
    """One that found many people the last time is queued to be claimed alone."""
    audience_ids = [saved(status="active", now=None) for _ in range(2)]
    with transaction() as connection:
        large = models.audiences.update().where(models.audiences.c.id == audience_ids[0])
        connection.execute(large.values(audience_size=runs.LARGE_RESULTS + 1))
        runs.queue_daily(connection, audience_ids, DAY)
        solo = connection.execute(text("SELECT audience_id, solo FROM runs")).all()

    assert {audience_ids[0]: True, audience_ids[1]: False} == dict(tuple(row) for row in solo)
    assert audience.parse({"topicIds": [1]}).hash == run_row(waiting(1)[0])["config_hash"]
