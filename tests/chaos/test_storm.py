"""The short form of the suite: 30 audiences, three days, about 50 faults; ``make chaos`` is the long one."""

import os

import pytest
from chaos import report
from chaos.campaign import Campaign, Wanted

SEED = int(os.environ.get("CHAOS_SEED", "7"))

pytestmark = pytest.mark.timeout(1500)


def test_nothing_is_lost_and_nothing_happens_twice():
    """While everything is killed, stopped, cut off and set wrong, each audience gets its run, its file and its mails."""
    verdict = Campaign(Wanted(seed=SEED, minutes=0.4, audiences=30), print).run()

    print(report.summary(verdict))
    assert [] == verdict.histories, f"seed {SEED}"
    assert 20 < verdict.faults.total()
    assert 90 == verdict.statuses.total()
