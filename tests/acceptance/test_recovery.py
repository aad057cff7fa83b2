"""What make recovery measures at full size, in short: Redis emptied, a worker stopped, a big neighbour."""

import pytest
import scenarios
from scenarios import Site

from local.programs import Programs


@pytest.fixture
def site(stores, servers, clickhouse, tmp_path):
    """Real programs at production defaults, and fifty people to find."""
    scenarios.small_day(clickhouse)
    with Programs(tmp_path / "logs", stores.environment) as programs:
        yield Site(servers, programs, clickhouse)


def test_idle_workers_find_what_becomes_due_after_redis_was_flushed(site):
    """The first run is claimed within a ringing tick, and all are completed."""
    site.awake(["beat", "control", "worker"])

    first, *_ = scenarios.emptied(site.flush, 40, patience=60)

    assert first < scenarios.RINGING_SECONDS


def test_a_stopped_worker_claims_nothing_more(site):
    """No claim is later than a second after SIGTERM, what was under way is ended, and the rest waits."""
    site.awake(["worker"])

    last, left = scenarios.stopped(site, 100)

    assert last < 1
    assert left > 0


def test_the_small_are_served_beside_the_big(site):
    """Twenty organizations with one run each are served before 5 % of another one's three hundred have begun."""
    site.awake(["worker"])

    begun, _ = scenarios.overtaken(300, 20, patience=60)

    assert begun < 0.05 * 300
