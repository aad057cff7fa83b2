"""
What follows a failed attempt: again, and when, or give up.

    =====================  =========  ======================================================================
    class                  charged    then
    =====================  =========  ======================================================================
    permanent              yes        give up, with its own code
    final                  no         give up, with its own code
    transient              yes        growing waits; give up, with its own code, once the budget is spent
    waiting                no         growing waits with a smaller cap: the data may come at any minute
    infrastructure,        no         5 to 15 seconds: the servers, not the run, are at fault, and whoever
    capacity                          claims next asks them first
    operator               no         every 5 minutes, until somebody mends the deployment
    =====================  =========  ======================================================================

A growing wait doubles from 15 s to its cap; half of it is random, so that runs that failed together do not come back
together. The first loss of a worker waits for nothing. Whatever the class, no retry is set past the deadline. With the
policy as it stands, a run that meets nothing but transient errors goes like this, in seconds:

    ========  ============  ========  ========  ==================
    failure   least wait    expected  most      expected, in all
    ========  ============  ========  ========  ==================
    1                  7.5      11.2        15                  11
    2                   15      22.5        30                  34
    3                   30      45.0        60                  79
    4                   60      90.0       120                 169
    5                  120     180.0       240                 349
    6                  240     360.0       480                 709
    7                  450     675.0       900                1384
    8              gives up
    ========  ============  ========  ========  ==================
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from worker.errors import AttemptError, DeadlineExceeded, Retry

# Doubling further changes nothing, and 2.0**1024 is no float any more.
_MOST_DOUBLINGS = 60


@dataclass(frozen=True, kw_only=True, slots=True)
class Policy:
    """
    How patient we are; seconds throughout.

    :param budget: charged attempts that a run may spend
    :param base_seconds: first growing wait, at most
    :param cap_seconds: longest growing wait after a transient error
    :param waiting_cap_seconds: longest growing wait for data
    :param busy_least_seconds: shortest wait for servers that are down or pressed
    :param busy_most_seconds: longest such wait
    :param operator_seconds: wait for a deployment to be mended
    :param deadline_seconds: time from the first claim within which the last retry must start
    """

    budget: int = 8
    base_seconds: float = 15.0
    cap_seconds: float = 900.0
    waiting_cap_seconds: float = 300.0
    busy_least_seconds: float = 5.0
    busy_most_seconds: float = 15.0
    operator_seconds: float = 300.0
    deadline_seconds: float = 12 * 3600.0


@dataclass(frozen=True, slots=True)
class Again:
    """The run goes back to queued, due at this moment."""

    due_at: datetime
    charged: bool


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The run fails, with this error's code and sentence."""

    error: type[AttemptError]
    charged: bool


def decide(
    error: AttemptError,
    *,
    failures: int,
    charged: int,
    first_claimed_at: datetime,
    now: datetime,
    chance: float,
    policy: Policy,
    first_loss: bool = False,
) -> Again | GiveUp:
    """
    Decide what follows a failed attempt.

    :param failures: failed attempts of any class since queueing, this one included
    :param charged: charged attempts, this one included if its class is charged
    :param first_claimed_at: when the run was first claimed; the deadline counts from there
    :param chance: random number in [0, 1)
    :param first_loss: whether this is the first worker that the run has lost; it waits for nothing
    """
    counts = error.retry.charged
    if _is_last(error, charged, policy):
        return GiveUp(type(error), counts)
    wait = 0.0 if first_loss else _wait(error, failures, chance, policy)
    due_at = now + timedelta(seconds=wait)
    if due_at > first_claimed_at + timedelta(seconds=policy.deadline_seconds):
        return GiveUp(DeadlineExceeded, counts)
    return Again(due_at, counts)


def _is_last(error: AttemptError, charged: int, policy: Policy) -> bool:
    spent = error.retry.charged and charged >= policy.budget
    return spent or error.retry in (Retry.PERMANENT, Retry.FINAL)


def _wait(error: AttemptError, failures: int, chance: float, policy: Policy) -> float:
    """Choose the seconds until the next attempt."""
    match error.retry:
        case Retry.INFRASTRUCTURE | Retry.CAPACITY:
            return policy.busy_least_seconds + chance * (policy.busy_most_seconds - policy.busy_least_seconds)
        case Retry.OPERATOR:
            return policy.operator_seconds
        case Retry.WAITING:
            return _growing(failures, chance, policy.base_seconds, policy.waiting_cap_seconds)
        case _:
            return _growing(failures, chance, policy.base_seconds, policy.cap_seconds)


def _growing(failures: int, chance: float, base: float, cap: float) -> float:
    most = min(cap, base * 2.0 ** min(failures - 1, _MOST_DOUBLINGS))
    return most / 2 + chance * most / 2
