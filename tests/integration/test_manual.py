"""What people ask for by hand: a run now, a pause, a deletion."""

from datetime import timedelta
from uuid import uuid4

import pytest
from builders import (
    MONDAY,
    NOON,
    TUESDAY,
    WEDNESDAY,
    ask,
    audience_row,
    change_config,
    claimed,
    complete,
    config,
    everything,
    published,
    queued,
    ready,
    run_row,
    runs_of,
    saved,
    together,
)

from worker import audiences, errors, runs
from worker.database import transaction


@pytest.fixture(autouse=True)
def _tables(tables):
    """Every test here begins with empty tables."""


@pytest.fixture
def audience_id():
    """An audience, with two ready days to read."""
    ready(MONDAY, TUESDAY)
    return saved()


def test_a_run_by_hand_reads_the_newest_ready_day(audience_id):
    """The run is queued in the manual lane with the audience's config frozen into it."""
    asked = ask(audience_id)

    row, audience = run_row(asked.run_id), audience_row(audience_id)
    assert asked.created
    assert ("queued", "manual", "manual", TUESDAY, NOON, 5) == tuple(
        row[name] for name in ("status", "run_type", "lane", "data_date", "due_at", "priority")
    )
    assert (audience["config"], audience["config_hash"]) == (row["config"], row["config_hash"])


def test_a_run_by_hand_may_name_its_day(audience_id):
    """An older ready day is read when it is asked for."""
    assert MONDAY == run_row(ask(audience_id, data_date=MONDAY).run_id)["data_date"]


@pytest.mark.parametrize("status", ["draft", "active", "paused"])
def test_every_audience_may_be_run_by_hand(status):
    """Manual runs are for draft, active and paused audiences alike."""
    ready(MONDAY)

    assert ask(saved(status=status)).created


@pytest.mark.parametrize(
    ("days", "wanted"), [((), None), ((MONDAY,), TUESDAY), ((WEDNESDAY + timedelta(days=1),), None)]
)
def test_a_day_that_is_not_ready_is_refused(days, wanted):
    """No ready day, another day, or one that lies in the future: nothing is stored and no key is used up."""
    ready(*days) if days else None
    audience_id = saved()
    untouched = everything()

    with pytest.raises(errors.DataNotReady):
        ask(audience_id, data_date=wanted, key="k")

    assert untouched == everything()


def test_an_unknown_audience_is_not_there():
    """Neither a made-up id nor another organization's audience is found."""
    ready(MONDAY)
    audience_id = saved()

    with pytest.raises(errors.NotFound):
        ask(uuid4())
    with pytest.raises(errors.NotFound):
        ask(audience_id, organization_id=uuid4())
    assert [] == runs_of(audience_id)


def test_a_run_in_flight_is_returned(audience_id):
    """The same config and date, queued or running, answer with the run that is there."""
    first = ask(audience_id)
    second = ask(audience_id)
    claimed()
    third = ask(audience_id)

    assert [(first.run_id, False)] * 2 == [(it.run_id, it.created) for it in (second, third)]


def test_a_finished_run_is_in_nobody_s_way(audience_id):
    """After completion the next request without a key queues a new run."""
    first = ask(audience_id)
    complete(first.run_id)

    assert ask(audience_id).created


def test_another_config_is_another_run(audience_id):
    """A changed definition does not answer with the run of the former one, which keeps its own."""
    first = ask(audience_id)
    change_config(audience_id)
    second = ask(audience_id)

    assert second.created
    assert [config(1).hash, config(2).hash] == [run_row(it.run_id)["config_hash"] for it in (first, second)]


def test_another_day_is_another_run(audience_id):
    """Each data date has its own run in flight."""
    assert [True, True] == [ask(audience_id, data_date=day).created for day in (MONDAY, TUESDAY)]


def test_a_daily_run_that_waits_moves_to_the_manual_lane(audience_id):
    """Whoever asks for what the daily run will do gets that run, sooner."""
    run_id = queued(audience_id, run_type="daily", lane="daily", data_date=TUESDAY)

    asked = ask(audience_id)

    row = run_row(run_id)
    assert (run_id, False) == (asked.run_id, asked.created)
    assert ("manual", "daily") == (row["lane"], row["run_type"])


def test_a_daily_run_under_way_answers(audience_id):
    """A running daily run is returned and stays where it is."""
    run_id = queued(audience_id, run_type="daily", lane="daily", data_date=TUESDAY)
    claimed(lane="daily")

    assert run_id == ask(audience_id).run_id
    assert ("daily", "running") == tuple(run_row(run_id)[name] for name in ("lane", "status"))


def test_a_preview_answers_nobody(audience_id):
    """A preview stores a part only, so it is no answer to a request for a run."""
    queued(audience_id, data_date=TUESDAY)

    assert ask(audience_id).created


def test_asking_while_the_run_completes_ends_well(audience_id):
    """A request holds the audience while a completion holds the run and wants the audience: neither fails."""
    run_id = ask(audience_id).run_id
    [claim] = claimed()

    def act(engine, number):
        if number:
            return ask(audience_id).run_id
        with transaction() as connection:
            runs.complete(connection, claim, published(), now=NOON)
            audiences.refreshed(connection, run_id, now=NOON)
            return run_id

    found = together(2, act)

    assert run_id == found[0]
    assert "completed" == run_row(run_id)["status"]


def test_a_request_does_not_wait_for_a_completion(audience_id):
    """While a completion that holds the run is still open, a request for the same run is answered at once."""
    run_id = ask(audience_id).run_id
    [claim] = claimed()

    with transaction() as completing:
        runs.complete(completing, claim, published(), now=NOON)
        asked = ask(audience_id)
        audiences.refreshed(completing, run_id, now=NOON)

    assert (run_id, False) == (asked.run_id, asked.created)
