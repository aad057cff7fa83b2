"""The story of a run over real stores: what it publishes, and what it does when something goes wrong."""

from contextlib import contextmanager
from datetime import date
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import OperationalError

from worker import audience, audiences, clickhouse, drain, loads, manual, models, plan, runs, settings, snapshots
from worker.database import transaction
from worker.materialize import materialize

DAY = date(2026, 11, 20)
ORGANIZATION = UUID(int=1)
CONFIG = {"topicIds": [1, 2], "minScore": 60, "filters": {"role.seniority": {"values": ["director"]}}}


@pytest.fixture
def people(clickhouse):
    """Six people, five of them signalled, three of those directors; the day is ready."""
    clickhouse.command(
        "INSERT INTO people (hem_hash, hashed_email, seniority) SELECT cityHash64(email), email, seniority FROM ("
        "SELECT lower(hex(SHA256(toString(number)))) AS email,"
        " ['director', 'director', 'vp', 'director', NULL, 'director'][number + 1] AS seniority FROM numbers(6))"
    )
    clickhouse.command(
        "INSERT INTO intent_signals SELECT {day:Date}, 1 + number % 2,"
        " cityHash64(lower(hex(SHA256(toString(number))))), 70 + number FROM numbers(5)",
        parameters={"day": DAY},
    )
    clickhouse.command(
        "INSERT INTO topics (topic_id, name, type, industry, category) VALUES"
        " (1, 'One', 'b2b', 'Marketing', 'Technology'), (2, 'Two', 'b2b', 'Sales', 'Technology')"
    )
    loads.make_ready(DAY)
    loads.watch()
    return clickhouse


@pytest.fixture
def audience_id(stores):
    """A saved audience of one organization, with one recipient."""
    with transaction() as connection:
        return audiences.add(
            connection,
            organization_id=ORGANIZATION,
            name="Directors",
            config=audience.parse(CONFIG),
            status="active",
            refresh=audiences.Refresh(notify_emails=("ann@example.com",), notify_on_manual=True),
        )


def _claim():
    with transaction() as connection:
        (claim,) = runs.claim(connection, "manual", "test@here", lease_seconds=60, lane_max=4, organization_max=4)
    return claim


def _run(run_id):
    with transaction() as connection:
        return runs.get(connection, run_id)


def test_a_run_is_published_with_its_counts_and_its_snapshot(people, audience_id):
    """A drained run is completed, and the rows under its key are the results in order."""
    queued = manual.queue(audience_id)

    done = drain.drain("manual", "test@here")

    run = _run(queued.run_id)
    rows = people.query(
        "SELECT rank, score FROM audience_results WHERE snapshot_key = {key:UUID} ORDER BY rank",
        parameters={"key": run["snapshot_key"]},
    ).result_rows
    assert {"completed": 1, "more": False, "last": [str(queued.run_id)]} == {
        key: value for key, value in done.items() if key != "seconds"
    }
    assert ("completed", 5, 3, 1, None) == tuple(
        run[name] for name in ("status", "candidate_count", "result_count", "attempts", "error_code")
    )
    assert [(1, 73), (2, 71), (3, 70)] == [tuple(row) for row in rows]


def test_completion_queues_the_export_and_the_mails_and_moves_the_audience(people, audience_id):
    """What follows from a run stands in the same transaction as the run."""
    queued = manual.queue(audience_id)

    drain.drain("manual", "test@here")

    with transaction() as connection:
        export = connection.execute(select(models.exports.c.run_id, models.exports.c.status)).one()
        mail = connection.execute(select(models.ready_emails.c.run_id, models.ready_emails.c.recipient)).one()
        saved = audiences.get(connection, audience_id)
    assert (queued.run_id, "processing") == tuple(export)
    assert (queued.run_id, "ann@example.com") == tuple(mail)
    assert (3, queued.run_id) == (saved["audience_size"], saved["refreshed_by_run_id"])


