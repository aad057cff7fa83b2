"""What Postgres itself refuses, whoever writes: arrows that do not exist, rows that contradict themselves."""

import itertools

import pytest
from builders import held, queued, run_row, saved
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from worker.database import transaction

STATUSES = ("queued", "running", "completed", "failed", "cancelled")
ARROWS = {
    ("queued", "running"),
    ("queued", "cancelled"),
    ("running", "queued"),
    ("running", "completed"),
    ("running", "failed"),
}
UNSET = "claimed_by lease_expires_at completed_at snapshot_key written_on results_expire_at csv_defused cancelled_at"
UNSET += " finished_at error_code error_message next_attempt_at"
PUBLISHED = {"completed_at": "now()", "snapshot_key": "gen_random_uuid()", "written_on": "'2026-05-06'"}
PUBLISHED |= {"results_expire_at": "now()", "csv_defused": "true", "finished_at": "now()"}
# What a row holds in each status so that only its arrow can be wrong with it.
COLUMNS = {
    "queued": {},
    "running": {"claimed_by": "'w'", "lease_expires_at": "now()"},
    "completed": PUBLISHED,
    "failed": {"finished_at": "now()", "error_code": "'X'", "error_message": "'It failed.'"},
    "cancelled": {"finished_at": "now()", "cancelled_at": "now()"},
}
WAY = {
    "queued": (),
    "running": ("running",),
    "completed": ("running", "completed"),
    "failed": ("running", "failed"),
    "cancelled": ("cancelled",),
}


@pytest.fixture(autouse=True)
def _tables(tables):
    """Every test here begins with empty tables."""


def go(run_id, status):
    """Write a status by raw SQL, with all the columns that belong to it."""
    values = dict.fromkeys(UNSET.split(), "NULL") | COLUMNS[status] | {"status": f"'{status}'"}
    change(run_id, ", ".join(f"{name} = {value}" for name, value in values.items()))


def change(run_id, changes):
    """Write columns by raw SQL."""
    with transaction() as connection:
        connection.execute(text(f"UPDATE runs SET {changes} WHERE id = :id"), {"id": run_id})


def standing(status):
    """Make a run that stands in a status."""
    run_id = queued(saved())
    for step in WAY[status]:
        go(run_id, step)
    return run_id


def refused(act, *arguments):
    """Name the rule that an act breaks: a constraint's name, or what the trigger said."""
    with pytest.raises(IntegrityError) as caught:
        act(*arguments)
    found = caught.value.orig.diag
    return found.constraint_name or found.message_primary


@pytest.mark.parametrize(("before", "after"), sorted(ARROWS))
def test_a_run_follows_its_arrows(before, after):
    """Each of the five arrows of a run's life is open."""
    run_id = standing(before)

    go(run_id, after)

    assert after == run_row(run_id)["status"]


@pytest.mark.parametrize(
    ("before", "after"), sorted({pair for pair in itertools.permutations(STATUSES, 2) if pair not in ARROWS})
)
def test_a_run_follows_no_other_arrow(before, after):
    """Every other change of status is refused by Postgres itself, and the row stays as it was."""
    run_id = standing(before)
    untouched = run_row(run_id)

    assert f"a run does not go from {before} to {after}" == refused(go, run_id, after)
    assert untouched == run_row(run_id)


@pytest.mark.parametrize("status", STATUSES)
def test_a_run_may_change_without_moving(status):
    """A write that leaves the status alone is no transition: leases are renewed, mails noted."""
    run_id = standing(status)

    change(run_id, "ready_email_error = 'noted'")

    assert (status, "noted") == tuple(run_row(run_id)[name] for name in ("status", "ready_email_error"))


@pytest.mark.parametrize("status", STATUSES[1:])
def test_a_run_is_born_queued(status):
    """An insertion with any other status is refused."""
    values = {name: text(value) for name, value in COLUMNS[status].items()}

    assert f"a run is born queued, not {status}" == refused(lambda: queued(saved(), status=status, **values))


def test_a_fence_never_goes_back():
    """A smaller fence is refused, the same and a larger one are not."""
    claim = held()

    assert "a fence never goes back" == refused(change, claim.run_id, "fence = 0")

    change(claim.run_id, "fence = 1")
    change(claim.run_id, "fence = 2")


@pytest.mark.parametrize(
    ("rule", "status", "changes"),
    [
        ("runs_status_known", "queued", "status = 'lost'"),
        ("runs_leased_when_running", "running", "claimed_by = NULL, lease_expires_at = NULL"),
        ("runs_leased_when_running", "running", "lease_expires_at = NULL"),
        ("runs_next_attempt_when_queued", "running", "next_attempt_at = now()"),
        ("runs_published_when_completed", "completed", "snapshot_key = NULL"),
        ("runs_published_when_completed", "completed", "csv_defused = NULL"),
        ("runs_completed_without_code", "completed", "error_code = 'X', error_message = 'x'"),
        ("runs_failed_with_code", "failed", "error_code = NULL, error_message = NULL"),
        ("runs_cancelled_with_time", "cancelled", "cancelled_at = NULL"),
        ("runs_finished", "failed", "finished_at = NULL"),
    ],
)
def test_a_moved_run_that_contradicts_its_status_is_refused(rule, status, changes):
    """Each status is tied to its columns; an unknown one is refused by the trigger before any rule is asked."""
    run_id = standing(status)

    said = refused(change, run_id, changes)

    assert said == (rule if rule != "runs_status_known" else "a run does not go from queued to lost")


@pytest.mark.parametrize("end", ["failed", "cancelled"])
def test_a_daily_run_that_came_to_nothing_blocks_no_other(end):
    """After a failed or cancelled daily run another of the same date may be queued."""
    audience_id = saved()
    run_id = queued(audience_id, run_type="daily")
    for step in WAY[end]:
        go(run_id, step)

    assert queued(audience_id, run_type="daily")
