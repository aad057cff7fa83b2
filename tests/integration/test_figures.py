"""What is counted: each run, retry and mail once, whenever it is looked at, and also after its row is gone."""

from datetime import UTC, datetime, timedelta

import builders
import pytest
from sqlalchemy import func, select, text, update

from scheduler import beat
from worker import errors, figures, models, presence, runs, settings
from worker.database import engine, transaction
from worker.figures.read import LANES, TICKS

pytestmark = pytest.mark.usefixtures("tables")
LONG_AGO = timedelta(hours=2)


def read(now=None):
    """Read every figure."""
    with transaction() as connection:
        return figures.read(connection, now=now)


def value(name, first="", second=""):
    """Read one figure."""
    return read()[name, first, second]


def age(by=LONG_AGO):
    """Put everything that is over back in time."""
    with transaction() as connection:
        connection.execute(update(models.runs).values(finished_at=models.runs.c.finished_at - by))
        connection.execute(update(models.ready_emails).values(updated_at=models.ready_emails.c.updated_at - by))


def over(status="completed", run_type="manual"):
    """Carry a new run to an end."""
    if status == "cancelled":
        run_id = builders.queued(builders.saved(), run_type=run_type)
        with transaction() as connection:
            runs.cancel(connection, builders.run_row(run_id)["organization_id"], run_id)
        return run_id
    claim = builders.held(now=None, run_type=run_type)
    if status == "completed":
        builders.end(runs.complete, claim, builders.published(), now=None)
    else:
        set_back(claim, errors.ConfigRefused)
    return claim.run_id


def set_back(claim, error=errors.QueryTimeout):
    """Let an attempt fail, so that its run is queued again."""
    with transaction() as connection:
        runs.set_back(connection, claim, error(), settings.current().retry_policy)


def mail(run_id, status, number=1):
    """Write a settled mail of a run."""
    organization = builders.run_row(run_id)["organization_id"]
    sql = """
        INSERT INTO ready_emails (id, organization_id, run_id, recipient, status, due_at, message_id, sent_at)
        SELECT gen_random_uuid(), :organization, :run, :recipient, :status, now(), gen_random_uuid()::text,
               CASE WHEN :status = 'sent' THEN now() END
    """
    values = {"organization": organization, "run": run_id, "recipient": f"{number}@example.com", "status": status}
    with transaction() as connection:
        connection.execute(text(sql), values)


def prune():
    """Delete every run that is over, with all that hangs on it."""
    with transaction() as connection:
        connection.execute(models.runs.delete().where(models.runs.c.finished_at.is_not(None)))


def counters(found):
    """Keep what may only rise."""
    return {key: found[key] for key in found if key[0] in {"runs", "run_seconds", "retries", "rescued", "emails"}}


def test_every_figure_is_there_from_the_beginning():
    """Over empty tables each figure has its first value: 0, or endless age for what never was."""
    found = read()

    assert {0.0, 1.0, float("inf")} == set(found.values())
    assert {key for key, value in found.items() if value == float("inf")} == {
        ("ready_seconds", "", ""),
        *(("tick_seconds", tick, "") for tick in TICKS),
        *(("silent_seconds", lane, "") for lane in LANES),
    }
    assert {("fresh_share", "", "")} == {key for key, value in found.items() if value == 1.0}


def test_nothing_appears_later_that_was_not_seeded():
    """Whatever a run can go through has its figure from the beginning."""
    seeded = read().keys()
    for status in ("completed", "failed", "cancelled"):
        mail(over(status), "sent")
    claim = builders.held(now=None)
    set_back(claim)

    assert seeded == read().keys()


def test_counting_shows_in_no_figure():
    """What is counted is the same before, between and after counts."""
    for status in ("completed", "failed", "cancelled"):
        mail(over(status), "failed")
    age()
    mail(over(), "sent")
    before = counters(read())
    figures.count()
    between = counters(read())
    later = [figures.count(now=datetime.now(UTC) + LONG_AGO)["counted"] for _ in range(2)]

    assert [1, 0] == later
    assert before == between == counters(read())
    assert (2, 1, 1, 3, 1) == tuple(
        before[key]
        for key in (
            *(("runs", "manual", status) for status in ("completed", "failed", "cancelled")),
            ("emails", "failed", ""),
            ("emails", "sent", ""),
        )
    )


