"""Queueing the day when something goes wrong: crashes, doubled schedulers, late, withdrawn and future data."""

from datetime import UTC, date, datetime, timedelta

import pytest
from builders import (
    MONDAY,
    NOON,
    TUESDAY,
    WEDNESDAY,
    before_each_statement,
    claimed,
    dates,
    everything,
    many_saved,
    queued,
    ready,
    runs_of,
    saved,
    together,
)
from sqlalchemy import text

from worker import daily, errors, models
from worker.database import transaction
from worker.runs import finish

SIX = {day: datetime.combine(day, datetime.min.time(), UTC).replace(hour=6) for day in (MONDAY, TUESDAY, WEDNESDAY)}


HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def _tables(tables):
    """Every test here begins with empty tables."""


def early(**values):
    """Save an active audience that is due at six, sharp, from Monday on."""
    return saved(status="active", now=SIX[MONDAY] - HOUR, **{"refresh_window_minutes": 0, **values})


def test_two_schedulers_at_once_queue_one_run_an_audience():
    """Two ticks at the same moment share the audiences between them."""
    ready(MONDAY)
    many_saved(60)

    counts = together(2, lambda engine, number: daily.queue_daily_runs(now=NOON))

    assert 60 == sum(count["queued"] for count in counts)
    with transaction() as connection:
        found = connection.execute(text("SELECT count(*), count(DISTINCT audience_id) FROM runs")).one()
    assert (60, 60) == tuple(found)


def test_a_failed_daily_run_does_not_block_tomorrow_s():
    """Monday's run failed for good; Tuesday's is queued all the same, and Monday's is not repeated."""
    ready(MONDAY)
    audience_id = early()
    daily.queue_daily_runs(now=SIX[MONDAY])
    [claim] = claimed(lane="daily", now=SIX[MONDAY])
    with transaction() as connection:
        finish.fail(connection, claim, errors.ConfigRefused(), charged=True)
    assert {"due": 0, "queued": 0} == daily.queue_daily_runs(now=SIX[TUESDAY])

    ready(TUESDAY)
    daily.queue_daily_runs(now=SIX[TUESDAY])

    assert [("daily", "failed", MONDAY), ("daily", "queued", TUESDAY)] == runs_of(audience_id)


def test_a_crash_between_any_two_statements_changes_nothing():
    """Before each statement and before the commit in turn the pass breaks off; then a clean one does all the work."""
    ready(MONDAY, TUESDAY)
    audience_ids = [early() for _ in range(3)]
    queued(audience_ids[0], run_type="daily", lane="daily", data_date=MONDAY)
    untouched = everything()
    with pytest.raises(Crash), before_each_statement(crash_at("COMMIT")):
        daily.queue_daily_runs(now=SIX[TUESDAY])

    crashes = 0
    while crash_before(crashes):
        crashes += 1
        assert untouched == everything()

    assert crashes >= 6
    assert [[("daily", "queued", TUESDAY)]] * 2 == [runs_of(it) for it in audience_ids[1:]]
    assert [("daily", "cancelled", MONDAY), ("daily", "queued", TUESDAY)] == runs_of(audience_ids[0])


class Crash(Exception):
    """The process dies here."""


def crash_at(wanted):
    """Return what dies before one statement."""

    def act(statement):
        if statement == wanted:
            raise Crash

    return act


def crash_before(number):
    """Die before the statement of this number, counted from zero; return False where the pass has fewer."""
    left = [number]

    def act(_statement):
        if not left[0]:
            raise Crash
        left[0] -= 1

    try:
        with before_each_statement(act):
            daily.queue_daily_runs(now=SIX[TUESDAY])
    except Crash:
        return True
    return False