def test_an_attempt_keeps_what_it_sent_and_what_it_cost(people, audience_id):
    """Query ids, strategy, versions and ClickHouse's own account stand on the attempt."""
    queued = manual.queue(audience_id)

    drain.drain("manual", "test@here")

    with transaction() as connection:
        (attempt,) = runs.attempts(connection, queued.run_id)
    assert [f"{queued.run_id}-1-{step}" for step in ("count", "write", "verify")] == attempt["query_ids"]
    assert ("serving_table_in", "completed", False, 3) == tuple(
        attempt[name] for name in ("strategy", "outcome", "charged", "written_rows")
    )


def test_a_config_that_cannot_run_fails_at_once(people, audience_id):
    """A permanent error is charged and final."""
    queued = manual.queue(audience_id)
    with transaction() as connection:
        connection.execute(text("UPDATE runs SET config = '{\"topicIds\": []}'"))

    outcome = materialize(_claim())

    assert ("failed", "failed", "CONFIG_INVALID") == (
        outcome,
        _run(queued.run_id)["status"],
        _run(queued.run_id)["error_code"],
    )


def test_a_day_that_disappeared_is_waited_for(people, audience_id):
    """Missing data is nobody's fault: the attempt is given back."""
    queued = manual.queue(audience_id)
    people.command("TRUNCATE TABLE data_loads")

    outcome = materialize(_claim())

    run = _run(queued.run_id)
    assert ("retried", "queued", "DATA_NOT_READY", 0, 1) == (
        outcome,
        *(run[name] for name in ("status", "error_code", "attempts", "failures")),
    )


def test_a_server_at_fault_closes_the_lane_and_spends_nothing(people, audience_id, monkeypatch):
    """With ClickHouse gone the run goes back uncharged and the drain claims no other."""
    queued = manual.queue(audience_id)
    claim = _claim()
    monkeypatch.setenv("CLICKHOUSE_URL", "http://default@127.0.0.1:9/default")
    settings.current.cache_clear()
    clickhouse.forget()

    outcome = materialize(claim)
    drained = drain.drain("manual", "test@here")

    run = _run(queued.run_id)
    assert ("closed", {"closed": "CLICKHOUSE_UNAVAILABLE"}) == (outcome, drained)
    assert ("queued", "CLICKHOUSE_UNAVAILABLE", 0, 1) == tuple(
        run[name] for name in ("status", "error_code", "attempts", "failures")
    )


def test_a_wrong_deployment_is_named_as_such(people, audience_id):
    """A missing column is nobody's audience's fault, and the sentence carries no host."""
    queued = manual.queue(audience_id)
    people.command("ALTER TABLE audience_results DROP COLUMN score")

    outcome = materialize(_claim())

    run = _run(queued.run_id)
    assert ("retried", "CLICKHOUSE_MISCONFIGURED", 0) == (outcome, run["error_code"], run["attempts"])
    assert "127.0.0.1" not in run["error_message"]


def test_the_unforeseen_is_an_internal_error_and_names_no_cause(people, audience_id, monkeypatch):
    """Whatever breaks, the run says so in a plain sentence, and the attempt is charged."""
    queued = manual.queue(audience_id)
    monkeypatch.setattr(plan, "load", lambda: 1 / 0)

    outcome = materialize(_claim())

    run = _run(queued.run_id)
    assert ("retried", "INTERNAL_ERROR", 1) == (outcome, run["error_code"], run["attempts"])
    assert "zero" not in run["error_message"]


def test_only_a_memory_limit_makes_the_next_plan_lighter(people, audience_id, monkeypatch):
    """The lighter plan is slower: it is no remedy for anything else."""
    build, lighter = plan.build, []

    def built(*given, **named):
        lighter.append(named["lighter"])
        return build(*given, **named)

    monkeypatch.setattr(plan, "build", built)
    for code in ("QUERY_TIMEOUT", "QUERY_MEMORY_LIMIT"):
        manual.queue(audience_id, recompute=True)
        with transaction() as connection:
            named = {"code": code}
            connection.execute(
                text("UPDATE runs SET error_code = :code, error_message = '.' WHERE status = 'queued'"), named
            )
        assert "completed" == materialize(_claim())

    assert [False, True] == lighter


