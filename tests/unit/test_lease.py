"""The heartbeat: a claim is renewed, or known to be lost in time, and its thread always ends."""

import threading
import time
from contextlib import contextmanager

import pytest

from worker import lease
from worker.errors import ClaimLost, WorkerLeaving

LEASE = 0.6
MARGIN = 0.1
SOON = 10


class Renewals:
    """What answers renewals: a list of answers, the last of them for ever, and a signal for each that was asked."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = threading.Semaphore(0)
        self.count = 0

    def __call__(self):
        """Give the next answer, or raise it."""
        self.count += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        self.asked.release()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def wait(self, count):
        """Return once that many renewals more were asked for."""
        for _ in range(count):
            assert self.asked.acquire(timeout=SOON)


@contextmanager
def kept(renew, **options):
    """Keep a short lease, and see that its thread ends with the block."""
    before = set(threading.enumerate())
    with lease.kept(renew, **{"seconds": LEASE, "margin": MARGIN, **options}) as held:
        yield held
    assert set() == set(threading.enumerate()) - before


class Ends:
    """Counts how often the work was stopped, and says when."""

    def __init__(self, error=None):
        self.count = 0
        self.error = error
        self.happened = threading.Event()

    def __call__(self):
        """Stop the work."""
        self.count += 1
        self.happened.set()
        if self.error:
            raise self.error


def test_a_claim_is_renewed_again_and_again():
    """Over more than a whole lease the claim still holds."""
    renewals, ends = Renewals(True), Ends()

    with kept(renewals, on_end=ends) as held:
        renewals.wait(5)
        held.check()

    assert 0 == ends.count


def test_renewals_come_every_third_of_the_lease():
    """The first renewal is not asked for before a third of the lease is over."""
    renewals = Renewals(True)
    started = time.monotonic()

    with kept(renewals):
        renewals.wait(1)

    assert time.monotonic() - started >= LEASE / 3


def test_short_work_needs_no_renewal():
    """A block that ends at once asks for nothing."""
    renewals = Renewals(True)

    with kept(renewals) as held:
        held.check()

    assert 0 == renewals.count


def test_a_refused_renewal_loses_the_claim():
    """The work is stopped once, the next check says so, and nobody asks again."""
    renewals, ends = Renewals(False), Ends()

    with kept(renewals, on_end=ends) as held:
        assert ends.happened.wait(SOON)
        assert held.lost
        with pytest.raises(ClaimLost):
            held.check()

    assert (1, 1) == (ends.count, renewals.count)


def test_a_claim_that_nobody_confirms_is_lost_before_its_end():
    """Renewals that all fail lose the claim a margin before the lease is over, by the monotonic clock."""
    renewals, ends = Renewals(OSError("nobody there")), Ends()
    started = time.monotonic()

    with kept(renewals, on_end=ends) as held:
        assert ends.happened.wait(SOON)
        lasted = time.monotonic() - started
        assert held.lost

    assert lasted >= LEASE - MARGIN
    assert renewals.count > 1
    assert 1 == ends.count


def test_an_outage_shorter_than_the_lease_is_survived():
    """One failed renewal is asked for again, and the claim holds on."""
    renewals, ends = Renewals(OSError("away"), True), Ends()

    with kept(renewals, on_end=ends, seconds=6, margin=1) as held:
        renewals.wait(2)
        held.check()

    assert 0 == ends.count


def test_a_renewal_that_hangs_loses_the_claim_in_time():
    """While nobody answers at all the next check already says that the claim is lost."""
    answer, asked = threading.Event(), threading.Event()

    def hang():
        asked.set()
        answer.wait(SOON)
        return True

    with kept(hang) as held:
        assert asked.wait(SOON)
        until = time.monotonic() + LEASE
        threading.Event().wait(until - time.monotonic())
        assert held.lost
        answer.set()


def test_a_worker_that_leaves_hands_the_work_back():
    """The work is stopped once, and the next check says that there is no time left."""
    ends, leaving = Ends(), threading.Event()

    with kept(Renewals(True), on_end=ends, leaving=leaving.is_set) as held:
        held.check()
        leaving.set()
        assert ends.happened.wait(SOON)
        assert (True, False) == (held.leaving, held.lost)
        with pytest.raises(WorkerLeaving):
            held.check()

    assert 1 == ends.count


@pytest.mark.parametrize("answer", [False, OSError("away")])
def test_an_end_that_breaks_breaks_nothing_else(answer):
    """What cannot be stopped is logged; the claim is lost all the same and the thread ends."""
    ends = Ends(RuntimeError("not killed"))

    with kept(Renewals(answer), on_end=ends) as held:
        assert ends.happened.wait(SOON)
        assert held.lost

    assert 1 == ends.count


def test_work_that_breaks_ends_the_thread_too():
    """An exception of the work passes through, and nobody goes on renewing."""
    renewals = Renewals(True)

    with pytest.raises(ZeroDivisionError), kept(renewals):
        raise ZeroDivisionError

    asked = renewals.count
    assert not renewals.asked.acquire(timeout=LEASE / 2)
    assert asked == renewals.count


def test_a_lost_claim_is_lost_for_good_even_when_leaving():
    """Whoever lost the claim must not hand back what belongs to somebody else."""
    held = lease.Held(SOON)
    held.leave()
    held.lose()

    with pytest.raises(ClaimLost):
        held.check()
