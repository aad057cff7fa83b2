"""What follows a failed attempt."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker import backoff, errors
from worker.backoff import Again, GiveUp, Policy

NOW = datetime(2026, 3, 1, 6, 0, tzinfo=UTC)
POLICY = Policy()
DEADLINE = timedelta(seconds=POLICY.deadline_seconds)

LEAVES = sorted(errors.AttemptError.__subclasses__(), key=lambda leaf: leaf.code)
# A busy machine is no finding.
UNTIMED = settings(deadline=None)
CHANCES = st.floats(min_value=0, max_value=1, exclude_max=True)


def decide(
    error: type[errors.AttemptError],
    *,
    failures: int = 1,
    charged: int = 1,
    claimed_ago: timedelta = timedelta(0),
    chance: float = 0.5,
    policy: Policy = POLICY,
    first_loss: bool = False,
) -> Again | GiveUp:
    return backoff.decide(
        error(),
        failures=failures,
        charged=charged,
        first_claimed_at=NOW - claimed_ago,
        now=NOW,
        chance=chance,
        policy=policy,
        first_loss=first_loss,
    )


def in_seconds(seconds: float, *, charged: bool) -> Again:
    return Again(NOW + timedelta(seconds=seconds), charged)


@pytest.mark.parametrize(
    ("error", "failures", "chance", "seconds", "charged"),
    [
        (errors.QueryTimeout, 1, 0.0, 7.5, True),
        (errors.QueryTimeout, 1, 0.5, 11.25, True),
        (errors.QueryMemoryLimit, 2, 0.0, 15, True),
        (errors.QueryCancelled, 6, 0.0, 240, True),
        (errors.SnapshotMismatch, 7, 0.0, 450, True),
        (errors.InternalError, 5_000, 0.0, 450, True),
        (errors.WorkerLost, 1, 0.0, 7.5, True),
        (errors.WorkerLost, 2, 0.0, 15, True),
        (errors.DataMissing, 1, 0.0, 7.5, False),
        (errors.DataChanged, 5, 0.0, 120, False),
        (errors.DataMissing, 5_000, 0.0, 150, False),
        (errors.ClickHouseUnavailable, 1, 0.0, 5, False),
        (errors.ClickHouseUnavailable, 5_000, 0.5, 10, False),
        (errors.ClickHouseOverloaded, 3, 0.5, 10, False),
        (errors.ClickHouseMisconfigured, 1, 0.9, 300, False),
        (errors.ClickHouseMisconfigured, 100, 0.0, 300, False),
    ],
)
def test_a_run_is_tried_again_after_its_class_s_wait(
    error: type[errors.AttemptError], failures: int, chance: float, seconds: float, *, charged: bool
) -> None:
    """The class chooses the wait, the failures of any class make it grow, chance varies half of it."""
    expected = in_seconds(seconds, charged=charged)

    assert expected == decide(error, failures=failures, chance=chance)


@pytest.mark.parametrize("failures", [1, 20])
def test_the_first_lost_worker_is_waited_for_by_nobody(failures: int) -> None:
    """However often the run failed for other reasons before."""
    assert in_seconds(0, charged=True) == decide(errors.WorkerLost, failures=failures, first_loss=True)


@pytest.mark.parametrize(
    ("error", "charged", "expected"),
    [
        (errors.ConfigRefused, 1, GiveUp(errors.ConfigRefused, charged=True)),
        (errors.Superseded, 0, GiveUp(errors.Superseded, charged=False)),
        (errors.DeadlineExceeded, 0, GiveUp(errors.DeadlineExceeded, charged=False)),
        (errors.QueryTimeout, 8, GiveUp(errors.QueryTimeout, charged=True)),
        (errors.InternalError, 9, GiveUp(errors.InternalError, charged=True)),
    ],
)
def test_a_run_fails_with_its_own_code(error: type[errors.AttemptError], charged: int, expected: GiveUp) -> None:
    """Permanent and final errors fail at once, transient ones once the budget is spent."""
    assert expected == decide(error, charged=charged)


def test_the_budget_is_spent_by_the_eighth_charged_attempt_and_no_earlier() -> None:
    """Seven charged attempts leave one more."""
    endings = [isinstance(decide(errors.QueryTimeout, failures=n, charged=n), GiveUp) for n in range(1, 9)]

    assert [False] * 7 + [True] == endings


def test_a_spent_budget_does_not_end_a_run_whose_attempt_was_not_charged() -> None:
    """A server that is down costs nothing, whatever was spent before."""
    expected = in_seconds(10, charged=False)

    assert expected == decide(errors.ClickHouseUnavailable, failures=40, charged=8)


def test_the_first_loss_of_a_worker_is_still_bound_by_a_budget_of_one() -> None:
    """At once does not mean for nothing."""
    expected = GiveUp(errors.WorkerLost, charged=True)

    assert expected == decide(errors.WorkerLost, policy=Policy(budget=1))


@pytest.mark.parametrize(
    ("error", "charged"), [(errors.QueryTimeout, True), (errors.DataMissing, False), (errors.WorkerLost, True)]
)
def test_a_retry_past_the_deadline_is_none(error: type[errors.AttemptError], *, charged: bool) -> None:
    """The run fails for the deadline, and the attempt counts as its own class says."""
    expected = GiveUp(errors.DeadlineExceeded, charged)

    assert expected == decide(error, claimed_ago=DEADLINE + timedelta(microseconds=1))


def test_a_retry_on_the_deadline_is_one() -> None:
    """The deadline itself still belongs to the run."""
    expected = in_seconds(300, charged=False)

    assert expected == decide(errors.ClickHouseMisconfigured, claimed_ago=DEADLINE - timedelta(seconds=300))


@UNTIMED
@given(
    error=st.sampled_from(LEAVES),
    failures=st.integers(min_value=1, max_value=100_000),
    charged=st.integers(min_value=0, max_value=20),
    ago=st.timedeltas(min_value=timedelta(0), max_value=timedelta(hours=15)),
    chance=CHANCES,
)
def test_a_retry_lies_neither_in_the_past_nor_past_the_deadline(
    error: type[errors.AttemptError], failures: int, charged: int, ago: timedelta, chance: float
) -> None:
    """Whatever failed, however often: now <= due <= deadline, and charged as the class says."""
    verdict = decide(error, failures=failures, charged=charged, claimed_ago=ago, chance=chance)

    assert error.retry.charged == verdict.charged
    if isinstance(verdict, Again):
        assert NOW <= verdict.due_at <= NOW - ago + DEADLINE


@UNTIMED
@given(error=st.sampled_from([errors.QueryTimeout, errors.DataMissing]), failures=st.integers(1, 5_000), chance=CHANCES)
def test_a_growing_wait_never_shrinks_and_keeps_its_cap(
    error: type[errors.AttemptError], failures: int, chance: float
) -> None:
    """For the same chance, one more failure never means a shorter wait."""
    sooner, later = (decide(error, failures=n, charged=1, chance=chance) for n in (failures, failures + 1))
    cap = POLICY.cap_seconds if error.retry is errors.Retry.TRANSIENT else POLICY.waiting_cap_seconds

    assert isinstance(sooner, Again)
    assert isinstance(later, Again)
    assert sooner.due_at <= later.due_at <= NOW + timedelta(seconds=cap)


@UNTIMED
@given(
    fate=st.lists(st.tuples(st.sampled_from(LEAVES), CHANCES), min_size=1),
    budget=st.integers(min_value=1, max_value=12),
)
def test_every_run_ends(fate: list[tuple[type[errors.AttemptError], float]], budget: int) -> None:
    """Failing for ever, in any order, a run ends: within its deadline, and with its budget kept."""
    policy = Policy(budget=budget)
    now, failures, charged = NOW, 0, 0
    while True:
        error, chance = fate[failures % len(fate)]
        failures += 1
        charged += error.retry.charged
        verdict = backoff.decide(
            error(), failures=failures, charged=charged, first_claimed_at=NOW, now=now, chance=chance, policy=policy
        )
        if isinstance(verdict, GiveUp):
            break
        now = verdict.due_at

    assert charged <= budget
    assert now <= NOW + DEADLINE


def timetable() -> list[list[str]]:
    """The docstring's rows, computed."""
    rows, total = [], 0.0
    for failure in range(1, POLICY.budget):
        verdicts = [decide(errors.QueryTimeout, failures=failure, charged=failure, chance=c) for c in (0.0, 0.5, 1.0)]
        waits = [(verdict.due_at - NOW).total_seconds() for verdict in verdicts if isinstance(verdict, Again)]
        total += waits[1]
        rows.append([f"{failure}", f"{waits[0]:g}", f"{waits[1]:.1f}", f"{waits[2]:g}", f"{total:.0f}"])
    return [*rows, [f"{POLICY.budget}", "gives", "up"]]


def test_the_timetable_in_the_docstring_is_what_happens() -> None:
    """Least, expected and longest wait of every failure, and the expected time in all."""
    lines = [line.split() for line in (backoff.__doc__ or "").splitlines()]
    printed = [words for words in lines if words and words[0].isdigit()]

    assert timetable() == printed
