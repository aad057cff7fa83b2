"""Queueing the day's runs: exactly one an audience, whoever crashes, doubles or comes late."""

import time
from datetime import UTC, date, datetime, timedelta

import pytest
from builders import (
    MONDAY,
    NOON,
    TUESDAY,
    WEDNESDAY,
    audience_row,
    before_each_statement,
    claimed,
    everything,
    many_saved,
    published,
    queued,
    ready,
    run_row,
    runs_of,
    saved,
    statements,
    together,
)
from sqlalchemy import text

from worker import daily, errors, manual, models, runs
from worker.database import transaction
from worker.runs import finish

SIX = {day: datetime.combine(day, datetime.min.time(), UTC).replace(hour=6) for day in (MONDAY, TUESDAY, WEDNESDAY)}
THURSDAY_SIX = SIX[WEDNESDAY] + timedelta(days=1)
HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def _tables(tables):
    """Every test here begins with empty tables."""


def early(**values):
    """Save an active audience that is due at six, sharp, from Monday on."""
    return saved(status="active", now=SIX[MONDAY] - HOUR, **{"refresh_window_minutes": 0, **values})


def dates(audience_id):
    """Read an audience's three dates: last daily date, next slot, next due."""
    return tuple(audience_row(audience_id)[name] for name in ("last_daily_date", "next_slot_at", "next_due_at"))


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


def test_two_schedulers_at_once_queue_one_run_an_audience():
    """Two ticks at the same moment share the audiences between them."""
    ready(MONDAY)
    many_saved(60)

    counts = together(2, lambda engine, number: daily.queue_daily_runs(now=NOON))

    assert 60 == sum(count["queued"] for count in counts)
    with transaction() as connection:
        found = connection.execute(text("SELECT count(*), count(DISTINCT audience_id) FROM runs")).one()
    assert (60, 60) == tuple(found)


def test_a_manual_run_in_flight_does_not_swallow_the_daily_one():
    """A button pressed at one minute to six takes nobody's daily run away."""
    ready(MONDAY)
    audience_id = early()
    manual.queue(audience_id, now=SIX[MONDAY] - timedelta(minutes=1))

    daily.queue_daily_runs(now=SIX[MONDAY])

    assert [("daily", "queued", MONDAY), ("manual", "queued", MONDAY)] == runs_of(audience_id)


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
