"""A real worker that takes nothing from its queue any more: told by its health, mended by itself."""

import socket
import time

import pytest
from celery import Celery
from commandline import command

from local.programs import Programs
from worker import settings
from worker.app import ring, waiting

NODE = f"manual@{socket.gethostname()}"
DEAF_SECONDS = 5
PATIENCE_SECONDS = 60


def health(*words):
    """What the command says, and its exit code."""
    asked = command("health", *(words or ["manual"]))
    return asked.exit_code, asked.output


@pytest.fixture
def control(stores):
    """Celery's remote control, from outside."""
    onlooker = Celery("onlooker", broker=stores.environment["REDIS_URL"])
    yield onlooker.control
    onlooker.close()


@pytest.fixture
def worker(stores, tmp_path):
    """A worker of the manual lane that hears its bells."""
    environment = {**stores.environment, "MANUAL_CONCURRENCY": "1", "DEAF_SECONDS": str(DEAF_SECONDS)}
    with Programs(tmp_path / "logs", environment) as programs:
        programs.start(["manual"])
        _awaited(lambda: " ready." in programs.log("manual").read_text(), "the worker's start")
        yield programs


def _awaited(happened, what: str):
    """Poll until something has happened; what it returned is the answer."""
    until = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < until:
        if answer := happened():
            return answer
        time.sleep(0.1)
    pytest.fail(f"{what} did not happen within {PATIENCE_SECONDS} s")


def test_a_deaf_worker_is_told_and_comes_back(worker, control, servers):
    """Redis may restart; a worker that answers pings and takes nothing is unwell, goes, and is well once back."""
    first = worker.pid("manual")
    servers.redis.restart()
    _awaited(lambda: ring("manual", 1), "the bell's being rung")
    _awaited(lambda: 0 == waiting("manual"), "the bell's being taken")
    before = health(), worker.pid("manual")

    control.cancel_consumer("manual", destination=[NODE], reply=True)
    ring("manual", 1)

    code, said = _awaited(lambda: (it := health())[0] and it, "the complaint")
    pinged = control.ping(destination=[NODE], timeout=5)
    _awaited(lambda: not worker.running("manual"), "the end of the deaf worker")
    left = waiting("manual")
    worker.restart("manual")
    _awaited(lambda: 0 == waiting("manual"), "the bell's being taken")

    assert ((0, f"{NODE} answers and hears its bells.\n"), first) == before
    assert 1 == code
    assert said.startswith(f"{NODE} answers, but has left its bells waiting for ")
    assert 1 == len(said.splitlines())
    assert [{NODE: {"ok": "pong"}}] == pinged
    assert 1 == left
    assert '"worker_deaf"' in worker.log("manual").read_text()
    assert (0, f"{NODE} answers and hears its bells.\n") == health()


def test_who_cannot_be_asked_is_unwell(stores, monkeypatch):
    """Nobody there, and no Redis to ask through, are two sentences."""
    nobody = health("daily@nowhere", "--timeout=0.5")
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:9/0")
    settings.current.cache_clear()
    nothing = health("daily@nowhere")

    assert (1, "daily@nowhere does not answer.\n") == nobody
    assert (1, "Redis does not answer, so daily@nowhere cannot be asked.\n") == nothing
