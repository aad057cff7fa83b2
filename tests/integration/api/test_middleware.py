"""What every request passes: ids, headers, one line in the log, and one form of every answer."""

import re
from uuid import UUID, uuid4

import door
import pytest
from door import WHO, nowhere, over, refusal, said, signed
from fastapi import Request
from pydantic import BaseModel
from sqlalchemy import NullPool, create_engine, text
from starlette.responses import Response, StreamingResponse

from api import envelope

__all__ = ["nowhere"]

BROKEN, CUT = "/v1/tests/broken", "/v1/tests/cut"
RUNS = "/v1/intent/audiences/8c049a20-3385-42da-b710-0d038eff5812/runs"


def application():
    """Build the application, with routes that break."""
    built = door.created()

    def broken(request: Request) -> Response:
        raise KeyError("missing")

    def cut(request: Request) -> Response:
        def rows():
            yield b"one row\n"
            raise KeyError("missing")

        return StreamingResponse(rows())

    built.get(BROKEN)(broken)
    built.get(CUT)(cut)
    return built


@pytest.fixture
def client(nowhere):
    """A client that shows nothing, of an HTTP side with nothing behind it."""
    with door.opened(application()) as client:
        yield client


def test_a_request_id_is_taken_or_made(client):
    """One that looks like an id is returned as it is, and anything else is replaced by a new one."""
    given = {"X-Request-Id": "build-7.retry_2"}
    odd = [
        client.get("/", headers={"X-Request-Id": one}).headers["X-Request-Id"]
        for one in ("short", "a b c d e f", "x" * 65)
    ]

    assert given["X-Request-Id"] == client.get("/", headers=given).headers["X-Request-Id"]
    assert 3 == len({UUID(one) for one in odd})


@pytest.mark.parametrize("path", ["/openapi.json", "/nothing", BROKEN, WHO])
def test_every_answer_keeps_browsers_careful(client, path):
    """Whatever is answered, it is not sniffed, framed, stored or passed on, and stays on https."""
    headers = client.get(path).headers

    assert ("no-store", "no-referrer", "nosniff") == tuple(
        headers[name] for name in ("Cache-Control", "Referrer-Policy", "X-Content-Type-Options")
    )
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]


@pytest.mark.parametrize(("url", "told"), [("https://a.example.com", "max-age=31536000"), ("http://localhost", None)])
def test_https_is_insisted_on_where_it_is_offered(nowhere, monkeypatch, url, told):
    """Browsers are told to stay with https, but not by a side that is reached without it."""
    door.point(monkeypatch, PUBLIC_URL=url)
    with door.opened() as client:
        assert told == client.get("/").headers.get("Strict-Transport-Security")


def test_a_request_is_one_line_of_the_log(client):
    """The line tells method, route, status, time and who asked, and so does what was logged on the way."""
    organization = uuid4()
    with door.logged() as lines:
        client.get(WHO, headers={**signed(organization), "X-Request-Id": "of-this-test"})
        [request] = over(lines)
        [asked] = [line for line in lines() if line["event"] == "asked"]

    assert ("GET", WHO, 200) == (request["method"], request["route"], request["status"])
    assert 0 <= request["elapsed_ms"] < 30_000
    for line in (asked, request):
        told = (line["request_id"], line["caller"], line["organization_id"])
        assert ("of-this-test", f"token:{organization}", str(organization)) == told


def test_a_line_holds_the_route_and_not_the_path(client):
    """Paths hold ids and tokens, so the log names their template, whole; a path of nothing is not named at all."""
    with door.logged() as lines:
        client.get(RUNS)
        client.get("/nothing/secret")
        first, second = over(lines, 2)

    assert ("/v1/intent/audiences/{id}/runs", 401, None, 404) == (
        first["route"],
        first["status"],
        second["route"],
        second["status"],
    )
    assert "secret" not in str(lines())


