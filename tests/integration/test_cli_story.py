"""One run's whole story on one page: why it waits, what it does, what it came to."""

import json
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from builders import MINUTE, NOON, audience_row, claimed, held, published, queued, run_row, saved
from commandline import done, pointed

from worker import backoff, emails, exports, presence, runs, settings
from worker.database import transaction
from worker.errors import QueryTimeout

POLICY = backoff.Policy(budget=8, base_seconds=15, cap_seconds=900, deadline_seconds=43_200)


def shown(run_id: UUID) -> dict[str, Any]:
    """Show a run as JSON."""
    return json.loads(done("runs", "show", run_id, "--json"))


def test_a_run_that_waits_says_for_what(stores):
    """Without workers, for a worker, after a failure, and under a lease that is over."""
    run_id = queued(saved(), run_type="manual")

    assert "due; no worker of the manual lane was seen lately" == shown(run_id)["waits"]
    with transaction() as connection:
        presence.seen(connection, "manual@host", "manual")
    free = "due; waits for a free worker of the manual lane; number 1 of its organization, no other organization waits"
    assert free == shown(run_id)["waits"]
    [claim] = claimed(now=None)
    assert shown(run_id)["waits"] is None
    with transaction() as connection:
        runs.set_back(connection, claim, QueryTimeout(), POLICY)
    again = run_row(run_id)["next_attempt_at"].isoformat(sep=" ", timespec="seconds")
    assert f"tried again at {again} after QUERY_TIMEOUT: The query took longer than it may." == shown(run_id)["waits"]
    silent = held(now=NOON).run_id
    assert "its lease ended at 2026-05-06 12:01:00+00:00; the rescue takes it over" == shown(silent)["waits"]


def test_a_run_that_waits_names_the_ceiling_and_its_place(tables, monkeypatch):
    """The lane's places, its organization's share, an operator's limit, or a lane that ClickHouse has closed."""
    ours, theirs = saved(), saved()
    organization = audience_row(ours)["organization_id"]
    with transaction() as connection:
        presence.seen(connection, "manual@host", "manual")
    running = [held(ours).run_id, held(ours).run_id]
    first, second = queued(ours), queued(ours, due_at=NOON + MINUTE)
    queued(theirs)

    place = "number 2 of its organization, 1 other organization waits"
    share = f"due; its organization has its share, ORGANIZATION_MAX_STATEMENTS is 2; {place}"
    assert share == shown(second)["waits"]
    assert "number 1 of its organization" in shown(first)["waits"]
    pointed(monkeypatch, LANE_MAX_STATEMENTS="2")
    assert f"due; the manual lane is full, LANE_MAX_STATEMENTS is 2; {place}" == shown(second)["waits"]
    done("organizations", "limit", organization, "--statements", "2")
    hint = "(audience-worker organizations list)"
    limit = f"due; an operator has limited its organization to 2 under way {hint}; {place}"
    assert limit == shown(second)["waits"]
    pointed(monkeypatch, CLICKHOUSE_URL="http://127.0.0.1:1/audiences")
    assert "due; the manual lane is closed: ClickHouse cannot be reached." == shown(second)["waits"]
    done("organizations", "limit", organization, "--pause")
    assert shown(second)["waits"].startswith("due; an operator has paused its organization: ")
    assert [None, None] == [shown(run_id)["finished_at"] for run_id in running]


def test_a_run_under_way_shows_what_it_sends_and_how_long_it_is_held(tables):
    """The ids of its queries, the end of its lease, the moment it would be given up, and what its budget is."""
    claim = held(now=None)
    key, query_ids = uuid4(), [claim.query_id("count"), claim.query_id("write")]
    with transaction() as connection:
        runs.record(connection, claim, strategy="s", query_ids=query_ids, snapshot_key=key, versions=(1, 1, 1))

    printed = done("runs", "show", claim.run_id)

    row = run_row(claim.run_id)
    deadline = row["first_claimed_at"] + timedelta(seconds=settings.current().deadline_seconds)
    for moment in (deadline, row["lease_expires_at"]):
        assert moment.isoformat(sep=" ", timespec="seconds") in printed
    assert "1 of at most 8, 0 failed" in printed
    assert [query_id in printed for query_id in query_ids] == [True, True]


def test_a_completed_run_shows_everything(stores):
    """Counts, dates, attempts with what they cost, the export and the mails stand on one page."""
    claim = held(now=None)
    announced(claim, "ann@example.com")

    printed = done("runs", "show", claim.run_id)
    told = shown(claim.run_id)

    assert "completed: 20 of 50 candidates" in printed
    assert "1,000" in printed
    assert "processing" in printed
    assert "ann@example.com" in printed
    assert ["completed"] == [attempt["outcome"] for attempt in told["attempt_history"]]
    assert ("processing", ["ann@example.com"]) == (
        told["export"]["status"],
        [mail["recipient"] for mail in told["emails"]],
    )


def announced(claim: runs.Claim, recipient: str) -> None:
    """Complete a run and queue its export and one mail."""
    run = {"organization_id": claim.organization_id, "run_id": claim.run_id}
    with transaction() as connection:
        runs.complete(connection, claim, published())
        exports.queue(connection, **run, audience_id=claim.audience_id)
        emails.queue(connection, **run, recipients=[recipient])