def test_totals_outlive_their_rows():
    """Pruning runs that were counted takes nothing away."""
    mail(over(), "sent")
    age()
    figures.count()
    before = counters(read())
    prune()

    assert (before, 1) == (counters(read()), before["runs", "manual", "completed"])


def test_a_late_commit_is_counted():
    """A run whose transaction began before the count and ended after it is counted by the next one."""
    over()
    claim = builders.held(run_type="manual", now=None)
    age()
    with engine().connect() as slow:
        slow.execute(text("SELECT 1"))
        later = slow.execute(select(func.now())).scalar_one() + timedelta(hours=1)
        runs.complete(slow, claim, builders.published())
        figures.count(now=later)
        slow.commit()
    shown = value("runs", "manual", "completed")
    figures.count(now=later)
    prune()

    assert (2, 2) == (shown, value("runs", "manual", "completed"))


def test_counts_at_the_same_moment_add_up_once():
    """Two counts side by side count each run once."""
    for _ in range(3):
        over()
    age()

    counted = builders.together(2, lambda _engine, _number: figures.count()["counted"])

    assert ([0, 3], 3) == (sorted(counted), value("runs", "manual", "completed"))


def test_a_long_downtime_is_made_up_for():
    """Runs of many days are counted in one pass, day by day."""
    for _ in range(4):
        over()
        age(timedelta(days=2, hours=5))

    with builders.statements() as sent:
        counted = figures.count()

    assert ({"counted": 4}, True) == (counted, sent.count("COMMIT") >= 8)


def test_nothing_young_is_counted():
    """Counting stays minutes behind, so that a clock set back hides no run."""
    over()

    assert ({"counted": 0}, 1) == (figures.count(), value("runs", "manual", "completed"))


def test_retries_are_counted_at_once_and_once():
    """A retry counts from the moment its run is queued again, and keeps counting when the run is over and gone."""
    claim = builders.held(run_type="manual", now=None)
    set_back(claim)
    queued = value("retries", "QUERY_TIMEOUT")
    with transaction() as connection:
        connection.execute(update(models.runs).values(due_at=func.now()))
    [again] = builders.claimed(now=None)
    running = value("retries", "QUERY_TIMEOUT")
    builders.end(runs.complete, again, builders.published(), now=None)
    completed = value("retries", "QUERY_TIMEOUT")
    age()
    figures.count()
    prune()

    assert (1, 1, 1, 1) == (queued, running, completed, value("retries", "QUERY_TIMEOUT"))


def test_a_rescue_is_counted():
    """A run taken back from a lost worker is a rescue, and no retry of the worker's own."""
    builders.held(run_type="manual", now=None)
    with transaction() as connection:
        [abandoned] = runs.take_over(connection, limit=5, seconds=30, now=builders.NOON + timedelta(days=3650))
    set_back(abandoned, errors.WorkerLost)

    assert (1, 0) == (value("rescued"), value("retries", "WORKER_LOST"))


@pytest.mark.parametrize(
    ("seconds", "bound"), [(-5, "0.1"), (0, "0.1"), (0.1, "0.1"), (0.1001, "0.25"), (600, "600.0"), (601, "+Inf")]
)
def test_seconds_fall_into_their_bucket(seconds, bound):
    """A bound belongs to the bucket below it, as Prometheus has it."""
    over()
    with transaction() as connection:
        connection.execute(
            update(models.runs).values(started_at=models.runs.c.completed_at - timedelta(seconds=seconds))
        )
    found = read()

    assert [bound] == [key[2] for key, count in found.items() if key[:2] == ("run_seconds", "manual") and count]
    assert max(0, seconds) == pytest.approx(found["run_seconds_sum", "manual", ""])


