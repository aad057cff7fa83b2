"""Saved audiences: create, list, read, change, delete, validate."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from starlette.convertors import StringConvertor, register_url_convertor
from starlette.responses import Response

from api import envelope, schemas
from api.auth import Asking
from api.paths import AudienceId
from worker import audience, audiences, manual
from worker.database import transaction

PREFIX: Final = "/v1/intent/audiences"
ONE: Final = "/{id:audience}"
MOST_OFFSET: Final = 2**31 - 1


class _Named(StringConvertor):
    """What stands for an audience in a path; a malformed id too, but not the path of its own beside them."""

    regex = "(?!validate$)[^/]+"


register_url_convertor("audience", _Named())

router = APIRouter(prefix=PREFIX, tags=["Audience Builder"])

OneAudience = schemas.Reply[schemas.Audience]
CREATED: Final[dict[str, Any]] = {
    "description": "The new audience.",
    "headers": {"Location": {"description": "Its path.", "required": True, "schema": {"type": "string"}}},
}


@router.post(
    "",
    status_code=201,
    summary="Create an audience",
    response_model=OneAudience,
    responses={201: CREATED, **envelope.documented(413, 415)},
)
def create_audience(request: Request, asking: Asking, body: schemas.AudienceCreate) -> Response:
    """
    Save a new audience.

    An active one is refreshed daily from its next cron time on; a run can be queued for any.
    """
    config = audience.parse(body.config.root)
    with transaction() as connection:
        audience_id = audiences.add(
            connection,
            organization_id=asking.organization_id,
            name=body.name,
            config=config,
            status=body.status,
            refresh=body.refresh,
        )
        row = audiences.get(connection, audience_id, asking.organization_id)
    headers = {"Location": f"{PREFIX}/{audience_id}"}
    return envelope.reply(request, schemas.Audience.of(row), status=201, headers=headers)


@router.get(
    "",
    summary="List audiences",
    response_model=schemas.Reply[list[schemas.Audience]],
    responses=envelope.documented(),
)
def list_audiences(
    request: Request,
    asking: Asking,
    status: Annotated[schemas.Status | None, Query(description="Only those in this status.")] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 25,
    offset: Annotated[int, Query(ge=0, le=MOST_OFFSET, description="How many of the newest to leave out.")] = 0,
) -> Response:
    """List the organization's audiences, newest first; a page shorter than its limit is the last."""
    with transaction() as connection:
        rows = audiences.saved(
            connection, organization_id=asking.organization_id, status=status, limit=limit, offset=offset
        )
    return envelope.reply(request, [schemas.Audience.of(row) for row in rows])


@router.post(
    "/validate",
    summary="Validate a config",
    response_model=schemas.Reply[schemas.ConfigReport],
    responses=envelope.documented(413, 415),
)
def validate_config(request: Request, _asking: Asking, body: schemas.ConfigCheck) -> Response:
    """Say what a config comes to, or which of its fields breaks which rule; nothing is saved."""
    return envelope.reply(request, schemas.ConfigReport.of(body.config))


@router.get(ONE, summary="Read one audience", response_model=OneAudience, responses=envelope.documented(404))
def read_audience(request: Request, asking: Asking, audience_id: AudienceId) -> Response:
    """Read an audience; a deleted one is not there."""
    with transaction() as connection:
        row = audiences.get(connection, audience_id, asking.organization_id)
    return envelope.reply(request, schemas.Audience.of(row))


@router.patch(
    ONE, summary="Change an audience", response_model=OneAudience, responses=envelope.documented(404, 413, 415)
)
def change_audience(
    request: Request, asking: Asking, audience_id: AudienceId, body: schemas.AudienceUpdate
) -> Response:
    """
    Change what is given.

    Runs keep the config they were queued with. Daily runs that wait are cancelled when the audience is paused or is no
    longer refreshed daily.
    """
    row, _ = manual.change(audience_id, body.changes, organization_id=asking.organization_id)
    return envelope.reply(request, schemas.Audience.of(row))


@router.delete(
    ONE,
    summary="Delete an audience",
    response_model=schemas.Reply[schemas.AudienceDeleted],
    responses=envelope.documented(404),
)
def delete_audience(request: Request, asking: Asking, audience_id: AudienceId) -> Response:
    """Delete an audience and cancel its queued runs; finished ones stay readable by their ids until their retention ends."""
    cancelled = manual.delete(audience_id, organization_id=asking.organization_id)
    return envelope.reply(request, schemas.AudienceDeleted(id=audience_id, cancelled_runs=cancelled))
