"""Previews: everybody is counted, the first rows are kept, and nobody hears of it."""

import json
from uuid import UUID

from builders import NOON, attempts, audience_row, run_row, saved
from commandline import command, done, sentence
from sqlalchemy import select

from worker import drain, loads, models
from worker.database import transaction

PEOPLE = 150
KEPT = 100


def filled(clickhouse):
    """Load people who all research topic 1, and make the day ready."""
    clickhouse.command(
        "INSERT INTO people (hem_hash, hashed_email) SELECT cityHash64(email), email FROM ("
        "SELECT lower(hex(SHA256(toString(number)))) AS email FROM numbers({people:UInt32}))",
        parameters={"people": PEOPLE},
    )
    clickhouse.command(
        "INSERT INTO intent_signals SELECT {day:Date}, 1, cityHash64(lower(hex(SHA256(toString(number))))), 80"
        " FROM numbers({people:UInt32})",
        parameters={"people": PEOPLE, "day": NOON.date()},
    )
    clickhouse.command("INSERT INTO topics (topic_id, name) VALUES (1, 'One')")
    clickhouse.command(
        "INSERT INTO data_loads (dataset, data_date, version, rows) SELECT name, {day:Date}, 1, {people:UInt32}"
        " FROM (SELECT arrayJoin(['people', 'signals']) AS name)",
        parameters={"people": PEOPLE, "day": NOON.date()},
    )
    loads.watch()


def test_a_preview_counts_everybody_and_keeps_a_hundred(stores, clickhouse):
    """The best hundred stand under its key, ranked without gaps; no file, no mail, no word on the audience."""
    filled(clickhouse)
    audience_id = saved(notify_emails=("ann@example.com",), notify_on_manual=True)
    before = audience_row(audience_id)

    run_id = UUID(done("runs", "queue", audience_id, "--preview").strip())
    drained = drain.drain("manual", "manual@host")

    run = run_row(run_id)
    names = ("run_type", "lane", "status", "candidate_count", "result_count")
    assert (1, "preview", "manual", "completed", PEOPLE, PEOPLE) == (
        drained["completed"],
        *(run[name] for name in names),
    )
    kept = "SELECT count(), min(rank), max(rank), uniqExact(rank) FROM audience_results WHERE snapshot_key = {key:UUID}"
    assert [(KEPT, 1, KEPT, KEPT)] == clickhouse.query(kept, parameters={"key": run["snapshot_key"]}).result_rows
    assert [("completed", KEPT)] == [(one["outcome"], one["written_rows"]) for one in attempts(run_id)]
    assert before == audience_row(audience_id)
    with transaction() as connection:
        following = [connection.execute(select(table)).all() for table in (models.exports, models.ready_emails)]
    assert [[], []] == following
    assert "A preview cannot be exported." == sentence(command("exports", "create", run_id))


def test_nothing_that_is_under_way_answers_for_a_preview(tables):
    """Each request for one is a run of its own, also beside a manual run of the same question."""
    with transaction() as connection:
        day = {"data_date": NOON.date(), "data_version": 1, "people_version": 1, "rows": 10}
        connection.execute(models.data_dates.insert().values(day))
    audience_id = saved()
    done("runs", "queue", audience_id)

    previews = [json.loads(done("runs", "queue", audience_id, "--preview", "--json")) for _ in range(2)]

    assert [True, True] == [one["created"] for one in previews]
    assert "--preview: looks at one audience and does not go with --all." == sentence(
        command("runs", "queue", "--all", "--preview")
    )
