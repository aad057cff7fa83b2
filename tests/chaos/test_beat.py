"""The metronome on a machine whose clock is set while it beats."""

import time

import pytest
import redis
from chaos.clock import Clock, sweep

from local.programs import Programs

PERIODS = {f"{name}_SECONDS": "1" for name in ("RING", "QUEUE", "WATCH", "RESCUE")}

# Of several seconds: a process sees its clock's new time a second late at most, and what was due by then is a handful.
MANY = 20


@pytest.fixture
def clock(tmp_path):
    """A clock that can be set."""
    made = Clock(tmp_path / "clock")
    made.check()
    yield made
    sweep()


@pytest.fixture
def beat(stores, tmp_path, clock):
    """Beat, living by that clock, and nobody who takes what it sends."""
    with Programs(tmp_path / "logs", {**stores.environment, **PERIODS, **clock.environment()}) as programs:
        programs.start(["beat"])
        yield programs


def _beats(url: str, seconds: float) -> int:
    """Count the ticks that are sent from now on, up to MANY or for so long."""
    with redis.Redis.from_url(url) as broker:
        broker.delete("control")
        until = time.monotonic() + seconds
        while (sent := broker.llen("control")) < MANY and time.monotonic() < until:
            time.sleep(0.1)
    return sent


@pytest.mark.parametrize("step", [-3600, 3600], ids=["back", "forward"])
def test_beat_keeps_time_when_its_clock_is_set(beat, clock, stores, step):
    """An hour back or forth on the wall changes nothing: the ticks go on."""
    url = stores.environment["REDIS_URL"]
    assert MANY <= _beats(url, 60)
    clock.set(step)
    assert MANY <= _beats(url, 30)
    clock.set(0)
    assert MANY <= _beats(url, 30)
