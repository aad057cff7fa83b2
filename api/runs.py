"""Queue, list, read and cancel runs."""

from typing import Annotated

from fastapi import APIRouter, Body, Header, Query, Request
from starlette.responses import Response

from api import envelope, schemas
from api.auth import Asking
from api.paths import AudienceId, RunId
from worker import audiences, manual, runs
from worker.database import transaction

router = APIRouter(prefix="/v1/intent/audiences/{id}/runs", tags=["Audience Builder"])

OneRun = schemas.Reply[schemas.IntentAudienceRun]


@router.post(
    "",
    status_code=202,
    summary="Queue an intent audience materialization run",
    response_model=OneRun,
    responses={
        200: {"model": OneRun, "description": "The run that already answers: same key, or in flight."},
        202: {"description": "A newly queued run."},
        **envelope.documented(404, 413, 415, s409="No day of intent data is ready."),
    },
)
def queue_run(
    request: Request,
    asking: Asking,
    audience_id: AudienceId,
    _body: Annotated[schemas.RunRequest | None, Body()] = None,
    key: Annotated[
        str | None,
        Header(
            alias="Idempotency-Key",
            description="Optional. The same key answers with the same run, whatever became of it.",
            json_schema_extra={"minLength": 1, "maxLength": manual.LONGEST_KEY, "pattern": "^[!-~]([ -~]*[!-~])?$"},
        ),
    ] = None,
) -> Response:
    """
    Queue a manual run of the audience's present config against the newest ready day.

    A run of the same config and day that is queued or running already is returned instead of a second one.
    """
    queued = manual.queue(audience_id, organization_id=asking.organization_id, key=key)
    if queued.created:
        request.app.state.bells.ring("manual")
    with transaction() as connection:
        row = runs.get(connection, queued.run_id, asking.organization_id)
    return envelope.reply(request, schemas.IntentAudienceRun.of(row), status=202 if queued.created else 200)


@router.get(
    "",
    summary="List intent audience runs",
    response_model=schemas.Reply[list[schemas.IntentAudienceRun]],
    responses=envelope.documented(404),
)
def list_runs(
    request: Request,
    asking: Asking,
    audience_id: AudienceId,
    limit: Annotated[int, Query(ge=1, le=100)] = 25,
) -> Response:
    """List an audience's runs, newest first."""
    with transaction() as connection:
        audiences.get(connection, audience_id, asking.organization_id)
        rows = runs.latest(connection, organization_id=asking.organization_id, audience_id=audience_id, limit=limit)
    return envelope.reply(request, [schemas.IntentAudienceRun.of(row) for row in rows])


@router.get(
    "/{runId}",
    summary="Read one run",
    response_model=schemas.Reply[schemas.RunInDetail],
    responses=envelope.documented(404),
)
def read_run(request: Request, asking: Asking, audience_id: AudienceId, run_id: RunId) -> Response:
    """
    Read a run, with what changed since the one before.

    Those of a deleted audience stay readable until their retention ends.
    """
    with transaction() as connection:
        row = runs.get(connection, run_id, asking.organization_id, audience_id)
    return envelope.reply(request, schemas.RunInDetail.of(row))


@router.delete(
    "/{runId}",
    summary="Cancel a queued run",
    response_model=OneRun,
    responses=envelope.documented(404, s409="Only a queued run can be cancelled."),
)
def cancel_run(request: Request, asking: Asking, audience_id: AudienceId, run_id: RunId) -> Response:
    """Cancel a run that nobody has claimed yet."""
    with transaction() as connection:
        runs.cancel(connection, asking.organization_id, run_id, audience_id)
        row = runs.get(connection, run_id, asking.organization_id, audience_id)
    return envelope.reply(request, schemas.IntentAudienceRun.of(row))
