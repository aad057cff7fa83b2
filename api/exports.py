"""Stored exports: made, read, offered."""

from fastapi import APIRouter, Request
from sqlalchemy import RowMapping
from starlette.responses import Response

from api import envelope, schemas
from api.auth import Asking
from api.paths import AudienceId, ExportId, RunId
from worker import exports, follow, runs
from worker.database import transaction

router = APIRouter(prefix="/v1/intent/audiences/{id}/runs/{runId}/exports", tags=["Audience Builder"])

OneExport = schemas.Reply[schemas.IntentAudienceExport]


@router.post(
    "",
    status_code=202,
    summary="Store the CSV of a completed run",
    response_model=OneExport,
    responses={
        200: {"model": OneExport, "description": "The file stands; its link is fresh."},
        202: {"description": "The file is being written; read the export until it is completed."},
        **envelope.documented(
            404, 413, 415, s409="The run is not completed, is a preview, or its results are no longer kept."
        ),
    },
)
def make_export(request: Request, asking: Asking, audience_id: AudienceId, run_id: RunId) -> Response:
    """
    Offer the stored CSV of a run, written first where there is none; one that failed or expired is written anew.

    Most runs have theirs already: it is written as soon as they complete.
    """
    with transaction() as connection:
        runs.get(connection, run_id, asking.organization_id, audience_id)
        row = exports.ensure(
            connection, organization_id=asking.organization_id, run_id=run_id, requested_by=asking.key_id
        )
    waits = row["status"] == "processing"
    if waits:
        request.app.state.bells.ring("announce")
    return _reply(request, row, status=202 if waits else 200)


@router.get("/{exportId}", summary="Read a stored export", response_model=OneExport, responses=envelope.documented(404))
def read_export(
    request: Request, asking: Asking, audience_id: AudienceId, run_id: RunId, export_id: ExportId
) -> Response:
    """Read an export; once it is completed, every reading brings a fresh link."""
    with transaction() as connection:
        runs.get(connection, run_id, asking.organization_id, audience_id)
        row = exports.get(connection, asking.organization_id, run_id, export_id)
    return _reply(request, row)


def _reply(request: Request, row: RowMapping, status: int = 200) -> Response:
    """Answer with an export and, where there is a file, a link to it."""
    link = follow.offer(row["id"]) if row["status"] == "completed" else None
    return envelope.reply(request, schemas.IntentAudienceExport.of(row, link), status=status)
