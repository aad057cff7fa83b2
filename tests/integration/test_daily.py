"""Queueing the day's runs: exactly one an audience, whoever crashes, doubles or comes late."""

import time
from datetime import UTC, datetime, timedelta

import pytest
from builders import (
    MONDAY,
    NOON,
    TUESDAY,
    WEDNESDAY,
    audience_row,
    claimed,
    dates,
    everything,
    many_saved,
    published,
    queued,
    ready,
    run_row,
    runs_of,
    saved,
    statements,
)

from worker import daily, manual, runs
from worker.database import transaction

SIX = {day: datetime.combine(day, datetime.min.time(), UTC).replace(hour=6) for day in (MONDAY, TUESDAY, WEDNESDAY)}
THURSDAY_SIX = SIX[WEDNESDAY] + timedelta(days=1)
HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def _tables(tables):
    """Every test here begins with empty tables."""


def early(**values):
    """Save an active audience that is due at six, sharp, from Monday on."""
    return saved(status="active", now=SIX[MONDAY] - HOUR, **{"refresh_window_minutes": 0, **values})


def test_a_due_audience_gets_its_run():
    """One daily run of the newest ready day is queued, and the audience's dates move on."""
    ready(MONDAY - timedelta(days=1), MONDAY)
    audience_id = early()

    counts = daily.queue_daily_runs(now=SIX[MONDAY])

    assert {"due": 1, "queued": 1} == counts
    assert [("daily", "queued", MONDAY)] == runs_of(audience_id)
    assert (MONDAY, SIX[TUESDAY], SIX[TUESDAY]) == dates(audience_id)


def test_a_daily_run_is_born_due_in_the_daily_lane():
    """The run carries the audience's config and its organization, and may be claimed at once."""
    ready(MONDAY)
    audience_id = early()
    daily.queue_daily_runs(now=SIX[MONDAY])

    [claim] = claimed(lane="daily", now=SIX[MONDAY])

    audience = audience_row(audience_id)
    assert (audience["organization_id"], audience_id, "daily", audience["config"], audience["config_hash"]) == (
        claim.organization_id,
        claim.audience_id,
        claim.run_type,
        claim.config,
        claim.config_hash,
    )


def test_a_second_pass_changes_nothing():
    """Once queued, the same moment finds nobody due."""
    ready(MONDAY)
    early()
    daily.queue_daily_runs(now=SIX[MONDAY])
    untouched = everything()

    assert {"due": 0, "queued": 0} == daily.queue_daily_runs(now=SIX[MONDAY])
    assert untouched == everything()


@pytest.mark.parametrize("status", ["draft", "paused"])
def test_only_active_audiences_are_queued(status):
    """Draft and paused audiences have no date and get no run."""
    ready(MONDAY)
    saved(status=status, due_now=True)
    saved(status="active", daily_refresh_enabled=False, due_now=True)

    assert {"due": 0, "queued": 0} == daily.queue_daily_runs(now=NOON)


def test_nobody_is_queued_before_the_hour():
    """An audience whose slot lies a second ahead is left alone."""
    ready(MONDAY)
    early()

    assert {"due": 0, "queued": 0} == daily.queue_daily_runs(now=SIX[MONDAY] - timedelta(seconds=1))


def test_a_manual_run_in_flight_does_not_swallow_the_daily_one():
    """A button pressed at one minute to six takes nobody's daily run away."""
    ready(MONDAY)
    audience_id = early()
    manual.queue(audience_id, now=SIX[MONDAY] - timedelta(minutes=1))

    daily.queue_daily_runs(now=SIX[MONDAY])

    assert [("daily", "queued", MONDAY), ("manual", "queued", MONDAY)] == runs_of(audience_id)


def test_waiting_audiences_are_left_as_they_are():
    """A pass without newer data writes nothing at all."""
    ready(MONDAY)
    early()
    daily.queue_daily_runs(now=SIX[MONDAY])
    untouched = everything()

    daily.queue_daily_runs(now=SIX[TUESDAY])

    assert untouched == everything()


