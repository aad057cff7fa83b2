"""Which workers are alive, and when each tick last passed."""

from datetime import timedelta
from importlib.metadata import version

import pytest
from builders import MINUTE, NOON, together
from sqlalchemy import select

from worker import models, presence, ticked
from worker.database import transaction

SECOND = timedelta(seconds=1)


@pytest.fixture(autouse=True)
def _tables(tables):
    """Every test here begins with empty tables."""


def seen(name, *, lane="daily", now=NOON):
    """Note that a worker looked for work."""
    with transaction() as connection:
        presence.seen(connection, name, lane, now=now)


def alive(within_seconds=60, now=NOON):
    """List the workers that looked for work lately, with their lanes."""
    with transaction() as connection:
        rows = presence.alive(connection, within_seconds=within_seconds, now=now)
    return [(row["name"], row["lane"], row["last_claim_at"]) for row in rows]


def take(*, now=NOON, name="ring"):
    """Ask for a tick's turn; its period is ten seconds."""
    with transaction() as connection:
        return ticked.take(connection, name, period_seconds=10, now=now)


def test_a_worker_that_looked_for_work_is_alive():
    """Workers are listed by lane and name, with the moment they last looked."""
    seen("b")
    seen("a")
    seen("m", lane="manual")

    assert [("a", "daily", NOON), ("b", "daily", NOON), ("m", "manual", NOON)] == alive()


def test_a_worker_that_looked_long_ago_is_not():
    """A minute and a second later nobody counts on it."""
    seen("a")

    assert 1 == len(alive(now=NOON + MINUTE))
    assert [] == alive(now=NOON + MINUTE + SECOND)


def test_looking_again_moves_one_row():
    """The same name is one worker, in whichever lane it looked last, and its version is the installed one."""
    seen("a")
    with transaction() as connection:
        connection.execute(models.workers.update().values(version="0"))
    seen("a", lane="manual", now=NOON + MINUTE)

    with transaction() as connection:
        assert version("audience-worker") == connection.scalar(select(models.workers.c.version))
    assert [("a", "manual", NOON + MINUTE)] == alive(now=NOON + MINUTE)


def test_workers_may_look_at_the_same_moment():
    """Sessions that note the same name at once do not fail."""

    def act(engine, number):
        with engine.begin() as connection:
            presence.seen(connection, "a", "daily", now=NOON)

    together(8, act)

    assert 1 == len(alive())


def test_the_first_tick_has_its_turn():
    """Nobody has passed yet."""
    assert take()


def test_a_tick_within_half_a_period_has_no_turn():
    """Somebody else has just done the work; the pass that had it stays noted."""
    take()

    assert not take(now=NOON + 4 * SECOND)
    assert take(now=NOON + 5 * SECOND)


def test_ticks_do_not_stand_in_each_other_s_way():
    """Each name has turns of its own."""
    take()

    assert take(name="rescue")


def test_of_doubled_beats_one_has_the_turn():
    """Eight ticks at the same moment do the work once, first or later."""

    def act(engine, number, now):
        with engine.begin() as connection:
            return ticked.take(connection, "ring", period_seconds=10, now=now)

    first = together(8, lambda engine, number: act(engine, number, NOON))
    later = together(8, lambda engine, number: act(engine, number, NOON + MINUTE))

    assert [1, 1] == [sum(first), sum(later)]


def test_by_the_database_s_own_clock_a_tick_has_its_turn_once():
    """Production passes no time, and the second of two ticks in a row returns at once."""
    assert [True, False] == [take(now=None), take(now=None)]


def test_a_clock_that_was_set_back_stops_no_tick():
    """A pass noted far ahead of now does not hold up the next for as long."""
    take(now=NOON + 60 * MINUTE)

    assert take()


def test_ages_are_counted_from_the_last_pass():
    """Each tick that ever passed is told in seconds."""
    take()
    take(name="rescue", now=NOON + 2 * SECOND)

    with transaction() as connection:
        assert {"ring": 3.0, "rescue": 1.0} == ticked.ages(connection, now=NOON + 3 * SECOND)
