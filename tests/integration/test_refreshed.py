"""What a completed run means for its audience: its size, and who hears of it."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from builders import (
    MINUTE,
    MONDAY,
    NOON,
    TUESDAY,
    audience_row,
    claimed,
    published,
    queued,
    run_row,
    saved,
    until_somebody_waits,
)

from worker import audiences, models, runs
from worker.database import transaction

HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def _tables(tables):
    """Every test here begins with empty tables."""


def completed(audience_id, *, results=20, at=NOON, **values):
    """Complete one run of an audience and let the audience take its count over."""
    run_id = queued(audience_id, **{"run_type": "manual", "data_date": MONDAY, **values})
    [claim] = claimed()
    assert run_id == claim.run_id
    with transaction() as connection:
        runs.complete(connection, claim, published(results, results), now=at)
        audiences.refreshed(connection, run_id, now=at)
    return run_id


def refreshed(audience_id):
    """Read what an audience knows of its last refresh."""
    names = ("audience_size", "refreshed_by_run_id", "last_refreshed_at")
    return tuple(audience_row(audience_id)[name] for name in names)


def test_a_completed_run_refreshes_its_audience():
    """Size, time and run are taken over."""
    audience_id = saved()

    run_id = completed(audience_id, results=7, at=NOON + MINUTE)

    assert (7, run_id, NOON + MINUTE) == refreshed(audience_id)


@pytest.mark.parametrize(
    "newer", [{"data_date": TUESDAY}, {"data_date": MONDAY, "created_at": NOON + MINUTE}], ids=["day", "creation"]
)
def test_a_newer_run_moves_the_count_forward(newer):
    """A later day, or a later run of the same day, is taken over."""
    audience_id = saved()
    completed(audience_id, results=7)

    run_id = completed(audience_id, results=9, **newer)

    assert (9, run_id) == refreshed(audience_id)[:2]


@pytest.mark.parametrize(
    "older",
    [
        {"data_date": MONDAY, "created_at": NOON + MINUTE},
        {"data_date": TUESDAY, "created_at": NOON - MINUTE},
        {"data_date": TUESDAY, "created_at": NOON},
        {"data_date": TUESDAY, "created_at": NOON + MINUTE, "run_type": "preview"},
        {"data_date": TUESDAY, "created_at": NOON + MINUTE, "config_hash": "0" * 64},
    ],
    ids=["an older day", "an older run", "a twin", "a preview", "a former config"],
)
def test_nothing_older_or_other_moves_the_count(older):
    """A run of an older day, an older run, a preview and a run of another config change nothing."""
    audience_id = saved()
    completed(audience_id, results=7, data_date=TUESDAY)
    before = audience_row(audience_id)

    completed(audience_id, results=9, at=NOON + HOUR, **older)

    assert before == audience_row(audience_id)


def test_a_pruned_run_stands_in_nobody_s_way():
    """An audience whose last run has gone after its retention is refreshed by the next."""
    audience_id = saved()
    old = completed(audience_id, results=7, data_date=TUESDAY)
    with transaction() as connection:
        connection.execute(models.runs.delete().where(models.runs.c.id == old))

    run_id = completed(audience_id, results=9)

    assert (9, run_id) == refreshed(audience_id)[:2]


def test_a_completion_that_waited_looks_at_the_newer_run():
    """The older completion is held back until the newer one has committed; the newer count stays."""
    audience_id = saved()
    new = queued(audience_id, run_type="manual", data_date=TUESDAY)
    old = queued(audience_id, run_type="manual", data_date=MONDAY)
    for claim in claimed(2):
        with transaction() as connection:
            runs.complete(connection, claim, published(9 if claim.run_id == new else 7), now=NOON)

    def refresh_late():
        with transaction() as connection:
            audiences.refreshed(connection, old, now=NOON)

    with ThreadPoolExecutor(1) as beside:
        with transaction() as connection:
            audiences.refreshed(connection, new, now=NOON)
            late = beside.submit(refresh_late)
            until_somebody_waits()
        late.result()

    assert (9, new) == refreshed(audience_id)[:2]


@pytest.mark.parametrize(
    ("values", "run_type", "heard"),
    [
        ({}, "daily", ["a@b.example"]),
        ({}, "manual", []),
        ({"notify_on_manual": True}, "manual", ["a@b.example"]),
        ({"notify_on_manual": True}, "preview", []),
        ({"notify_emails": ()}, "daily", []),
    ],
)
def test_recipients_hear_of_daily_runs_and_of_manual_ones_on_request(values, run_type, heard):
    """Nobody hears of a preview."""
    audience_id = saved(**{"notify_emails": ("a@b.example",), **values})

    with transaction() as connection:
        assert heard == list(audiences.recipients(connection, audience_id, run_type))


def test_a_deleted_audience_has_no_recipients():
    """Nobody hears of a run that ended after its audience's deletion."""
    audience_id = saved(notify_emails=("a@b.example",))

    with transaction() as connection:
        audiences.delete(connection, audience_id, now=NOON)
        assert [] == list(audiences.recipients(connection, audience_id, "daily"))


def test_deleting_keeps_finished_runs():
    """A finished run of a deleted audience is still there by its id."""
    audience_id = saved()
    run_id = completed(audience_id)

    with transaction() as connection:
        audiences.delete(connection, audience_id, now=NOON)

    assert "completed" == run_row(run_id)["status"]
