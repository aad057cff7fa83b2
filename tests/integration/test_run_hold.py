"""Holding a claimed run: what is recorded, and a lease that is renewed."""

from uuid import uuid4

import pytest
from builders import (
    MINUTE,
    NOON,
    attempts,
    held,
    run_row,
)

from worker import runs
from worker.database import transaction


@pytest.fixture(autouse=True)
def _tables(tables):
    """Every test here begins with empty tables."""


def test_what_is_about_to_be_sent_is_recorded():
    """The attempt names the query ids, the snapshot key and all versions before anything is sent."""
    claim, snapshot_key = held(), uuid4()

    with transaction() as connection:
        ours = runs.record(
            connection, claim, strategy="s", query_ids=["a", "b"], snapshot_key=snapshot_key, versions=(3, 4, 5)
        )

    [attempt] = attempts(claim.run_id)
    told = ("strategy", "query_ids", "snapshot_key", "data_version", "people_version", "plan_version")
    assert ours
    assert ("s", ["a", "b"], snapshot_key, 3, 4, 5) == tuple(attempt[name] for name in told)


def test_a_renewal_extends_the_lease():
    """A renewal counts the lease from its own moment."""
    claim = held()

    with transaction() as connection:
        renewed = runs.renew(connection, claim, seconds=60, now=NOON + MINUTE)

    assert renewed
    assert NOON + 2 * MINUTE == run_row(claim.run_id)["lease_expires_at"]
