"""Bodies of requests: too large, of another kind, broken, or never finished."""

import contextlib
import time
from typing import Annotated

import door
import pytest
from door import connected, nowhere, over, refusal, said
from fastapi import Body, Request
from starlette.responses import Response

from api import envelope, middleware

__all__ = ["nowhere"]

MOST = middleware.MOST_BYTES
ECHO, ASIDE = "/v1/tests/echo", "/v1/intent/unsubscribe/tests/aside"
RUNS = "/v1/intent/audiences/8c049a20-3385-42da-b710-0d038eff5812/runs"
JSON = {"Content-Type": "application/json"}


def application():
    """Build the application, with routes that echo."""
    built = door.created()

    def echo(request: Request, body: Annotated[dict, Body()]) -> Response:
        return envelope.reply(request, body)

    async def aside(request: Request) -> Response:
        return envelope.reply(request, (await request.body()).decode())

    built.post(ECHO)(echo)
    built.post(ASIDE)(aside)
    return built


@pytest.fixture
def client(nowhere):
    """A client that shows nothing, of an HTTP side with nothing behind it."""
    with door.opened(application()) as client:
        yield client


@pytest.mark.parametrize(
    "body", [b"{", b"nothing", b"{'a': 1}", b'{"a": "\xff"}', b"[" * 100_000, b'{"a": 1}{', b"\x00", b"1" * 5_000]
)
def test_what_is_not_json_is_refused(client, body):
    """A body that cannot be read is the caller's mistake, and nothing of it is repeated."""
    answer = client.post(ECHO, content=body, headers=JSON)

    assert (400, "INVALID_REQUEST") == refusal(answer)
    assert len(answer.content) < 500


def test_a_body_that_is_not_json_says_so(client):
    """The rule names the body as a whole, not the place of a character."""
    assert "body: must be JSON" == client.post(ECHO, content=b'{"a": ', headers=JSON).json()["error"]["message"]


@pytest.mark.parametrize(
    "kind", [None, "text/plain", "application/x-www-form-urlencoded", "application/xml", "json", ""]
)
def test_a_body_of_another_kind_is_refused(client, kind):
    """Only application/json is read, and a body that does not say what it is is not guessed at."""
    headers = {} if kind is None else {"Content-Type": kind}

    assert (415, "UNSUPPORTED_MEDIA_TYPE") == refusal(client.post(ECHO, content=b'{"a": 1}', headers=headers))


@pytest.mark.parametrize("kind", ["application/json", "Application/JSON; charset=utf-8", "application/json ;a=b"])
def test_a_json_body_is_read(client, kind):
    """Parameters and letter case of the type do not matter."""
    answer = client.post(ECHO, content=b'{"a": 1}', headers={"Content-Type": kind})

    assert (200, {"a": 1}) == (answer.status_code, answer.json()["data"])


def test_no_body_has_no_kind(client):
    """Where nothing is sent its type does not matter."""
    assert (401, "UNAUTHORIZED") == refusal(client.post(RUNS, headers={"Content-Type": "text/plain"}))


def test_the_form_of_a_mail_program_is_let_through(client):
    """One-click unsubscription sends a form, and it arrives whole."""
    assert "List-Unsubscribe=One-Click" == client.post(ASIDE, data={"List-Unsubscribe": "One-Click"}).json()["data"]


def of_size(size):
    """A JSON object of so many bytes."""
    return b'{"a":"' + b"x" * (size - 8) + b'"}'


def parts(body):
    """Hand a body out in parts, so that it is sent without saying how long it is."""
    for start in range(0, len(body), 10_000):
        yield body[start : start + 10_000]


@pytest.mark.parametrize("sent", [bytes, parts], ids=["length", "chunked"])
def test_a_body_may_be_so_large_and_no_larger(client, sent):
    """At 256 KiB it is read, at a byte more refused, whether or not it tells its length; the next request is fine."""
    fits, exceeds = (client.post(ECHO, content=sent(of_size(size)), headers=JSON) for size in (MOST, MOST + 1))

    assert (200, MOST - 8) == (fits.status_code, len(fits.json()["data"]["a"]))
    assert (413, "PAYLOAD_TOO_LARGE") == refusal(exceeds)
    assert "close" == exceeds.headers["Connection"]
    assert 200 == client.post(ECHO, json={}).status_code


@pytest.mark.parametrize("path", [RUNS, "/nothing", ASIDE])
def test_no_path_takes_too_large_a_body(client, path):
    """The bound holds for every path, before anybody asks who is there."""
    assert (413, "PAYLOAD_TOO_LARGE") == refusal(client.post(path, content=of_size(MOST + 1), headers=JSON))


@pytest.mark.parametrize("kind", ["Content-Length: 20000000", "Transfer-Encoding: chunked"])
def test_the_answer_reaches_a_client_that_goes_on_sending(client, kind):
    """Whoever sends 20 MB before looking is still told why, because the connection is not reset under the answer."""
    head = f"POST {ECHO} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n{kind}\r\n\r\n".encode()
    body = (
        [b"x" * 1_000_000] * 20
        if "Length" in kind
        else [b"f4240\r\n" + b"x" * 1_000_000 + b"\r\n"] * 20 + [b"0\r\n\r\n"]
    )
    answer = said(client, head, *body)

    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"PAYLOAD_TOO_LARGE" in answer


def test_a_body_without_end_is_given_up(client):
    """A client that never stops sending is cut off after some seconds."""
    head = f"POST {ECHO} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    begun = time.monotonic()
    with connected(client) as connection:
        connection.sendall(head)
        with contextlib.suppress(ConnectionError):
            while time.monotonic() - begun < 60:
                connection.sendall(b"f4240\r\n" + b"x" * 1_000_000 + b"\r\n")

    assert time.monotonic() - begun < middleware.LINGER_SECONDS + 20


def test_too_large_a_body_is_not_even_asked_for(client):
    """A client that waits to be told to go on is refused instead."""
    lines = ["POST /v1 HTTP/1.1", "Host: a", "Expect: 100-continue", f"Content-Length: {MOST + 1}", "", ""]
    with connected(client) as connection:
        connection.sendall("\r\n".join(lines).encode())

        assert connection.recv(65_536).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    "sent",
    ["Content-Length: 100\r\n\r\n{", 'Transfer-Encoding: chunked\r\n\r\n2\r\n{"\r\n', "Content-Length: 8\r\n\r\n"],
)
def test_a_client_that_hangs_up_is_no_error(client, sent):
    """Whoever leaves in the middle of a body is one line that says so, and nothing worse."""
    head = f"POST {ECHO} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n{sent}"
    with door.logged() as lines:
        with connected(client) as connection:
            connection.sendall(head.encode())
        [line] = over(lines)

    assert (middleware.HUNG_UP, {"info"}) == (line["status"], {one["level"] for one in lines()})


def test_a_body_that_does_not_arrive_is_not_waited_for(client, monkeypatch):
    """A client that begins a body and falls silent is told that it took too long."""
    monkeypatch.setattr(middleware, "BODY_SECONDS", 0.5)
    head = f"POST {ECHO} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{{"

    answer = said(client, head.encode())

    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"REQUEST_TIMEOUT" in answer
