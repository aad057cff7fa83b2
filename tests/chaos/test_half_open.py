"""A connection that stays open and says nothing: work flows again within half a minute, whichever server it led to."""

import sys
import time

import psutil
import pytest
from chaos.world import CREW, World

from worker import manual
from worker.app import ring

PATIENCE_SECONDS = 60
ENDED = """
SELECT r.status = 'completed' AND count(m.id) FILTER (WHERE m.status = 'sent') = 1 AS ended
FROM runs r LEFT JOIN ready_emails m ON m.run_id = r.id WHERE r.id = %s GROUP BY r.id
"""


@pytest.fixture(scope="module")
def world():
    """Programs at work for one audience that hears of every run."""
    with World(audiences=1, tenths=1) as made:
        made.programs.start(CREW)
        with made.session() as session:
            session.execute("UPDATE audiences SET notify_on_manual = true, notify_emails = '{ann@example.com}'")
        made.make_due(made.days[0], spread=0)
        until = time.monotonic() + PATIENCE_SECONDS
        while not made.rows("SELECT FROM runs WHERE status = 'completed'") and time.monotonic() < until:
            time.sleep(0.1)
        yield made


@pytest.fixture(autouse=True)
def _logs(world):
    """Print the ends of all logs; they are shown where a test fails."""
    yield
    for name in CREW:
        sys.stderr.write(f"The end of {name}:\n{world.programs.log(name).read_text()[-3000:]}\n")


def _flow(world: World) -> float:
    """Ask for a run and return the seconds until it is done and announced."""
    [audience] = world.rows("SELECT id FROM audiences WHERE status = 'active'")
    asked = time.monotonic()
    run_id = manual.queue(audience["id"]).run_id
    while not world.rows(ENDED, [run_id])[0]["ended"]:
        if time.monotonic() > asked + PATIENCE_SECONDS:
            pytest.fail(f"After {PATIENCE_SECONDS} s: {world.rows('SELECT * FROM runs WHERE id = %s', [run_id])}")
        time.sleep(0.1)
    return time.monotonic() - asked


@pytest.mark.parametrize("server", ["redis", "postgres", "clickhouse", "mail"])
def test_work_flows_again_after_a_line_went_half_open(world, server):
    """Every connection to one server goes silent at once, and a run asked for then is done and announced in 30 s."""
    assert _flow(world) < 30

    world.lines[server].half_open()
    seconds = _flow(world)

    assert seconds < 30, server


def test_a_bell_that_could_not_be_acknowledged_takes_no_place(world):
    """The line to Redis falls silent between a bell's arrival and its acknowledgement, and the worker takes the next."""
    assert _flow(world) < 30
    [child] = psutil.Process(world.programs.pid("announce")).children()

    while not _handed(world, child):
        time.sleep(0.5)
    log = world.programs.log("announce")
    said = len(log.read_bytes())
    world.lines["redis"].half_open()
    child.resume()

    assert _flow(world) < 30
    assert b"Couldn't ack" in log.read_bytes()[said:]


def _handed(world: World, child: psutil.Process) -> bool:
    """Suspend a pool process and hand it a bell, which it then cannot accept; one that was at work is let go again."""
    with world.redis() as redis:
        child.suspend()
        before = redis.hkeys("unacked")
        ring("announce", 1)
        until = time.monotonic() + 3
        while not any(b"announce.drain" in bell for tag, bell in redis.hgetall("unacked").items() if tag not in before):
            if time.monotonic() > until:
                child.resume()
                return False
            time.sleep(0.05)
    time.sleep(0.5)  # until the worker, too, knows that it has the bell
    return True
