"""How much a caller may ask, and what a Redis that is gone, deaf or empty does to it: nothing."""

import os
import re
import select
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from statistics import median
from uuid import uuid4

import door
import jwt
import pytest
import redis
import web
from door import WHO, nowhere, signed

from api import limits
from local.process import free_port
from local.redis import Redis

__all__ = ["nowhere"]

LIMIT = 3
PATIENCE = 5  # seconds, on a machine with other things to do


@pytest.fixture
def server(tmp_path):
    """A Redis of this test's own."""
    with Redis(tmp_path / "redis") as server:
        yield server


@pytest.fixture
def broker(server):
    """An onlooker's client of it."""
    with redis.Redis.from_url(server.url, decode_responses=True) as client:
        yield client


@pytest.fixture
def patient(monkeypatch):
    """Time for Redis to answer on a machine with other things to do: what is counted must not depend on it."""
    monkeypatch.setattr(limits, "SOCKET_SECONDS", 20)


@pytest.fixture
def client(nowhere, patient, server, monkeypatch):
    """A client of the HTTP side, which allows three requests a minute and has that Redis."""
    door.point(monkeypatch, REDIS_URL=server.url, RATE_LIMIT_PER_MINUTE=str(LIMIT))
    with door.opened() as client:
        yield client


def told(answer):
    """Return what an answer tells of the limit: policy, remaining, seconds."""
    policy = answer.headers["RateLimit-Policy"]
    remaining, seconds = re.fullmatch(r'"caller";r=(\d+);t=(\d+)', answer.headers["RateLimit"]).groups()
    return policy, int(remaining), int(seconds)


def asked(client, headers, times=1):
    """Ask several times, and return the last answer."""
    return [client.get(WHO, headers=headers) for _ in range(times)][-1]


def timed(client, headers, times=1):
    """Ask several times, and return the statuses and the seconds that most answers take at most."""
    answers = [client.get(WHO, headers=headers) for _ in range(times)]
    return {answer.status_code for answer in answers}, median(answer.elapsed.total_seconds() for answer in answers)


def warnings(lines):
    """Return the lines that tell of a limit that is off."""
    return [line for line in lines() if line["event"] == "rate_limit_open"]


def test_every_answer_tells_what_is_left(client):
    """The headers of the IETF's draft count down with each request."""
    headers = signed(uuid4())
    first, second = (told(asked(client, headers)) for _ in range(2))

    assert ('"caller";q=3;w=60', LIMIT - 1, LIMIT - 2) == (first[0], first[1], second[1])
    assert 1 <= second[2] <= 60


def test_too_many_requests_are_refused(client):
    """One request more than allowed is answered with 429, when to come back, and nothing left."""
    headers = signed(uuid4())
    last = asked(client, headers, LIMIT)
    refused = asked(client, headers)

    assert (200, 429, "RATE_LIMITED") == (last.status_code, refused.status_code, refused.json()["error"]["code"])
    assert refused.headers["Retry-After"] == str(told(refused)[2])
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    assert 0 == told(refused)[1]


def test_callers_do_not_use_up_each_other_s(client):
    """All tokens of an organization share one limit, and another organization has its own."""
    organization = uuid4()
    asked(client, signed(organization, sub="ann"), LIMIT)
    same, other = asked(client, signed(organization, sub="bob")), asked(client, signed(uuid4()))

    assert (429, 200) == (same.status_code, other.status_code)


def test_each_api_key_has_a_limit_of_its_own(tables, patient, server, broker, monkeypatch):
    """Two keys of one organization count apart, under names that hold their ids and nothing of them."""
    door.point(monkeypatch, REDIS_URL=server.url, RATE_LIMIT_PER_MINUTE="3")
    organization = uuid4()
    mine, other = ({"X-API-Key": web.key_of(organization)} for _ in range(2))
    with door.opened() as client:
        spent, free = asked(client, mine, LIMIT + 1), asked(client, other)

    assert (429, 200) == (spent.status_code, free.status_code)
    names = "".join(broker.keys())
    assert 2 == names.count("key:")
    assert [] == [
        part for key in (mine, other) for part in (key["X-API-Key"][:11], key["X-API-Key"][11:]) if part in names
    ]


def test_redis_holds_ids_only_and_for_two_minutes_only(client, broker):
    """The one name that a token leaves in Redis is its organization's, and it goes by itself."""
    organization = uuid4()
    headers = signed(organization)
    asked(client, headers, 2)

    assert [f"rate:{{LIMITER/token:{organization}/3/1/minute}}"] == broker.keys()
    assert 0 < broker.ttl(broker.keys()[0]) <= 120


def test_whoever_waits_as_told_is_let_in(client, broker):
    """After the seconds of Retry-After the next request passes, and not before."""
    headers = signed(uuid4())
    asked(client, headers, LIMIT)
    for name in broker.scan_iter():
        broker.pexpire(name, 62_000)  # as if most of the minute had gone by
    begun = time.monotonic()
    refused = asked(client, headers)
    wait = int(refused.headers["Retry-After"])
    while asked(client, headers).status_code != 200:
        assert time.monotonic() - begun < wait + PATIENCE

    assert 429 == refused.status_code
    assert 1 < time.monotonic() - begun <= wait + PATIENCE


def test_of_many_requests_at_once_the_limit_is_let_in(patient, server):
    """Fifty at the same moment share what is left, to the last one."""
    limiter, start = limits.Limiter(server.url, 20), threading.Barrier(50)

    def take(_):
        start.wait(timeout=30)
        return limiter.take("token:one")

    with ThreadPoolExecutor(50) as callers:
        verdicts = list(callers.map(take, range(50)))

    assert 20 == sum(verdict.granted for verdict in verdicts if verdict)
    assert None not in verdicts


