"""What a change by hand, a pause and a deletion mean for the runs that wait."""

from datetime import timedelta
from uuid import uuid4

import pytest
from builders import (
    MONDAY,
    NOON,
    TUESDAY,
    ask,
    audience_row,
    claimed,
    complete,
    everything,
    published,
    queued,
    ready,
    run_row,
    runs_of,
    saved,
    together,
)

from worker import audiences, daily, errors, manual, runs
from worker.database import transaction


@pytest.fixture(autouse=True)
def _tables(tables):
    """Every test here begins with empty tables."""


@pytest.fixture
def audience_id():
    """An audience, with two ready days to read."""
    ready(MONDAY, TUESDAY)
    return saved()


def test_pausing_cancels_what_waits_daily(audience_id):
    """A pause cancels queued daily runs under a code of its own, and neither manual nor running ones."""
    by_hand = ask(audience_id).run_id
    waits = queued(audience_id, run_type="daily", lane="daily", data_date=TUESDAY)
    runs_now = queued(audience_id, run_type="daily", lane="daily", data_date=MONDAY, priority=9)
    claimed(lane="daily")

    cancelled = manual.pause(audience_id, now=NOON)

    assert 1 == cancelled
    assert ["queued", "cancelled", "running"] == [run_row(it)["status"] for it in (by_hand, waits, runs_now)]
    assert "AUDIENCE_PAUSED" == run_row(waits)["error_code"]


def test_a_paused_audience_has_no_next_date():
    """A pause clears both dates of an active audience."""
    audience_id = saved(status="active")

    manual.pause(audience_id, now=NOON)

    assert ("paused", None, None) == tuple(
        audience_row(audience_id)[name] for name in ("status", "next_slot_at", "next_due_at")
    )


def test_a_cancelled_daily_run_can_be_had_again():
    """An audience that is paused and activated the same day gets the day's run after all, at once if asked for."""
    ready(MONDAY)
    audience_id = saved(status="active", due_now=True)
    daily.queue_daily_runs(now=NOON)
    manual.pause(audience_id, now=NOON)

    with transaction() as connection:
        audiences.set_status(connection, audience_id, "active", due_now=True, now=NOON)

    assert {"due": 1, "queued": 1} == daily.queue_daily_runs(now=NOON)
    assert [("daily", "cancelled", MONDAY), ("daily", "queued", MONDAY)] == runs_of(audience_id)


@pytest.mark.parametrize("state", ["running", "completed"])
def test_a_daily_run_under_way_is_not_had_twice(state):
    """A pause takes nothing back that somebody has started, even where it cancels an older day's run."""
    ready(MONDAY)
    audience_id = saved(status="active", due_now=True)
    daily.queue_daily_runs(now=NOON)
    [claim] = claimed(lane="daily")
    if state == "completed":
        with transaction() as connection:
            runs.complete(connection, claim, published(), now=NOON)
    older = queued(audience_id, run_type="daily", lane="daily", data_date=MONDAY - timedelta(days=1))

    manual.pause(audience_id, now=NOON)

    assert ("cancelled", state) == (run_row(older)["status"], run_row(claim.run_id)["status"])
    assert MONDAY == audience_row(audience_id)["last_daily_date"]


@pytest.mark.parametrize("changes", [{"status": "draft"}, {"daily_refresh_enabled": False}], ids=str)
def test_switching_the_refresh_off_cancels_what_waits_daily(changes):
    """A waiting daily run of an audience that is no longer refreshed daily ends under a code of its own."""
    audience_id = saved(status="active")
    waits = queued(audience_id, run_type="daily", lane="daily")

    row, cancelled = manual.change(audience_id, changes, now=NOON)

    assert (1, None) == (cancelled, row["next_due_at"])
    assert ("cancelled", "REFRESH_SWITCHED_OFF") == tuple(run_row(waits)[name] for name in ("status", "error_code"))


def test_what_was_never_refreshed_keeps_its_runs(audience_id):
    """Another name for a draft or a paused audience cancels nothing."""
    waits = queued(audience_id, run_type="daily", lane="daily")

    assert 0 == manual.change(audience_id, {"name": "Sellers", "daily_refresh_enabled": False}, now=NOON)[1]
    assert "queued" == run_row(waits)["status"]


def test_another_organization_changes_nothing(audience_id):
    """Its audience is neither changed, paused nor deleted, and no run of it is cancelled."""
    queued(audience_id, run_type="daily", lane="daily")
    before = everything()

    for act in (manual.pause, manual.delete, lambda it, **of: manual.change(it, {"name": "Stolen"}, **of)):
        with pytest.raises(errors.AudienceNotFound):
            act(audience_id, organization_id=uuid4())

    assert before == everything()


def test_deleting_cancels_whatever_waits(audience_id):
    """A deletion cancels every queued run; what is finished stays readable by its id."""
    done = ask(audience_id).run_id
    complete(done)
    waiting = [
        ask(audience_id).run_id,
        queued(audience_id),
        queued(audience_id, run_type="daily", lane="daily", data_date=TUESDAY),
    ]

    cancelled = manual.delete(audience_id, now=NOON)

    assert 3 == cancelled
    assert ["cancelled"] * 3 == [run_row(it)["status"] for it in waiting]
    assert "completed" == run_row(done)["status"]


def test_a_deleted_audience_is_gone(audience_id):
    """It is neither found, run, paused nor deleted again, and its keys answer nobody."""
    ask(audience_id, key="k")
    manual.delete(audience_id, now=NOON)

    for act in (manual.pause, manual.delete, lambda it: ask(it, key="k")):
        with pytest.raises(errors.NotFound):
            act(audience_id)


def test_pausing_and_queueing_do_not_deadlock():
    """Sessions that ask, pause, activate and queue the day for the same audiences all end well."""
    ready(MONDAY)
    ids = [saved(status="active", due_now=True) for _ in range(3)]

    def act(engine, number):
        for audience_id in ids if number % 2 else reversed(ids):
            match number % 4:
                case 0:
                    ask(audience_id)
                case 1:
                    manual.pause(audience_id, now=NOON)
                case 2:
                    daily.queue_daily_runs(now=NOON)
                case _:
                    with transaction() as connection:
                        audiences.set_status(connection, audience_id, "active", now=NOON)
        return True

    assert [True] * 8 == together(8, act)
    for audience_id in ids:
        assert [1, 1] >= [
            sum(row[:2] == (kind, "queued") for row in runs_of(audience_id)) for kind in ("manual", "daily")
        ]
