"""What a deaf ClickHouse or a deaf Redis costs the requests that need neither."""

import socket
import threading
import time

import frozen
import pytest
import web

from api.app import create
from api.bells import Bells
from worker import app, settings
from worker import clickhouse as door


@pytest.fixture
def deaf():
    """The port of a listener that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        yield listener.getsockname()[1]


def test_a_deaf_clickhouse_holds_up_nobody_who_needs_none(tables, organization, deaf, monkeypatch):
    """While more readers than there are threads wait for ClickHouse, runs are listed as ever."""
    run = frozen.completed(None, organization, 10)
    monkeypatch.setenv("CLICKHOUSE_URL", f"http://127.0.0.1:{deaf}/nowhere")
    monkeypatch.setenv("WEB_QUERY_SECONDS", "2")
    settings.current.cache_clear()
    door.forget()
    readers = settings.current().web_threads + 4
    told = []
    with web.served(create()) as address, web.client(address, web.key_of(organization)) as client:

        def read():
            told.append(client.get(f"{frozen.path(run)}/results").status_code)

        waiting = [threading.Thread(target=read) for _ in range(readers)]
        for thread in waiting:
            thread.start()
        listed = [client.get(frozen.path(run)) for _ in range(20)]
        early = len(told)
        for thread in waiting:
            thread.join()

    assert ({200}, [503] * readers) == ({answer.status_code for answer in listed}, told)
    assert early < readers
    assert max(answer.elapsed.total_seconds() for answer in listed) < 2


def test_a_deaf_redis_is_rung_once(tables, deaf, monkeypatch):
    """The first ring waits for Redis; those of the next half minute do not."""
    monkeypatch.setenv("REDIS_URL", f"redis://127.0.0.1:{deaf}/0")
    monkeypatch.setitem(app.SOCKETS, "socket_timeout", 1)
    settings.current.cache_clear()
    bells, took = Bells(), []

    for _ in range(3):
        began = time.monotonic()
        bells.ring("manual")
        took.append(time.monotonic() - began)

    assert (True, True) == (took[0] > 0.9, sum(took[1:]) < 0.5), took