def test_a_mail_that_turns_out_sent_takes_no_count_back():
    """Nobody knows of a mail for sure before it was counted, so that the figure never falls."""
    run_id = over()
    mail(run_id, "unknown")
    early = value("emails", "unknown")
    age()
    figures.count()
    counted = value("emails", "unknown")
    with transaction() as connection:
        connection.execute(update(models.ready_emails).values(status="sent", sent_at=func.now(), updated_at=func.now()))

    assert (0, 1, 1, 1) == (early, counted, value("emails", "unknown"), value("emails", "sent"))


def test_what_is_due_is_told_by_lane():
    """Each lane has its due runs and the age of the oldest; what is not due yet only waits."""
    audience_id = builders.saved()
    for minutes, lane in ((5, "manual"), (3, "manual"), (2, "daily"), (-9, "daily")):
        builders.queued(audience_id, lane=lane, due_at=builders.NOON - minutes * builders.MINUTE)
    found = read(builders.NOON)

    assert (2, 300, 1, 120, 0, 0) == tuple(
        found[name, lane, ""] for lane in ("manual", "daily", "announce") for name in ("due", "due_seconds")
    )
    assert (4, 0) == (found["under_way", "preview", "queued"], found["under_way", "preview", "running"])


def test_freshness_is_the_share_with_the_newest_day():
    """Of the audiences refreshed daily, those with a completed daily run of the newest ready date are fresh."""
    builders.ready(builders.MONDAY, builders.TUESDAY)
    active = [builders.saved(status="active") for _ in range(4)]
    builders.saved(status="paused")
    for audience_id, day in ((active[0], builders.TUESDAY), (active[1], builders.MONDAY)):
        claim = builders.held(audience_id, run_type="daily", lane="daily", data_date=day)
        builders.end(runs.complete, claim, builders.published())
    builders.queued(active[2], run_type="daily", lane="daily", data_date=builders.TUESDAY)
    found = read(builders.NOON)

    assert (4, 1, 0.25) == tuple(found[name, "", ""] for name in ("active", "fresh", "fresh_share"))
    assert 36 * 3600 == found["ready_seconds", "", ""]


def test_an_audience_is_late_two_hours_after_its_turn():
    """Late is who waits two hours for the newest day's run, queued or not; neither who is fresh, nor who waits for less."""
    builders.ready(builders.TUESDAY)
    of_the_day = {"run_type": "daily", "lane": "daily", "data_date": builders.TUESDAY}
    claim = builders.held(builders.saved(status="active"), **of_the_day)
    builders.end(runs.complete, claim, builders.published())
    for hours in (2, 1):
        then = builders.NOON - timedelta(hours=hours)
        builders.saved(status="active", due_now=True, now=then)
        builders.queued(builders.saved(status="active"), **of_the_day, created_at=then)
    found = read(builders.NOON)

    assert (5, 1, 2) == tuple(found[name, "", ""] for name in ("active", "fresh", "late"))
    assert 4 == read(builders.NOON + timedelta(hours=1))["late", "", ""]


def test_a_lane_is_as_old_as_its_youngest_worker():
    """Of several workers of a lane the one that looked for work last says how long nobody has."""
    with transaction() as connection:
        for name, seconds in (("daily@a", 90), ("daily@b", 7), ("daily@c", 300)):
            presence.seen(connection, name, "daily", now=builders.NOON - timedelta(seconds=seconds))
    found = read(builders.NOON)

    assert (7, float("inf")) == (found["silent_seconds", "daily", ""], found["silent_seconds", "manual", ""])


def test_every_tick_of_the_timetable_has_its_age():
    """The figures name the ticks that beat calls, and no other."""
    with transaction() as connection:
        connection.execute(text("INSERT INTO ticks SELECT 'ring', now() - interval '7 s'"))
    beat.app.finalize()
    timetable = {name.removeprefix("control.") for name in beat.app.conf.beat_schedule}

    assert timetable == {key[1] for key in read() if key[0] == "tick_seconds"} == set(TICKS)
    assert 7 == pytest.approx(value("tick_seconds", "ring"), abs=1)
