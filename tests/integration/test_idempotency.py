"""The same request twice: keys name their runs for ever, and requests in flight share one run."""

import pytest
from builders import (
    MONDAY,
    TUESDAY,
    ask,
    change_config,
    complete,
    everything,
    ready,
    run_row,
    runs_of,
    saved,
    together,
)
from sqlalchemy import text

from worker import errors
from worker.database import transaction


@pytest.fixture(autouse=True)
def _tables(tables):
    """Every test here begins with empty tables."""


@pytest.fixture
def audience_id():
    """An audience, with two ready days to read."""
    ready(MONDAY, TUESDAY)
    return saved()


def test_a_key_that_was_refused_may_be_used():
    """Once the data is there the same key queues a run."""
    audience_id = saved()
    with pytest.raises(errors.DataNotReady):
        ask(audience_id, key="k")
    ready(MONDAY)

    assert ask(audience_id, key="k").created


@pytest.mark.parametrize("key", ["", "k" * 121, "clé", "a\nb", "a\x00b"])
def test_a_key_that_cannot_be_one_is_refused(audience_id, key):
    """Keys are 1 to 120 printable ASCII characters."""
    untouched = everything()

    with pytest.raises(errors.Refusal, match="Idempotency-Key"):
        ask(audience_id, key=key)

    assert untouched == everything()


def test_the_longest_key_is_kept(audience_id):
    """A key of 120 characters answers like any other, and the run shows the key that created it."""
    first = ask(audience_id, key="k" * 120)

    assert "k" * 120 == run_row(first.run_id)["idempotency_key"]
    assert (first.run_id, False) == (ask(audience_id, key="k" * 120).run_id, ask(audience_id, key="k" * 120).created)


def test_a_key_names_its_run_for_ever(audience_id):
    """Whatever became of the run, of the definition and of the data, the key answers with the run it once named."""
    first = ask(audience_id, key="k")
    complete(first.run_id)
    change_config(audience_id)
    with transaction() as connection:
        connection.execute(text("DELETE FROM data_dates"))

    again = ask(audience_id, key="k")

    assert (first.run_id, False) == (again.run_id, again.created)


def test_a_key_answered_with_an_existing_run_names_it_for_ever(audience_id):
    """A second key that met a run in flight still names it after its end, although the first key created it."""
    first = ask(audience_id, key="one")
    ask(audience_id, key="two")
    complete(first.run_id)

    again = ask(audience_id, key="two")

    assert (first.run_id, False) == (again.run_id, again.created)
    assert "one" == run_row(first.run_id)["idempotency_key"]


def test_a_key_belongs_to_its_audience(audience_id):
    """The same key for another audience names another run."""
    assert [True, True] == [ask(it, key="k").created for it in (audience_id, saved())]


@pytest.mark.parametrize("key", ["k", None])
def test_twenty_requests_at_once_give_one_run(audience_id, key):
    """Twenty threads ask at the same moment, with the same key or none, and one run answers them all."""
    asked = together(20, lambda engine, number: ask(audience_id, key=key))

    assert 1 == len({it.run_id for it in asked})
    assert 1 == sum(it.created for it in asked)
    assert 1 == len(runs_of(audience_id))


def test_twenty_keys_at_once_all_name_one_run(audience_id):
    """Requests with keys of their own stand in line too, and each key is kept."""
    asked = together(20, lambda engine, number: ask(audience_id, key=f"k{number}"))

    assert 1 == len({it.run_id for it in asked})
    assert {asked[0].run_id} == {ask(audience_id, key=f"k{number}").run_id for number in range(20)}