def test_after_three_days_without_a_scheduler_each_audience_gets_one_run():
    """Nobody catches up on Monday and Tuesday: the one run reads the newest ready day."""
    audience_ids = [early(timezone=zone) for zone in ("UTC", "Asia/Tokyo", "America/New_York")]
    ready(MONDAY, TUESDAY, WEDNESDAY)

    passes = [daily.queue_daily_runs(now=NOON + timedelta(seconds=15 * tick)) for tick in range(3)]

    assert [3, 0, 0] == [counts["queued"] for counts in passes]
    assert [[("daily", "queued", WEDNESDAY)]] * 3 == [runs_of(it) for it in audience_ids]
    assert all(dates(it)[2] > NOON for it in audience_ids)


def test_late_data_delays_a_refresh_and_never_skips_it():
    """At six Tuesday's data is missing; when it lands at two in the afternoon everybody who waits is queued."""
    ready(MONDAY)
    audience_ids = [early(), early(refresh_cron="30 7 * * *")]
    daily.queue_daily_runs(now=SIX[MONDAY] + 4 * HOUR)
    assert {"due": 0, "queued": 0} == daily.queue_daily_runs(now=SIX[TUESDAY] + 4 * HOUR)

    ready(TUESDAY)
    counts = daily.queue_daily_runs(now=SIX[TUESDAY] + 8 * HOUR)

    assert {"due": 2, "queued": 2} == counts
    assert [SIX[WEDNESDAY], SIX[WEDNESDAY] + 1.5 * HOUR] == [dates(it)[2] for it in audience_ids]


def test_a_ready_date_in_the_future_is_never_used():
    """A load dated 2062 by mistake is as good as none."""
    ready(MONDAY, date(2062, 5, 4))
    audience_id = early()

    daily.queue_daily_runs(now=SIX[MONDAY])

    assert [("daily", "queued", MONDAY)] == runs_of(audience_id)


def test_only_a_future_date_queues_nobody():
    """With no usable day the pass returns its zeros and touches nothing."""
    ready(date(2062, 5, 4))
    early()
    untouched = everything()

    assert {"due": 0, "queued": 0} == daily.queue_daily_runs(now=SIX[MONDAY])
    assert untouched == everything()


def test_a_withdrawn_day_repeats_nobody():
    """When the newest day is taken back, nobody gets another run of the one before."""
    ready(MONDAY, TUESDAY)
    audience_id = early()
    daily.queue_daily_runs(now=SIX[TUESDAY])
    with transaction() as connection:
        connection.execute(models.data_dates.delete().where(models.data_dates.c.data_date == TUESDAY))

    daily.queue_daily_runs(now=SIX[WEDNESDAY])

    assert [("daily", "queued", TUESDAY)] == runs_of(audience_id)


def test_an_audience_that_somebody_changes_is_left_for_the_next_pass():
    """A pass waits for nobody: who holds an audience delays that one alone."""
    ready(MONDAY)
    busy, free = early(), early()

    with transaction() as changing:
        changing.execute(models.audiences.update().where(models.audiences.c.id == busy).values(name="Changed"))
        first = daily.queue_daily_runs(now=SIX[MONDAY])
    second = daily.queue_daily_runs(now=SIX[MONDAY])

    assert [1, 1] == [first["queued"], second["queued"]]
    assert [[("daily", "queued", MONDAY)]] * 2 == [runs_of(busy), runs_of(free)]


@pytest.mark.parametrize("spoilt", [{"refresh_cron": "at six"}, {"timezone": "Mars/Olympus"}])
def test_a_schedule_spoilt_by_hand_holds_up_nobody_else(spoilt):
    """An audience whose row was edited past every check is left out, and the others are queued."""
    ready(MONDAY)
    bad, good = early(), early()
    with transaction() as connection:
        connection.execute(models.audiences.update().where(models.audiences.c.id == bad).values(**spoilt))

    counts = daily.queue_daily_runs(now=SIX[MONDAY])

    assert {"due": 2, "queued": 1} == counts
    assert [[], [("daily", "queued", MONDAY)]] == [runs_of(it) for it in (bad, good)]
