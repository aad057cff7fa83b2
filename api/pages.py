"""
The pages that mails link to: download and unsubscribe.

They are for people without a key: a signed token in the path is all it takes. They run no script and load nothing,
and looking at one changes nothing, because mail scanners follow every link.
"""

import hashlib
from base64 import b64encode
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from functools import cache
from http import HTTPStatus
from importlib.resources import files
from typing import Any, Final, NamedTuple

from fastapi import APIRouter, Request
from fastapi.routing import APIRoute
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import FileResponse, HTMLResponse, RedirectResponse, Response

from api import threads
from worker import csv_format, database, errors, follow, log
from worker.follow import State
from worker.links import Purpose

logger = log.get(__name__)

REFRESH_SECONDS: Final = "5"
LOOKED_AT: Final = ["GET", "HEAD"]


class Notice(NamedTuple):
    """A page that has only something to say."""

    status: int
    title: str
    text: str


NOTICES: Final[Mapping[State, Notice]] = {
    State.UNKNOWN: Notice(
        404, "This link does not work", "It may have been cut short on its way. Open it from the message once more."
    ),
    State.OVER: Notice(
        410,
        "This link is over",
        "Links in our messages work for a limited time. The next message brings a new one; whoever manages the audience can ask for a new run at once.",
    ),
    State.REVOKED: Notice(
        410,
        "This link was withdrawn",
        "The audience was deleted, or its messages no longer go to the address that got this link. Whoever manages the audience can tell you more.",
    ),
    State.GONE: Notice(
        410,
        "This list is no longer kept",
        "Lists are kept for a limited time. Ask whoever manages the audience for a new run.",
    ),
    State.PROCESSING: Notice(
        202, "The file is being prepared", "This page looks again by itself every few seconds. You can leave it open."
    ),
    State.FAILED: Notice(
        409,
        "The file could not be prepared",
        "The results themselves are complete. Ask whoever manages the audience to export this run again; then this link works.",
    ),
    State.EXPIRED: Notice(
        410,
        "This file has expired",
        "Files are kept for a limited time. Ask whoever manages the audience to export this run again, or for a new run.",
    ),
    State.MISSING: Notice(
        404,
        "The file is not there",
        "It was stored, and cannot be found any more. Ask whoever manages the audience for a new run.",
    ),
}
UNAVAILABLE: Final = Notice(
    503, "Not available right now", "A server behind this page does not answer. Try again in a minute."
)


class PageRoute(APIRoute):
    """A route that fails as a page: who stands before it reads no JSON."""

    def get_route_handler(self) -> Callable[[Request], Any]:
        """Wrap the handler."""
        handler = super().get_route_handler()

        async def shown(request: Request) -> Response:
            try:
                return await handler(request)
            except (errors.AttemptError, *database.OUTAGES) as error:
                code = error.code if isinstance(error, errors.AttemptError) else type(error).__name__
                logger.warning("server_at_fault", code=code)
                return _notice(UNAVAILABLE, {"Retry-After": REFRESH_SECONDS})

        return shown


router = APIRouter(prefix="/v1/intent", include_in_schema=False, route_class=PageRoute)


@router.api_route("/downloads/{token}", methods=LOOKED_AT)
def download(token: str) -> Response:
    """Show what there is to download, and the button."""
    found = follow.download(token)
    if found.state is not State.READY or found.export is None or found.until is None:
        return _state(found.state)
    rows, results = found.export["row_count"], found.export["result_count"]
    return _page(
        "download.html",
        name=found.export["audience_name"],
        day=_day(found.export["data_date"]),
        rows=f"{rows:,}",
        whole=f"{results:,}" if results > rows else "",
        size=found.export["byte_size"],
        until=_moment(found.until),
        file=f"{token}/file",
    )


@router.api_route("/downloads/{token}/file", methods=LOOKED_AT)
@threads.apart
def downloaded(token: str) -> Response:
    """Give the bytes that a mail's link leads to."""
    return _file(follow.download(token))


@router.api_route("/files/{token}", methods=LOOKED_AT)
@threads.apart
def given(token: str) -> Response:
    """Give the bytes to whoever was just given the address over HTTP."""
    return _file(follow.download(token, Purpose.FILE))


@router.api_route("/unsubscribe/{token}", methods=LOOKED_AT)
def unsubscribing(token: str) -> Response:
    """Ask whether the mails should end."""
    return _subscription(follow.subscription(token))


@router.post("/unsubscribe/{token}")
def unsubscribe(token: str) -> Response:
    """End the mails: the page's button, and a mail program's one click (RFC 8058)."""
    return _subscription(follow.unsubscribe(token))


def _file(found: follow.Download) -> Response:
    """Give a file's bytes, or say why there are none."""
    if found.state is not State.READY or found.export is None:
        return _state(found.state)
    place = follow.place(found.export)
    if place is None:
        return _state(State.MISSING)
    if isinstance(place, str):
        return RedirectResponse(place, HTTPStatus.SEE_OTHER)
    name = found.export["file_name"]
    return FileResponse(place, media_type=csv_format.CONTENT_TYPE, filename=name, stat_result=place.stat())


def _subscription(found: follow.Subscription) -> Response:
    """Say whether the mails go on."""
    if found.state is not State.READY:
        return _state(found.state)
    return _page("unsubscribe.html", subscribed=found.subscribed, name=found.audience_name)


def _state(state: State) -> Response:
    """Say what became of a link."""
    return _notice(NOTICES[state], {"Refresh": REFRESH_SECONDS} if state is State.PROCESSING else {})


def _notice(notice: Notice, headers: Mapping[str, str] | None = None) -> Response:
    """Show a page without a button."""
    return _page("notice.html", notice.status, headers, title=notice.title, text=notice.text)


def _page(template: str, status: int = 200, headers: Mapping[str, str] | None = None, /, **said: object) -> Response:
    """Fill a template; its one style is allowed by its hash, a form may lead back here, and nothing else may do anything."""
    style = _style()
    digest = b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'sha256-{digest}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
    careful = {"Content-Security-Policy": policy, "X-Robots-Tag": "noindex, nofollow"}
    body = _templates().get_template(template).render(said, style=style)
    return HTMLResponse(body, status, {**careful, **(headers or {})})


@cache
def _style() -> str:
    """Return the style of every page."""
    return files("api").joinpath("templates/style.css").read_text(encoding="utf-8")


@cache
def _templates() -> Environment:
    """Return the templates; everything is escaped."""
    return Environment(
        loader=PackageLoader("api", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _day(day: date) -> str:
    """Spell a day, ``4 May 2026`` for example."""
    return f"{day.day} {day:%B %Y}"


def _moment(moment: datetime) -> str:
    """Spell a moment, ``4 May 2026, 09:30 UTC`` for example."""
    there = moment.astimezone(UTC)
    return f"{_day(there)}, {there:%H:%M} UTC"
