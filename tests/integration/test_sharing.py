"""Equal questions about the same data are answered once; anything that could change the answer is computed."""

from datetime import date
from uuid import UUID

import pytest
from builders import attempts, audience_row, claimed, queued, run_row, saved
from commandline import command
from sqlalchemy import func, select, text

from worker import batch, indexing, loads, manual, models, plan, settings
from worker import clickhouse as clickhouse_door
from worker.database import transaction
from worker.materialize import materialize

DAY = date(2026, 11, 20)
ORGANIZATION = UUID(int=1)
PUBLISHED = ("candidate_count", "result_count", "snapshot_key", "written_on", "results_expire_at")


@pytest.fixture(autouse=True)
def first(clickhouse):
    """A completed run over five people, of an audience that others of its organization are copies of."""
    clickhouse.command(
        "INSERT INTO people (hem_hash, hashed_email) SELECT cityHash64(email), email"
        " FROM (SELECT lower(hex(SHA256(toString(number)))) AS email FROM numbers(5))"
    )
    clickhouse.command(f"INSERT INTO intent_signals SELECT '{DAY}', arrayJoin([1, 2]), hem_hash, 90 FROM people")
    loads.make_ready(DAY)
    loads.watch()
    return completed(copy())


def copy(organization_id=ORGANIZATION, **values):
    """Save one more audience that asks the same, unless told otherwise."""
    return saved(organization_id=organization_id, now=None, **values)


def completed(audience_id, **asked):
    """Queue a run by hand and carry it to its end."""
    run_id = manual.queue(audience_id, **asked).run_id
    [claim] = claimed(now=None)
    assert "completed" == materialize(claim)
    return run_id


def told(run_id):
    """What a run has published."""
    return [run_row(run_id)[name] for name in PUBLISHED]


def change(statement):
    """Change what stands in Postgres."""
    with transaction() as connection:
        connection.execute(text(statement))


def test_an_equal_question_is_answered_by_the_same_snapshot(first, clickhouse):
    """Counts, key and expiry are the first run's; audience, file and mails are the second's own."""
    audience_id = copy(notify_emails=("ann@example.com",), notify_on_manual=True)

    second = completed(audience_id)

    [attempt] = attempts(second)
    with transaction() as connection:
        export = connection.scalar(select(func.count()).where(models.exports.c.run_id == second))
        mail = connection.scalar(select(func.count()).where(models.ready_emails.c.run_id == second))
    assert told(first) == told(second)
    assert ("shared", [], "completed", None) == tuple(
        attempt[name] for name in ("strategy", "query_ids", "outcome", "read_rows")
    )
    assert (1, 1) == (export, mail)
    assert (5, second) == tuple(audience_row(audience_id)[name] for name in ("audience_size", "refreshed_by_run_id"))
    assert 5 == clickhouse.command("SELECT count() FROM audience_results")


@pytest.mark.parametrize("indexed", [False, True])
def test_sharing_needs_no_clickhouse(first, indexed, monkeypatch):
    """A run that is shared is completed while ClickHouse is down, by the direct way and by the serving index."""
    index = indexing.prepare("test@here", leaving=lambda: False).index
    run_id = manual.queue(copy()).run_id
    [claim] = claimed(now=None)
    monkeypatch.setenv("CLICKHOUSE_URL", "http://default@127.0.0.1:1/default")
    settings.current.cache_clear()
    clickhouse_door.forget()

    outcome = batch.work([claim], index) if indexed else {materialize(claim): 1}

    assert {"completed": 1} == outcome
    assert told(first) == told(run_id)


def test_of_a_batch_the_answered_are_shared_and_the_others_picked(first, clickhouse):
    """A copy takes over what stands; whoever insists is picked although he asks the same, and so is who asks else."""
    index = indexing.prepare("test@here", leaving=lambda: False).index
    asked = [(copy(), {}), (copy(), {"recompute": True}), (copy(topics=(1, 2)), {})]
    run_ids = [manual.queue(audience_id, lane="daily", **how).run_id for audience_id, how in asked]

    outcomes = batch.work(claimed(3, lane="daily", batch_date=DAY, now=None), index)

    assert {"completed": 3} == outcomes
    assert ["shared", "serving_index", "serving_index"] == [attempts(run_id)[0]["strategy"] for run_id in run_ids]
    assert told(first) == told(run_ids[0])
    assert 3 == clickhouse.command("SELECT uniqExact(snapshot_key) FROM audience_results")


def test_a_shared_snapshot_is_shared_on(first):
    """The third of three copies finds the snapshot although the second did not write it."""
    second = completed(copy())
    change(f"DELETE FROM runs WHERE id = '{first}'")

    third = completed(copy())

    assert told(second) == told(third)


def _reloaded():
    loads.make_ready(DAY)
    loads.watch()


def _another_day():
    change("UPDATE runs SET data_date = data_date - 1")


def _of_last_week():
    change("UPDATE runs SET written_on = written_on - 7")


def _a_preview():
    change("UPDATE runs SET run_type = 'preview'")


@pytest.mark.parametrize("happened", [_reloaded, _another_day, _of_last_week, _a_preview])
def test_what_may_differ_is_computed(first, happened):
    """Other versions, another day, an old snapshot and a preview's few rows are not shared."""
    happened()

    second = completed(copy())

    assert (plan.STRATEGY, run_row(first)["result_count"]) == (
        attempts(second)[0]["strategy"],
        run_row(second)["result_count"],
    )
    assert run_row(first)["snapshot_key"] != run_row(second)["snapshot_key"]


@pytest.mark.parametrize("asked", [{"organization_id": UUID(int=2)}, {"topics": (1, 2)}])
def test_other_questions_and_other_tenants_are_computed(asked):
    """An organization sees nothing of another's runs, not even that they exist."""
    second = completed(copy(**asked))

    assert plan.STRATEGY == attempts(second)[0]["strategy"]


def test_another_plan_is_computed(monkeypatch):
    """A release under which the same config may come out differently shares nothing with the one before."""
    monkeypatch.setattr(plan, "PLAN_VERSION", plan.PLAN_VERSION + 1)

    second = completed(copy())

    assert plan.STRATEGY == attempts(second)[0]["strategy"]


def test_a_preview_is_computed():
    """Its snapshot holds its first rows alone."""
    run_id = queued(copy(), data_date=DAY)
    [claim] = claimed(now=None)

    materialize(claim)

    assert (run_id, plan.STRATEGY) == (claim.run_id, attempts(run_id)[0]["strategy"])


def test_who_insists_is_served_anew(first):
    """``runs queue --force`` computes, and what it computed is shared by whoever comes next."""
    command("runs", "queue", str(copy()), "--force")
    [claim] = claimed(now=None)
    materialize(claim)

    third = completed(copy())

    assert plan.STRATEGY == attempts(claim.run_id)[0]["strategy"]
    assert run_row(first)["snapshot_key"] != run_row(claim.run_id)["snapshot_key"] == run_row(third)["snapshot_key"]
