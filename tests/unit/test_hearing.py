"""When a worker counts as deaf, and that it leaves even when it cannot stop."""

import subprocess
import sys

import pytest

from worker import hearing
from worker.hearing import LOOKS, Ear


def ear(*, waits=True, taken=lambda: 0, busy=False):
    """A worker's hearing, where nothing changes unless said otherwise."""
    return Ear(waits=lambda: waits, taken=taken, busy=lambda: busy, every=0.001)


def looked(listener, times):
    """Look several times, after the first look that only learns how many bells were taken before."""
    for _ in range(times + 1):
        listener.look()
    return listener.unheard


@pytest.mark.parametrize("waits", [False, None], ids=["idle", "redis is silent"])
def test_without_bells_nobody_is_deaf(waits):
    """An idle worker is well, and so is one whose bells nobody can count."""
    assert 0 == looked(ear(waits=waits), 100)


def test_a_busy_worker_is_not_deaf():
    """With every process at work bells have to wait."""
    assert 0 == looked(ear(busy=True), 100)


def test_a_worker_that_takes_bells_is_not_deaf():
    """However many more wait, each one taken is a sign of hearing."""
    bells = iter(range(200))

    assert 0 == looked(ear(taken=lambda: next(bells)), 100)


def test_bells_that_wait_are_counted_look_by_look():
    """At half of the looks the worker is unwell, and the seconds are told."""
    listener = ear()

    assert LOOKS // 2 - 1 == looked(listener, LOOKS // 2 - 1)
    assert not listener.report()["deaf"]
    listener.look()
    assert {"deaf": True, "seconds": round(LOOKS // 2 * 0.001, 1)} == listener.report()


def test_one_sign_of_hearing_begins_the_count_anew():
    """What was missed before the last bell taken counts no more."""
    bells = iter([0] * LOOKS + [1] * 3)

    assert 2 == looked(ear(taken=lambda: next(bells)), LOOKS + 2)


def test_a_deaf_worker_leaves_once():
    """After the last look it is told to go."""
    left = []

    hearing.listen(ear(), lambda: left.append(True))

    assert [True] == left


def test_a_worker_that_stops_by_itself_is_not_sent_away(monkeypatch):
    """A worker told to stop takes no bells, and that is right."""
    left = []
    monkeypatch.setattr(hearing, "stopping", lambda: True)

    hearing.listen(ear(), lambda: left.append(True))

    assert [] == left


def test_a_process_that_cannot_even_stop_is_killed():
    """Whoever does not follow SIGTERM within the grace ends there and then."""
    code = (
        "import signal, types; from worker import hearing;"
        " signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        " hearing.settings.current = lambda: types.SimpleNamespace(shutdown_grace_seconds=0.1);"
        " hearing.leave()"
    )

    ended = subprocess.run([sys.executable, "-c", code], timeout=60, check=False)

    assert 1 == ended.returncode