def test_an_older_run_that_still_waits_is_superseded():
    """Tuesday's run takes the place of Monday's that nobody started."""
    ready(MONDAY)
    audience_id = early()
    daily.queue_daily_runs(now=SIX[MONDAY])
    ready(TUESDAY)

    daily.queue_daily_runs(now=SIX[TUESDAY])

    assert [("daily", "cancelled", MONDAY), ("daily", "queued", TUESDAY)] == runs_of(audience_id)
    with transaction() as connection:
        [old] = runs.latest(connection, audience_id=audience_id, status="cancelled")
    assert ("SUPERSEDED", SIX[TUESDAY]) == (old["error_code"], old["cancelled_at"])


@pytest.mark.parametrize(("run_type", "status"), [("daily", "running"), ("manual", "queued")])
def test_what_is_under_way_or_asked_for_is_not_superseded(run_type, status):
    """A running daily run and a waiting manual one of an older day go on."""
    ready(TUESDAY)
    audience_id = early()
    run_id = queued(audience_id, run_type=run_type, lane="daily", data_date=MONDAY, due_at=SIX[MONDAY])
    if status == "running":
        claimed(lane="daily")

    daily.queue_daily_runs(now=SIX[TUESDAY])

    assert status == run_row(run_id)["status"]


def test_another_audience_s_older_run_is_not_superseded():
    """Only the audiences that get a new run lose their old one."""
    ready(TUESDAY)
    early()
    run_id = queued(saved(), run_type="daily", lane="daily", data_date=MONDAY)

    daily.queue_daily_runs(now=SIX[TUESDAY])

    assert "queued" == run_row(run_id)["status"]


def test_a_daily_run_of_the_date_is_not_doubled():
    """An audience that has the date's run already only moves on."""
    ready(MONDAY)
    audience_id = early()
    queued(audience_id, run_type="daily", lane="daily", data_date=MONDAY)

    counts = daily.queue_daily_runs(now=SIX[MONDAY])

    assert {"due": 1, "queued": 0} == counts
    assert (MONDAY, SIX[TUESDAY], SIX[TUESDAY]) == dates(audience_id)


def test_the_window_spreads_starts_and_not_data():
    """An audience starts its own offset behind the slot, for ever the same one."""
    ready(MONDAY)
    audience_ids = [early(refresh_window_minutes=60) for _ in range(8)]
    before = [dates(it)[2] - dates(it)[1] for it in audience_ids]

    daily.queue_daily_runs(now=SIX[MONDAY] + HOUR)

    after = [dates(it)[2] - dates(it)[1] for it in audience_ids]
    assert before == after
    assert 1 < len(set(after))
    assert [SIX[TUESDAY]] * 8 == [dates(it)[1] for it in audience_ids]


def test_each_zone_has_its_own_morning():
    """Six o'clock in Berlin comes at four in summer, by the clock of the database."""
    ready(MONDAY)
    audience_id = saved(status="active", timezone="Europe/Berlin", refresh_window_minutes=0, now=SIX[MONDAY] - 6 * HOUR)

    daily.queue_daily_runs(now=SIX[MONDAY])

    assert SIX[TUESDAY] - 2 * HOUR == dates(audience_id)[2]


def test_ten_thousand_audiences_are_queued_in_one_pass(capsys):
    """The pass sends as many statements for ten thousand audiences as for one."""
    ready(MONDAY)
    many_saved(1)
    with statements() as few:
        daily.queue_daily_runs(now=NOON)
    many_saved(10_000)
    started = time.monotonic()

    with statements() as many:
        counts = daily.queue_daily_runs(now=NOON)

    with capsys.disabled():
        print(f"\n10,000 audiences queued in {time.monotonic() - started:.2f} s, {len(many)} statements")  # noqa: T201
    assert {"due": 10_000, "queued": 10_000} == counts
    assert len(few) == len(many)


def test_a_day_ends_with_one_completed_run():
    """Queued, claimed and completed, the audience is not due again for this day."""
    ready(MONDAY)
    audience_id = early()
    daily.queue_daily_runs(now=SIX[MONDAY])
    [claim] = claimed(lane="daily", now=SIX[MONDAY])
    with transaction() as connection:
        runs.complete(connection, claim, published())

    assert {"due": 0, "queued": 0} == daily.queue_daily_runs(now=THURSDAY_SIX)
    assert [("daily", "completed", MONDAY)] == runs_of(audience_id)
