"""Changing a saved definition: what moves with it, and what a change leaves alone."""

from datetime import UTC, datetime, timedelta

import pytest
from builders import MONDAY, NOON, audience_row, config, ready, saved

from worker import audiences, daily, due, errors, models
from worker.database import transaction

TOMORROW_SIX = datetime(2026, 5, 7, 6, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def _tables(tables):
    """Every test here begins with empty tables."""


def dates(audience_id):
    """Read an audience's next slot and the moment it is due."""
    return tuple(audience_row(audience_id)[name] for name in ("next_slot_at", "next_due_at"))


def change(audience_id, **changes):
    """Change an audience at noon."""
    with transaction() as connection:
        audiences.change(connection, audience_id, changes, now=NOON)


def test_a_change_writes_what_it_names():
    """Everything else stays, the dates too where they do not follow from it."""
    audience_id = saved(status="active")
    before = audience_row(audience_id)

    change(audience_id, name="Sellers", config=config(2), notify_emails=["a@b.example"] * 2, notify_on_manual=True)

    after = audience_row(audience_id)
    expected = {"name": "Sellers", "config": config(2).normalized, "config_hash": config(2).hash}
    expected |= {"notify_emails": ["a@b.example"], "notify_on_manual": True, "updated_at": NOON}
    assert {**before, **expected} == dict(after)


def test_what_is_so_already_is_not_written():
    """Not even the time of the last change moves."""
    audience_id = saved(status="active", due_now=True)
    before = audience_row(audience_id)

    change(audience_id)
    change(audience_id, name=" Buyers ", status="active", config=config(), refresh_cron="0 6 * * *", notify_emails=())

    assert before == audience_row(audience_id)


@pytest.mark.parametrize(
    ("changes", "slot"),
    [
        ({"refresh_cron": "0 14 * * *"}, NOON + 2 * HOUR),
        ({"timezone": "America/New_York"}, TOMORROW_SIX + 4 * HOUR),
        ({"refresh_window_minutes": 5}, TOMORROW_SIX),
        ({"daily_refresh_enabled": False}, None),
    ],
    ids=str,
)
def test_the_next_dates_follow_the_schedule(changes, slot):
    """A slot still ahead is the new schedule's next, with the offset of its window."""
    audience_id = saved(status="active")

    change(audience_id, **changes)

    offset = due.offset(audience_id, changes.get("refresh_window_minutes", 60))
    assert (slot, slot and slot + offset) == dates(audience_id)


@pytest.mark.parametrize("changes", [{"refresh_cron": "0 5 * * *"}, {"timezone": "Asia/Tokyo"}], ids=str)
def test_a_changed_schedule_puts_no_refresh_off_whose_slot_has_come(changes):
    """A refresh that waits for late data, or for its place in the window, stays due as it was."""
    audience_id = saved(status="active", now=NOON - 30 * HOUR)
    before = dates(audience_id)

    change(audience_id, **changes)

    assert before == dates(audience_id)
    ready(MONDAY)
    assert {"due": 1, "queued": 1} == daily.queue_daily_runs(now=NOON)
    row = audience_row(audience_id)
    assert due.next_slot(row["refresh_cron"], row["timezone"], NOON) == row["next_slot_at"]


def test_a_wider_window_puts_no_refresh_off_whose_slot_has_come():
    """A narrower one may bring it forward."""
    audience_id = saved(status="active", now=NOON - 30 * HOUR)
    slot, due_at = dates(audience_id)

    change(audience_id, refresh_window_minutes=1439)
    wider = dates(audience_id)
    change(audience_id, refresh_window_minutes=0)

    assert [(slot, due_at), (slot, slot)] == [wider, dates(audience_id)]


def test_a_refused_change_writes_nothing():
    """One bad field spoils the whole change."""
    audience_id = saved(status="active")
    before = audience_row(audience_id)

    with pytest.raises(errors.InvalidField, match=r"^timezone: "):
        change(audience_id, name="Sellers", timezone="Mars/Olympus")

    assert before == audience_row(audience_id)


def test_a_schedule_that_somebody_has_spoilt_keeps_no_other_change_off():
    """Only what is given is looked at."""
    audience_id = saved(status="active")
    with transaction() as connection:
        connection.execute(models.audiences.update().values(timezone="Mars/Olympus"))

    change(audience_id, name="Sellers")

    assert "Sellers" == audience_row(audience_id)["name"]