def test_nobody_is_named_after_somebody_else(client):
    """A request that proves nothing carries no name, though the one before it on the connection did, ids included."""
    shown = "".join(f"{name}: {value}\r\n" for name, value in signed(uuid4()).items())
    first, last = f"GET {WHO} HTTP/1.1\r\nHost: a\r\n", f"GET {WHO} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
    with door.logged() as lines:
        said(client, f"{first}{shown}\r\n{first}\r\n{last}\r\n".encode())
        told = over(lines, 3)

    assert [200, 401, 401] == [line["status"] for line in told]
    assert [True, False, False] == ["caller" in line for line in told]
    assert 3 == len({line["request_id"] for line in told})


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "QUERY"])
def test_a_method_that_is_not_allowed_is_refused(client, method):
    """The answer names what is allowed at the path, over all of its routes."""
    answer = client.request(method, RUNS)

    assert (405, "METHOD_NOT_ALLOWED") == refusal(answer)
    assert "GET, POST" == answer.headers["Allow"]


@pytest.mark.parametrize(
    "path", ["/", "/v1", "/v1/intent/audiences/", f"{RUNS}/", "//", "/%00", "/docs", "/caf%C3%A9%FF"]
)
def test_a_path_of_nothing_is_not_there(client, path):
    """Whatever names nothing is answered with 404 and in no other form."""
    assert (404, "NOT_FOUND") == refusal(client.get(path))


@pytest.mark.parametrize(("path", "status"), [(RUNS, 405), ("/nothing", 404)])
def test_head_gets_headers_only(client, path, status):
    """An answer to HEAD has no body, and the connection goes on to the next request."""
    head = f"HEAD {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode()
    get = b"GET /nothing HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    first, _, rest = said(client, head, get).partition(b"\r\n\r\n")

    assert str(status).encode() == first.split()[1]
    assert re.search(rb"(?i)x-request-id: .", first)
    assert rest.startswith(b"HTTP/1.1 404 ")


def test_the_unforeseen_is_one_answer_and_one_traceback(client):
    """A defect is answered like any other failure, and the log tells where it is, once, under the request's id."""
    with door.logged() as lines:
        answer = client.get(BROKEN, headers={"X-Request-Id": "of-this-test"})
        [line] = over(lines)
        [trace] = [one for one in lines() if "exception" in one]

    assert (500, "INTERNAL_ERROR") == refusal(answer)
    assert "missing" not in answer.text
    assert (500, "of-this-test", "of-this-test") == (line["status"], line["request_id"], trace["request_id"])
    assert "KeyError: 'missing'" in trace["exception"]
    assert {"error"} == {one["level"] for one in lines()} - {"info"}


def test_an_answer_that_breaks_off_is_seen_to_be_broken(client):
    """What fails in the middle of an answer ends the connection, so that no half of it passes for the whole."""
    with door.logged() as lines:
        answer = said(client, f"GET {CUT} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        over(lines)

    assert answer.startswith(b"HTTP/1.1 200 ")
    assert not answer.endswith(b"0\r\n\r\n")
    assert 1 == len([one for one in lines() if "exception" in one])


class Strict(BaseModel):
    """A schema that a defect breaks."""

    size: int


@pytest.fixture
def broken_by(nowhere):
    """A function that breaks a route by something, and returns the traceback that the log has of it."""

    def traceback(action):
        built = door.created()

        def breaks(request: Request) -> Response:
            action()
            return envelope.reply(request, {})

        built.get("/v1/tests/breaks")(breaks)
        with door.opened(built) as client, door.logged() as lines:
            client.get("/v1/tests/breaks")
            over(lines)
            return next(one["exception"] for one in lines() if "exception" in one)

    return traceback


def test_a_traceback_holds_nothing_that_was_bound(tables, broken_by):
    """What Postgres refuses is logged without the row it refused, and without the parameters."""
    url, name = tables.environment["DATABASE_URL"], "swordfish"

    def insert():
        engine = create_engine(url, hide_parameters=True, poolclass=NullPool)
        values = {"name": name, "organization": uuid4(), "hash": "0" * 64}
        sql = "INSERT INTO api_keys (id, organization_id, name, prefix, hash) VALUES (:organization, :organization, :name, '-', :hash)"
        with engine.begin() as connection:
            connection.execute(text(sql), values)

    exception = broken_by(insert)
    assert "IntegrityError" in exception
    assert "prefix_form" in exception
    assert "Failing row" not in exception
    assert "swordfish" not in exception


def test_a_traceback_holds_nothing_that_was_checked(broken_by):
    """What a schema refuses is logged without the value it refused."""
    value = "swordfish"
    exception = broken_by(lambda: Strict(size=value))

    assert "ValidationError" in exception
    assert "size" in exception
    assert "swordfish" not in exception
