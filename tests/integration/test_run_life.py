"""
The lives of runs, walked through at random by workers, rescuers and people, some of them too late.

Hypothesis chooses the steps; after each, whatever must always hold is read from Postgres. The same walks in every
run of the tests; RUN_LIVES=2000 takes that many new ones.
"""

import os
from collections import Counter
from datetime import timedelta
from uuid import uuid4

import pytest
from builders import (
    MINUTE,
    MONDAY,
    TUESDAY,
    WEDNESDAY,
    attempts,
    audience_row,
    change_config,
    everything,
    published,
    run_row,
)
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)
from lives import IN_FLIGHT, LANE_MAX, SHARE, Lives
from sqlalchemy import text

from worker import errors, manual, runs
from worker.database import transaction

WALKS = int(os.environ.get("RUN_LIVES", "0"))
GONE_WRONG = (
    errors.ClickHouseUnavailable,
    errors.ClickHouseMisconfigured,
    errors.ConfigRefused,
    errors.DataChanged,
    errors.QueryTimeout,
)

AUDIENCES = st.integers(0, 2)
DAYS = st.sampled_from((MONDAY, TUESDAY, WEDNESDAY))
LANES = st.sampled_from(("daily", "manual"))


class RunLife(Lives):
    """Workers, rescuers and people, each of whom may be too late."""

    claims = Bundle("claims")
    rescues = Bundle("rescues")

    def __init__(self) -> None:
        super().__init__()
        self.keys = {}  # (audience, idempotency key) -> the run that answers for ever
        self.a_day_is_queued({0, 1, 2}, MONDAY)

    @rule(which=AUDIENCES)
    def a_definition_changes(self, which):
        """What is queued keeps its frozen config."""
        change_config(self.audiences[which])

    @rule(which=AUDIENCES, day=DAYS, key=st.sampled_from((None, "a", "b")), lane=LANES)
    def somebody_asks(self, which, day, key, lane):
        """A key answers as it did before; everybody else gets a run that is in flight, of the present config."""
        audience_id = self.audiences[which]

        queued = manual.queue(audience_id, data_date=day, key=key, lane=lane, now=self.now)

        known = self.keys.get((audience_id, key))
        if known:
            assert (known, False) == (queued.run_id, queued.created)
            return
        if key:
            self.keys[audience_id, key] = queued.run_id
        row = run_row(queued.run_id)
        assert (day, audience_row(audience_id)["config_hash"]) == (row["data_date"], row["config_hash"])
        assert row["status"] in IN_FLIGHT

    @rule(which=st.sets(AUDIENCES, min_size=1), day=DAYS)
    def a_day_is_queued(self, which, day):
        """As many runs are born as audiences have none of that day; older ones that wait give way."""
        ids = [self.audiences[number] for number in which]
        without = [it for it in ids if not self.daily_runs(it, day)]
        with transaction() as connection:
            assert len(without) == runs.queue_daily(connection, ids, day, now=self.now)

        waiting = [row for it in ids for row in self.rows() if row["audience_id"] == it and row["status"] == "queued"]
        assert [] == [row for row in waiting if row["run_type"] == "daily" and row["data_date"] < day]

    @rule(target=claims, lane=LANES, wanted=st.integers(1, 3), after=st.sampled_from((0, 20, 400)))
    def a_worker_claims(self, lane, wanted, after):
        """A claim leaves no place empty, passes no ceiling, and takes each organization's longest due."""
        self.now += timedelta(seconds=after)
        before = [row for row in self.rows() if row["lane"] == lane]
        due = [row for row in before if row["status"] == "queued" and row["due_at"] <= self.now]
        busy = Counter(row["organization_id"] for row in before if row["status"] == "running")
        with transaction() as connection:
            connection.execute(text("SELECT setseed(0.5)"))  # chance decides among the equally busy
            ceilings = {"lease_seconds": 60, "lane_max": LANE_MAX, "organization_max": SHARE}
            claims = runs.claim(connection, lane, "w1", wanted=wanted, **ceilings, now=self.now)

        room = min(wanted, LANE_MAX - busy.total(), len(due))
        assert min(1, room) <= len(claims) <= room
        check_turns(claims, due, busy)
        self.hold(claims)
        return multiple(*claims)

    @precondition(lambda self: self.holders)
    @rule(target=rescues, limit=st.integers(1, 3), after=st.sampled_from((0, 61, 2000)))
    def a_rescuer_passes(self, limit, after):
        """It takes over what nobody has renewed, and nothing else."""
        self.now += timedelta(seconds=after)
        over = [row["id"] for row in self.rows() if row["status"] == "running" and row["lease_expires_at"] < self.now]
        with transaction() as connection:
            abandoned = runs.take_over(connection, limit=limit, seconds=60, now=self.now)

        assert min(limit, len(over)) == len(abandoned)
        assert {lost.run_id for lost in abandoned} <= set(over)
        self.hold(abandoned)
        return multiple(*abandoned)

    @rule(claim=claims)
    def a_worker_renews(self, claim):
        """The lease is extended for its holder, and for nobody else."""
        untouched = None if self.holds(claim) else everything()
        with transaction() as connection:
            assert self.holds(claim) == runs.renew(connection, claim, seconds=60, now=self.now)

        assert untouched in (None, everything())
        assert untouched or self.now + MINUTE == run_row(claim.run_id)["lease_expires_at"]

    @rule(claim=claims)
    def a_worker_records(self, claim):
        """What is about to be sent is written down for the holder, and for nobody else."""
        untouched = None if self.holds(claim) else everything()
        sent = {"strategy": "s", "query_ids": [claim.query_id("write")], "snapshot_key": uuid4(), "versions": (1, 1, 1)}
        with transaction() as connection:
            assert self.holds(claim) == runs.record(connection, claim, **sent)

        assert untouched in (None, everything())

    @rule(claim=claims)
    def a_worker_completes(self, claim):
        """Only its holder completes a run."""
        shown = published()
        if self.written(runs.complete, claim, shown):
            assert ("completed", shown.snapshot_key) == self.told(claim, "status", "snapshot_key")

    @rule(claim=claims)
    def a_worker_leaves(self, claim):
        """A released run is due at once and not counted, unless a newer day's run stands in its place."""
        if self.written(runs.release, claim):
            given_back = ("queued", claim.attempts - 1, claim.failures, self.now)
            told = self.told(claim, "status", "attempts", "failures", "due_at")
            assert told == given_back or self.superseded(claim)

    @rule(claim=claims, error=st.sampled_from(GONE_WRONG))
    def an_attempt_fails(self, claim, error):
        """The run goes back with its code, or is given up where its class, budget or deadline say so."""
        self.set_back(claim, error())

    @rule(lost=rescues)
    def a_rescuer_gives_back(self, lost):
        """The first loss waits for nothing."""
        first = "WORKER_LOST" not in [attempt["error_code"] for attempt in attempts(lost.run_id)]
        if self.set_back(lost, errors.WorkerLost()) == "retried" and first and not self.superseded(lost):
            assert (self.now,) == self.told(lost, "due_at")

    @precondition(lambda self: len(self.rows()) > 6)
    @rule(number=st.integers(0, 30))
    def somebody_cancels(self, number):
        """A queued run is cancelled; any other is refused by the name of its state."""
        rows = sorted(self.rows(), key=lambda row: (row["created_at"], row["audience_id"], row["data_date"]))
        if not rows:
            return
        row = rows[number % len(rows)]
        refusal = None
        try:
            with transaction() as connection:
                runs.cancel(connection, row["organization_id"], row["id"], now=self.now)
        except errors.NotAllowed as refused:
            refusal = refused.code

        became = "cancelled" if row["status"] == "queued" else row["status"]
        assert became == run_row(row["id"])["status"]
        assert refusal == (None if row["status"] == "queued" else f"RUN_ALREADY_{row['status'].upper()}")

    @precondition(lambda self: len(self.rows()) > 6)
    @rule(which=AUDIENCES, run_types=st.sampled_from((("daily",), ("daily", "manual"))))
    def an_audience_goes(self, which, run_types):
        """Pausing or deleting cancels what waits, and leaves alone what is under way."""
        audience_id = self.audiences[which]
        with transaction() as connection:
            runs.cancel_queued(connection, audience_id, run_types=run_types, now=self.now)

        left = [row for row in self.rows() if row["audience_id"] == audience_id and row["run_type"] in run_types]
        assert "queued" not in [row["status"] for row in left]


def check_turns(claims, due, busy) -> None:
    """Nobody passes its share while another organization below its own waits, and the longest due goes first."""
    mine = {claim.run_id for claim in claims}
    for organization_id, taken in Counter(claim.organization_id for claim in claims).items():
        others = {row["organization_id"] for row in due} - {organization_id}
        assert busy[organization_id] + taken <= SHARE or all(busy[other] >= SHARE for other in others)
        ours = [row for row in due if row["organization_id"] == organization_id]
        last = max(row["due_at"] for row in ours if row["id"] in mine)
        assert all(last <= row["due_at"] for row in ours if row["id"] not in mine)


@pytest.mark.timeout(0 if WALKS else 300)
def test_whatever_happens_to_runs_the_rules_hold(tables):
    """Queued, claimed, renewed, lost, rescued, set back, cancelled and completed in any order, no rule is broken."""
    few = settings(max_examples=40, derandomize=True, database=None)
    many = settings(max_examples=WALKS or 1, print_blob=True)
    every = {"deadline": None, "stateful_step_count": 40, "suppress_health_check": list(HealthCheck)}

    run_state_machine_as_test(RunLife, settings=settings(many if WALKS else few, **every))
