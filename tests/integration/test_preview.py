"""Previews: everybody is counted, the first rows are kept, and nobody hears of it."""

import json
from uuid import UUID

from builders import attempts, audience_row, run_row, saved
from commandline import command, done, sentence
from crowd import DAY, filled
from sqlalchemy import select

from worker import drain, models
from worker.database import transaction

PEOPLE = 150
KEPT = 100


def test_a_preview_counts_everybody_and_keeps_a_hundred(stores, clickhouse):
    """The best hundred stand under its key, ranked without gaps; no file, no mail, no word on the audience."""
    filled(clickhouse, PEOPLE)
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
        day = {"data_date": DAY, "data_version": 1, "people_version": 1, "rows": 10}
        connection.execute(models.data_dates.insert().values(day))
    audience_id = saved()
    done("runs", "queue", audience_id)

    previews = [json.loads(done("runs", "queue", audience_id, "--preview", "--json")) for _ in range(2)]

    assert [True, True] == [one["created"] for one in previews]
    assert "--preview: looks at one audience and does not go with --all." == sentence(
        command("runs", "queue", "--all", "--preview")
    )
