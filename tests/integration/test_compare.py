"""Which run a completed one is compared with, and when its count is an anomaly: Postgres alone decides."""

from datetime import timedelta

import pytest
from beside import ended
from builders import MINUTE, MONDAY, NOON, TUESDAY, WEDNESDAY, change_config, run_row, saved
from sqlalchemy import update

from worker import models, runs
from worker.database import transaction
from worker.errors import NotAllowed, RunNotFound


@pytest.fixture(autouse=True)
def _tables(tables):
    """Every test here begins with empty tables."""


def counted(audience_id, people, **values):
    """Complete a run of so many people, of Monday unless told otherwise."""
    return ended(audience_id, None, range(people), **{"data_date": MONDAY, **values})


def change(run_id, **values):
    """Change a run behind everybody's back."""
    with transaction() as connection:
        connection.execute(update(models.runs).where(models.runs.c.id == run_id).values(**values))


def noted(run_id):
    """What completion has noted of the comparison."""
    row = run_row(run_id)
    return row["compared_with"], row["anomaly"], row["held"]


def test_the_newest_earlier_run_of_the_same_config_is_compared_with():
    """Neither a preview, nor another audience's or another config's run, nor a later day's, nor one that has expired."""
    audience_id = saved()
    manual = {"run_type": "manual", "lane": "manual"}
    first = counted(audience_id, 7)
    second = counted(audience_id, 7, **manual, created_at=NOON + MINUTE)
    counted(audience_id, 7, data_date=WEDNESDAY)
    counted(saved(), 7)
    counted(audience_id, 7, run_type="preview", lane="manual", created_at=NOON + 2 * MINUTE)
    expired = counted(audience_id, 7, **manual, created_at=NOON + 3 * MINUTE)
    change(expired, results_expire_at=NOON - timedelta(days=1))
    tuesday = counted(audience_id, 7, data_date=TUESDAY)
    change_config(audience_id)
    other = counted(audience_id, 7, **manual, data_date=TUESDAY)

    assert [None, first, second, None] == [noted(run_id)[0] for run_id in (first, second, tuesday, other)]


@pytest.mark.parametrize(
    ("before", "after", "anomaly"),
    [
        (20, 0, "fell_to_zero"),
        (19, 0, None),
        (0, 0, None),
        (20, 2, "dropped"),
        (20, 3, None),
        (19, 1, None),
        (2, 20, "jumped"),
        (3, 29, None),
        (1, 19, None),
        (0, 20, "jumped"),
        (0, 19, None),
    ],
)
def test_an_anomaly_falls_to_zero_or_jumps_tenfold(before, after, anomaly):
    """In either direction, and only where one of the two results has twenty people."""
    audience_id = saved()
    earlier = counted(audience_id, before)

    run_id = counted(audience_id, after, data_date=TUESDAY)

    assert (earlier, anomaly, False) == noted(run_id)


def test_what_is_held_back_is_nobody_s_measure_until_it_is_published():
    """A held run is passed over by the next one, which is what it was before; a published one is compared with."""
    audience_id = saved()
    first = counted(audience_id, 50)
    fallen = counted(audience_id, 0, data_date=TUESDAY, hold=True)
    recovered = counted(audience_id, 50, data_date=WEDNESDAY, hold=True)
    with transaction() as connection:
        runs.publish(connection, fallen)
    again = counted(audience_id, 50, run_type="manual", lane="manual", data_date=TUESDAY, created_at=NOON + MINUTE)

    assert (first, "fell_to_zero", False) == noted(fallen)
    assert (first, None, False) == noted(recovered)
    assert (fallen, "jumped", False) == noted(again)


def test_only_what_is_held_back_can_be_published():
    """A run that is not, and one that is not there, are refused."""
    run_id, nothing = counted(saved(), 5), saved()

    with pytest.raises(NotAllowed) as refusal, transaction() as connection:
        runs.publish(connection, run_id)
    assert "RUN_NOT_HELD" == refusal.value.code
    with pytest.raises(RunNotFound), transaction() as connection:
        runs.publish(connection, nothing)
