"""The form of every JSON answer: ``{data, meta}``, or ``{error, meta}`` with a stable code and one plain sentence."""

from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import iter_route_contexts
from pydantic_core import to_json
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match

from api import schemas
from worker import database, errors, filters, log

logger = log.get(__name__)

JSON: Final = "application/json"
BY_STATUS: Final[Mapping[int, tuple[str, str]]] = {
    400: ("INVALID_REQUEST", "The request cannot be read."),
    401: ("UNAUTHORIZED", "A valid API key or bearer token is required."),
    404: ("NOT_FOUND", "There is nothing here."),
    405: ("METHOD_NOT_ALLOWED", "This method is not allowed here."),
    408: ("REQUEST_TIMEOUT", "The request body did not arrive in time."),
    413: ("PAYLOAD_TOO_LARGE", "The request body is too large."),
    415: ("UNSUPPORTED_MEDIA_TYPE", "The request body must be application/json."),
    429: ("RATE_LIMITED", "Too many requests; try again after the time in Retry-After."),
    500: ("INTERNAL_ERROR", "Something unforeseen went wrong."),
    503: ("UNAVAILABLE", "A server behind this one does not answer; try again soon."),
}
# A path that names something in a malformed way names nothing.
MISSING: Final[Mapping[str, type[errors.NotFound]]] = {
    "id": errors.AudienceNotFound,
    "runId": errors.RunNotFound,
    "exportId": errors.ExportNotFound,
}
RETRY_SECONDS: Final = "5"
SECONDS: Final = {"description": "When to ask again, in seconds.", "schema": {"type": "integer", "minimum": 1}}
HEADERS: Final[Mapping[int, Mapping[str, Any]]] = {
    401: {"WWW-Authenticate": {"description": "Bearer, whatever was shown.", "schema": {"type": "string"}}},
    429: {"Retry-After": SECONDS},
    503: {"Retry-After": SECONDS},
}


def reply(request: Request, data: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """
    Answer with data.

    :param data: a schema, a list of schemas, or plain values whose names are the public ones already
    """
    body = to_json({"data": data, "meta": _meta(request)}, by_alias=True)
    return Response(body, status, headers=dict(headers or {}), media_type=JSON)


def problem(
    request: Request,
    status: int,
    *,
    code: str = "",
    message: str = "",
    details: Any = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Answer with an error; its code and sentence are those of the status unless given."""
    usual = BY_STATUS.get(status, BY_STATUS[500])
    error = schemas.ApiError(code=code or usual[0], message=message or usual[1], details=details)
    body = to_json({"error": error, "meta": _meta(request)}, by_alias=True, exclude_none=True)
    return Response(body, status, headers=dict(headers or {}), media_type=JSON)


def install(app: FastAPI) -> None:
    """Let every failure leave in this form; the unforeseen is the middleware's, which sees all of it."""
    app.add_exception_handler(errors.Refusal, _refused)
    app.add_exception_handler(errors.AttemptError, _at_fault)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    for kind in database.OUTAGES:
        app.add_exception_handler(kind, _no_database)


def _meta(request: Request) -> schemas.ApiMeta:
    """Say when, and which request this was."""
    return schemas.ApiMeta(timestamp=datetime.now(UTC), request_id=request.state.request_id)


def _refused(request: Request, error: Exception) -> Response:
    """Answer a refusal: what is not there, what its state does not allow, what cannot be read."""
    if isinstance(error, errors.InvalidField):
        broken = schemas.FieldError.of(error)
        return problem(request, 400, message=f"{broken.field}: {broken.rule}", details=[broken])
    if isinstance(error, errors.NotFound):
        return problem(request, 404, code=error.code, message=str(error))
    if isinstance(error, errors.NotAllowed | errors.DataNotReady):
        return problem(request, 409, code=error.code, message=str(error))
    return problem(request, 400, message=str(error))


def _at_fault(request: Request, error: Exception) -> Response:
    """Answer for ClickHouse or the storage, whose own words stay in the log."""
    code = error.code if isinstance(error, errors.AttemptError) else ""
    logger.warning("server_at_fault", code=code)
    if isinstance(error, errors.InternalError | errors.ConfigRefused | errors.ExportMismatch):
        return problem(request, 500)
    return problem(request, 503, headers={"Retry-After": RETRY_SECONDS})


def _no_database(request: Request, error: Exception) -> Response:
    """Answer for Postgres."""
    logger.warning("server_at_fault", code=type(error).__name__)
    return problem(request, 503, headers={"Retry-After": RETRY_SECONDS})


def _invalid(request: Request, error: Exception) -> Response:
    """Name what is wrong with a request, without repeating it."""
    found = error.errors() if isinstance(error, RequestValidationError) else []
    for one in found:
        if one["loc"][0] == "path" and one["loc"][1] in MISSING:
            missing = MISSING[str(one["loc"][1])]
            return problem(request, 404, code=missing.code, message=" ".join((missing.__doc__ or "").split()))
    details = [_detail(one) for one in found]
    sentence = "; ".join(f"{one['field']}: {one['rule']}" for one in details[:1])
    return problem(request, 400, message=sentence, details=details)


def _detail(one: Mapping[str, Any]) -> dict[str, str]:
    """Say what is wrong with one part of a request."""
    if one["type"] == "json_invalid":  # whose place is a character, not a field
        return {"field": "body", "rule": "must be JSON"}
    return {"field": _field(one["loc"]), "rule": one["msg"].removeprefix("Value error, ")}


def _field(place: tuple[int | str, ...]) -> str:
    """Name a place in a request: the parameter, or the dotted path into the body."""
    return ".".join(filters.shown(str(part)) for part in place[1:]) or str(place[0])


def _http(request: Request, error: Exception) -> Response:
    """Answer what the framework itself refuses: no such page, no such method, a body that is no JSON."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    headers = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(sorted(_methods(request)))
    return problem(request, status, headers=headers)


def _methods(request: Request) -> set[str]:
    """Return what may be done at this path: the framework's own answer names one route's methods only."""
    every = iter_route_contexts(request.app.routes)
    here = (route for route in every if route.matches(request.scope)[0] is not Match.NONE)
    return {method for route in here for method in route.methods or ()}


def unforeseen(request: Request, error: Exception) -> Response:
    """Answer a defect of ours; the traceback goes to the log."""
    logger.error("request_broke", exc_info=error)
    return problem(request, 500)


def documented(*statuses: int, **sentences: str) -> dict[int | str, dict[str, Any]]:
    """
    Describe the errors a route may answer with, for its OpenAPI; those that every route has come along.

    :param sentences: ``s409="Only a queued run can be cancelled."``, in place of the status's usual one
    """
    late = {408} if 413 in statuses else set()  # noqa: PLR2004 - whoever takes a body waits for it only so long
    every = sorted({*statuses, *late, 400, 401, 429, 500, 503, *(int(name[1:]) for name in sentences)})
    return {
        status: {
            "model": schemas.ApiErrorResponse,
            "description": sentences.get(f"s{status}") or BY_STATUS[status][1],
            "headers": HEADERS.get(status, {}),
        }
        for status in every
    }
