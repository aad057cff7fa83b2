"""The door of the HTTP side, with no store behind it: bearer tokens, a route that tells who asked, and the log."""

import io
import json
import logging
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import httpx
import jwt
import pytest
import web
from fastapi import FastAPI, Request
from starlette.responses import Response

from api import app, envelope
from api.auth import Asking
from worker import database, log, settings

SECRET = "a secret of the issuer's, long enough for anybody"
TOKENS = {
    "JWT_ALGORITHM": "HS256",
    "JWT_SECRET": SECRET,
    "JWT_ISSUER": "https://login.example.com",
    "JWT_AUDIENCE": "audiences",
}
NOWHERE = {
    "DATABASE_URL": "postgresql+psycopg://someone:swordfish@127.0.0.1:1/audiences",
    "REDIS_URL": "redis://someone:swordfish@127.0.0.1:1/0",
    "CLICKHOUSE_URL": "http://someone:swordfish@127.0.0.1:1/audiences",
    "TOKEN_KEYS": "k" * 32,
}
WHO = "/v1/tests/who"


def claims(organization_id: UUID, /, **changed: Any) -> dict[str, Any]:
    """What a good token says, but for what is changed; None leaves a claim out."""
    said = {"iss": TOKENS["JWT_ISSUER"], "aud": TOKENS["JWT_AUDIENCE"], "exp": time.time() + 600}
    said |= {"organization_id": str(organization_id), **changed}
    return {name: value for name, value in said.items() if value is not None}


def bearer(token: str) -> dict[str, str]:
    """The header that shows a token."""
    return {"Authorization": f"Bearer {token}"}


def signed(organization_id: UUID, /, **changed: Any) -> dict[str, str]:
    """The header that shows a token of the issuer."""
    return bearer(jwt.encode(claims(organization_id, **changed), SECRET, "HS256"))


def point(patch: pytest.MonkeyPatch, **environment: str) -> None:
    """Lead this process elsewhere; what is not named here stays as it is."""
    for name, value in environment.items():
        patch.setenv(name, value)
    settings.current.cache_clear()
    if database.engine.cache_info().currsize:
        database.engine().dispose()
    database.engine.cache_clear()


def created() -> FastAPI:
    """Build the application, with a route that tells who asked."""
    built = app.create()

    @built.get(WHO)
    def who(request: Request, asking: Asking) -> Response:
        log.get("tests").info("asked")
        return envelope.reply(request, {"organization": str(asking.organization_id), "caller": asking.name})

    return built


@contextmanager
def opened(application: FastAPI | None = None) -> Iterator[httpx.Client]:
    """Serve an application and yield a client that shows nothing."""
    with web.served(application or created()) as address, httpx.Client(base_url=address, timeout=30) as client:
        yield client


@contextmanager
def logged() -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """Yield what reads the lines written so far, as objects; whatever configures the log comes before."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.root.handlers[0].formatter)
    logging.root.addHandler(handler)
    try:
        yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    finally:
        logging.root.removeHandler(handler)


def refusal(answer: httpx.Response) -> tuple[int, str]:
    """Return status and code of an answer, once its envelope and its ids were looked at."""
    told = answer.json()
    assert {"error", "meta"} == set(told)
    assert answer.headers["X-Request-Id"] == told["meta"]["request_id"]
    assert "application/json" == answer.headers["Content-Type"]
    return answer.status_code, told["error"]["code"]


def connected(client: httpx.Client) -> socket.socket:
    """Connect to where a client's requests go, for requests that no client would send."""
    return socket.create_connection((client.base_url.host, client.base_url.port), timeout=20)


def said(client: httpx.Client, *parts: bytes) -> bytes:
    """Send bytes as they are, and return all that comes back until the server closes."""
    with connected(client) as connection:
        for part in parts:
            connection.sendall(part)
        return b"".join(iter(lambda: connection.recv(65_536), b""))


def over(lines: Callable[[], list[dict[str, Any]]], count: int = 1) -> list[dict[str, Any]]:
    """Wait for the lines of requests that are over, and return them."""
    deadline = time.monotonic() + 20
    while len(found := [line for line in lines() if line["event"] == "request"]) < count:
        assert time.monotonic() < deadline, lines()
    return found


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Settings that lead to servers nobody started, and good tokens; the log of the test run comes back afterwards."""
    handlers, level = logging.root.handlers[:], logging.root.level
    for name in settings.Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    point(monkeypatch, **NOWHERE, **TOKENS)
    yield
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)
    settings.current.cache_clear()
    database.engine.cache_clear()