def test_whoever_is_nobody_is_not_counted(client, broker):
    """Redis hears nothing of requests that prove nothing."""
    statuses = {asked(client, headers, 2 * LIMIT).status_code for headers in ({}, signed(uuid4(), aud="others"))}

    assert ({401}, []) == (statuses, broker.keys())


def test_none_is_no_limit(nowhere, server, broker, monkeypatch):
    """With a limit of 0 nobody is refused, and Redis is not asked."""
    door.point(monkeypatch, REDIS_URL=server.url, RATE_LIMIT_PER_MINUTE="0")
    with door.opened() as client:
        answer = asked(client, signed(uuid4()), 2 * LIMIT)

    assert (200, False, []) == (answer.status_code, "RateLimit" in answer.headers, broker.keys())


def test_a_dead_redis_refuses_nobody(client, server):
    """While it is down every request passes at once, with one warning; once it is back it counts again by itself."""
    headers = signed(uuid4())
    asked(client, headers, LIMIT)
    with door.logged() as lines:
        server.kill()
        down = timed(client, headers, 10)
        warned = warnings(lines)
        server.start()
        begun = time.monotonic()
        while "RateLimit" not in asked(client, headers).headers:
            assert time.monotonic() - begun < limits.PAUSE_SECONDS + 10

    assert ({200}, True) == (down[0], down[1] < 0.5)
    assert ["ConnectionError"] == [line["cause"] for line in warned]


def test_a_suspended_redis_refuses_nobody(nowhere, server, monkeypatch):
    """One that stops in the middle of a conversation costs one request a fraction of a second, and the others nothing."""
    headers = signed(uuid4())
    door.point(monkeypatch, REDIS_URL=server.url, RATE_LIMIT_PER_MINUTE=str(LIMIT))
    with door.opened() as client:
        asked(client, headers, LIMIT)
        os.kill(server.pid, signal.SIGSTOP)
        try:
            first, rest = timed(client, headers), timed(client, headers, 10)
        finally:
            os.kill(server.pid, signal.SIGCONT)

    assert ({200}, {200}) == (first[0], rest[0])
    assert (True, True) == (first[1] < PATIENCE, rest[1] < limits.SOCKET_SECONDS)


@contextmanager
def deaf():
    """A listener that takes every connection and never answers; yields its address and what counts its callers."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        taken = []

        def count():
            while select.select([listener], [], [], 0)[0]:
                taken.append(listener.accept()[0])
            return len(taken)

        try:
            yield f"redis://:swordfish@127.0.0.1:{listener.getsockname()[1]}/0", count
        finally:
            for connection in taken:
                connection.close()


def test_a_deaf_redis_refuses_nobody(nowhere, monkeypatch):
    """One that accepts and never answers is asked once and then left alone, whoever else comes meanwhile."""
    headers = signed(uuid4())
    with deaf() as (url, callers):
        door.point(monkeypatch, REDIS_URL=url, RATE_LIMIT_PER_MINUTE="3")
        with door.opened() as client, door.logged() as lines:
            begun = time.monotonic()
            first, rest = timed(client, headers), timed(client, headers, 10)
            warned, called, elapsed = warnings(lines), callers(), time.monotonic() - begun

    assert ({200}, {200}) == (first[0], rest[0])
    assert (True, True) == (first[1] < PATIENCE, rest[1] < limits.SOCKET_SECONDS)
    assert (1, True) == (len(warned), 1 <= called <= 1 + elapsed // limits.PAUSE_SECONDS)
    assert "swordfish" not in str(warned)


def test_one_asks_for_all_whether_redis_is_back():
    """Each pause ends with one attempt, however many requests there are, and none of the others waits for it."""
    with deaf() as (url, callers), ThreadPoolExecutor(8) as many:
        limiter = limits.Limiter(url, LIMIT, pause_seconds=0.5)
        limiter.take("token:one")
        begun = time.monotonic()

        def ask(_):
            while time.monotonic() - begun < 2:
                limiter.take("token:one")

        list(many.map(ask, range(8)))
        called, elapsed = callers(), time.monotonic() - begun

    assert 1 < called <= 1 + elapsed / 0.5


def test_a_warning_a_minute_is_enough(nowhere):
    """Failure after failure says so once, with neither address nor password."""
    door.created()
    with door.logged() as lines:
        limiter = limits.Limiter(f"redis://:swordfish@127.0.0.1:{free_port()}/0", LIMIT, pause_seconds=0)
        verdicts = [limiter.take("token:one") for _ in range(10)]

    assert ([None] * 10, 1) == (verdicts, len(warnings(lines)))
    assert [] == [word for word in ("swordfish", "127.0.0.1") if word in str(lines())]


def test_a_redis_that_cannot_count_refuses_nobody(server, broker):
    """One that answers with an error, because it is full for example, is as good as none."""
    broker.config_set("maxmemory", "1")

    assert limits.Limiter(server.url, LIMIT).take("token:one") is None


def test_a_token_s_other_claims_are_nobody_s_business(client, broker):
    """Neither the log nor Redis learns who within the organization asked."""
    with door.logged() as lines:
        token = jwt.encode(door.claims(uuid4(), sub="ann@example.com"), door.SECRET, "HS256")
        asked(client, door.bearer(token))

    assert [] == [word for word in ("ann@example.com", token) if word in f"{lines()}{broker.keys()}"]