def test_data_replaced_under_a_run_is_read_again(people, audience_id, monkeypatch):
    """A version that moved between the first and the last look gives the attempt back."""
    queued = manual.queue(audience_id)
    verify = snapshots.verify

    def reloaded(*arguments):
        verify(*arguments)
        loads.make_ready(DAY)

    monkeypatch.setattr(snapshots, "verify", reloaded)

    outcome = materialize(_claim())

    run = _run(queued.run_id)
    assert ("retried", "DATA_CHANGED", 0) == (outcome, run["error_code"], run["attempts"])


def test_rows_that_were_not_counted_are_not_published(people, audience_id, monkeypatch):
    """A snapshot with another number of rows than were counted ends the attempt."""
    queued = manual.queue(audience_id)
    count = snapshots.count
    monkeypatch.setattr(
        snapshots, "count", lambda *given: snapshots.Counted(count(*given).candidates, count(*given).results + 1)
    )

    outcome = materialize(_claim())

    run = _run(queued.run_id)
    assert ("retried", "SNAPSHOT_MISMATCH", 1) == (outcome, run["error_code"], run["attempts"])


@pytest.mark.parametrize("arrived", [True, False], ids=["arrived", "lost"])
def test_a_commit_whose_answer_was_lost_is_looked_up(people, audience_id, monkeypatch, arrived):
    """Completed under its own fence is success; anything else is the store's fault."""
    queued = manual.queue(audience_id)
    claim = _claim()
    opened = []

    @contextmanager
    def unanswered():
        """The transaction that publishes, the first of its module, gets no answer to its commit."""
        opened.append(None)
        with transaction() as connection:
            yield connection
            if len(opened) == 1 and not arrived:
                raise OperationalError("COMMIT", {}, Exception("server closed the connection unexpectedly"))
        if len(opened) == 1:
            raise OperationalError("COMMIT", {}, Exception("server closed the connection unexpectedly"))

    monkeypatch.setattr("worker.attempt.transaction", unanswered)

    outcome = materialize(claim)

    expected = ("completed", "completed") if arrived else ("closed", "queued")
    assert expected == (outcome, _run(queued.run_id)["status"])
    with transaction() as connection:
        assert arrived == bool(connection.scalar(select(models.exports.c.id)))


def test_a_claim_lost_on_the_way_publishes_nothing(people, audience_id):
    """Somebody else's fence ends the story without a word in the row."""
    queued = manual.queue(audience_id)
    claim = _claim()
    with transaction() as connection:
        connection.execute(text("UPDATE runs SET fence = fence + 1, claimed_by = 'rescue'"))

    outcome = materialize(claim)

    assert ("lost", "running", None) == (
        outcome,
        _run(queued.run_id)["status"],
        _run(queued.run_id)["snapshot_key"],
    )


def test_a_worker_with_no_time_left_hands_its_run_back(people, audience_id, monkeypatch):
    """A run that cannot end within the grace is queued again, due at once, uncharged."""
    monkeypatch.setenv("LEASE_SECONDS", "6")
    monkeypatch.setenv("LEASE_MARGIN_SECONDS", "1")
    settings.current.cache_clear()
    queued = manual.queue(audience_id)
    claim = _claim()
    people.command("RENAME TABLE people TO people_kept")
    people.command(
        "CREATE VIEW people AS SELECT * FROM people_kept WHERE hashed_email NOT IN ("
        "SELECT toString(sleepEachRow(0.5)) FROM numbers(100) SETTINGS max_block_size = 1)"
    )

    outcome = materialize(claim, leaving=lambda: True)

    run = _run(queued.run_id)
    assert ("released", "queued", 0, 0, None) == (
        outcome,
        *(run[name] for name in ("status", "attempts", "failures", "error_code")),
    )


def test_a_run_of_another_audience_is_not_found(stores):
    """An unknown id is refused by name."""
    with transaction() as connection, pytest.raises(Exception, match="There is no run"):
        runs.get(connection, uuid4())


def test_a_claim_lost_before_the_first_query_sends_none(people, audience_id):
    """What cannot be written down is not sent."""
    manual.queue(audience_id)
    claim = _claim()
    with transaction() as connection:
        connection.execute(text("UPDATE runs SET fence = fence + 1, claimed_by = 'rescue'"))

    assert "lost" == materialize(claim)
    assert 0 == people.command("SELECT count() FROM audience_results")
