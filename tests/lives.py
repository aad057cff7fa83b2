"""
What always holds of runs, whoever does what to them in whatever order.

A walk through their lives keeps a few notes of its own and reads the rest from Postgres after every step.
"""

from collections import Counter
from datetime import date, timedelta
from uuid import UUID

import pytest
from builders import MONDAY, NOON, TUESDAY, WEDNESDAY, everything, ready, run_row, saved
from hypothesis.stateful import RuleBasedStateMachine, invariant
from sqlalchemy import select, text

from worker import backoff, errors, models, runs
from worker.database import transaction

POLICY = backoff.Policy(budget=2, deadline_seconds=3600)
LANE_MAX, SHARE = 3, 1
IN_FLIGHT, OVER = ("queued", "running"), ("completed", "failed", "cancelled")


class Lives(RuleBasedStateMachine):
    """The runs of three audiences of two organizations over three days; ``now`` only goes forward."""

    def __init__(self) -> None:
        super().__init__()
        with transaction() as connection:
            connection.execute(text("TRUNCATE audiences, data_dates CASCADE"))
        ready(MONDAY, TUESDAY, WEDNESDAY)
        self.audiences = [saved(organization_id=UUID(int=number)) for number in (1, 1, 2)]
        self.now = NOON
        self.holders = {}  # run -> the fence of whoever holds it
        self.fences = Counter()  # run -> how often it was claimed or taken over
        self.finished = {}  # run -> its row as it was when it ended

    @invariant()
    def nothing_is_doubled(self):
        """One manual run in flight a config and date; one daily run a date that neither failed nor was cancelled."""
        rows = self.rows()
        names = ("audience_id", "config_hash", "data_date")
        by_hand = [row for row in rows if row["run_type"] == "manual" and row["status"] in IN_FLIGHT]
        assert 1 >= max(Counter(tuple(row[name] for name in names) for row in by_hand).values(), default=0)
        days = [(row["audience_id"], row["data_date"]) for row in rows if self.stands(row)]
        assert len(set(days)) == len(days)

    @invariant()
    def fences_count_and_the_end_is_the_end(self):
        """A fence is the number of claims and rescues so far; a finished run never changes again."""
        for row in self.rows():
            assert self.fences[row["id"]] == row["fence"]
            assert (row["status"] == "running") == (row["id"] in self.holders)
            if row["status"] in OVER:
                assert self.finished.setdefault(row["id"], dict(row)) == dict(row)

    @invariant()
    def the_history_adds_up(self):
        """An attempt is open exactly while its run runs; attempts are claims less uncharged ends; budgets hold."""
        with transaction() as connection:
            history = connection.execute(select(models.run_attempts)).mappings().all()
        for row in self.rows():
            mine = [attempt for attempt in history if attempt["run_id"] == row["id"]]
            ends = Counter((attempt["outcome"], attempt["charged"]) for attempt in mine)
            uncharged = sum(ends[outcome, False] for outcome in ("retried", "failed", "released", "rescued"))
            assert (row["status"] == "running") == ends[None, False]
            assert (row["status"] == "completed") == ends["completed", False]
            assert len(mine) - uncharged == row["attempts"] <= POLICY.budget - (row["status"] == "queued")
            assert (
                row["failures"] == ends.total() - ends["released", False] - ends["completed", False] - ends[None, False]
            )

    @invariant()
    def deadlines_and_ceilings_hold(self):
        """No retry is set past the deadline, and no lane has more running than it may."""
        running = Counter()
        for row in self.rows():
            running[row["lane"]] += row["status"] == "running"
            if row["next_attempt_at"]:
                assert row["next_attempt_at"] <= row["first_claimed_at"] + timedelta(seconds=POLICY.deadline_seconds)
        assert LANE_MAX >= max(running.values(), default=0)

    def rows(self):
        """Read every run."""
        with transaction() as connection:
            return connection.execute(select(models.runs)).mappings().all()

    def daily_runs(self, audience_id: UUID, day: date):
        """List the daily runs that stand for an audience's day."""
        mine = [row for row in self.rows() if (row["audience_id"], row["data_date"]) == (audience_id, day)]
        return [row for row in mine if self.stands(row)]

    def stands(self, row) -> bool:
        """Whether this run is its audience's run of the day."""
        return row["run_type"] == "daily" and row["status"] not in ("failed", "cancelled")

    def told(self, token, *names):
        """Read some of a run's columns."""
        row = run_row(token.run_id)
        return tuple(row[name] for name in names)

    def superseded(self, token) -> bool:
        """Whether a newer day's run has taken the place of this one."""
        row = run_row(token.run_id)
        newer = [day for day in (TUESDAY, WEDNESDAY) if day > row["data_date"]]
        stands = any(self.daily_runs(row["audience_id"], day) for day in newer)
        return stands and ("cancelled", "SUPERSEDED") == (row["status"], row["error_code"])

    def hold(self, tokens) -> None:
        """Note who holds what from now on."""
        for token in tokens:
            self.fences[token.run_id] += 1
            self.holders[token.run_id] = token.fence

    def holds(self, token) -> bool:
        """Whether nobody has taken this run since, and it has not ended."""
        return self.holders.get(token.run_id) == token.fence

    def written(self, verb, token, *arguments):
        """Call a verb that ends a claim, and return its answer or True; who lost the claim is told, and changes nothing."""
        if self.holds(token):
            del self.holders[token.run_id]
            with transaction() as connection:
                return verb(connection, token, *arguments, now=self.now) or True
        untouched = everything()
        with pytest.raises(errors.ClaimLost), transaction() as connection:
            verb(connection, token, *arguments, now=self.now)
        assert untouched == everything()
        return None

    def set_back(self, token, error):
        """Fail an attempt, see that the run is told why, and return what came of it."""
        outcome = self.written(runs.set_back, token, error, POLICY)
        status, code, attempts = self.told(token, "status", "error_code", "attempts")
        if outcome == "retried":
            assert (status, code) == ("queued", error.code) or self.superseded(token)
        if outcome == "failed":
            spent = error.retry.charged and attempts >= POLICY.budget
            assert status == "failed"
            assert code == error.code if spent or error.retry == "permanent" else code == "DEADLINE_EXCEEDED"
        return outcome
