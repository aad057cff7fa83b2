"""What a completed run found: result rows, stats, the CSV."""

from collections.abc import Mapping
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Send

from api import envelope, reads, schemas, threads
from api.auth import Asking
from api.paths import AudienceId, RunId
from worker import csv_format, errors, log, newcomers

logger = log.get(__name__)

router = APIRouter(prefix="/v1/intent/audiences/{id}/runs/{runId}", tags=["Audience Builder"])

QUERY_ID: Final = "X-ClickHouse-Query-Id"
MOST_OFFSET: Final = 2**31 - 1
TRACED: Final[Mapping[str, Any]] = {
    QUERY_ID: {
        "description": "Id of the ClickHouse query; left out where none was needed.",
        "schema": {"type": "string"},
    }
}
CSV: Final[dict[str, Any]] = {
    "description": "The CSV of a completed run: one header row, then people by rank. A connection that ends without"
    " the last chunk has brought a part of it only.",
    "content": {"text/csv": {"schema": {"type": "string", "format": "binary"}}},
    "headers": {
        QUERY_ID: {
            "description": "Id of the ClickHouse query of the first page; later pages append -2, -3.",
            "required": True,
            "schema": {"type": "string"},
        },
        "X-Export-Row-Cap": {
            "description": "Maximum rows returned by this CSV export.",
            "required": True,
            "schema": {"type": "integer", "example": 300_000},
        },
        "X-Export-Truncated": {
            "description": "true when result_count is larger than the export cap.",
            "required": True,
            "schema": {"type": "string", "enum": ["true", "false"]},
        },
        "X-Export-Result-Count": {
            "description": "Total materialized rows in the run before the export cap.",
            "required": True,
            "schema": {"type": "integer"},
        },
        "Content-Disposition": {
            "description": "attachment, and a name for the file.",
            "required": True,
            "schema": {"type": "string"},
        },
    },
}
NEW_CSV: Final[dict[str, Any]] = {
    **CSV,
    "description": "The CSV of the people of a run whom the run before did not have; otherwise as export.csv.",
    "headers": {
        **CSV["headers"],
        "X-Export-Result-Count": {
            "description": "People who are new in the run, before the export cap.",
            "required": True,
            "schema": {"type": "integer"},
        },
    },
}


class Download(StreamingResponse):
    """
    A stream that either ends or visibly breaks off.

    The answer goes out in chunks; where the source fails the last one is never sent, and the server, told of an
    answer that is not complete, closes the connection.
    """

    async def stream_response(self, send: Send) -> None:
        """Send what there is; what cannot be read any more ends the connection, and is logged without its cause."""
        try:
            await super().stream_response(send)
        except errors.AttemptError as error:
            logger.warning("download_broke_off", code=error.code)


@router.get(
    "/results",
    summary="Read the results of an intent audience run",
    response_model=schemas.Reply[schemas.RunResults],
    responses={
        200: {"description": "One page of results.", "headers": TRACED},
        202: {"model": schemas.Reply[schemas.RunResults], "description": "The run is queued or running; ask again."},
        **envelope.documented(404, s409="The run failed or was cancelled, or its results are no longer kept."),
    },
)
@threads.apart
def read_results(
    request: Request,
    asking: Asking,
    audience_id: AudienceId,
    run_id: RunId,
    limit: Annotated[int, Query(ge=1, le=500, description="Results per page.")] = 100,
    offset: Annotated[int, Query(ge=0, le=MOST_OFFSET, description="Number of rows to skip.")] = 0,
) -> Response:
    """Read people in rank order; keep increasing the offset until offset plus results reach total."""
    page = reads.results(asking.organization_id, audience_id, run_id, limit=limit, offset=offset)
    shown = schemas.results_of(page.run, page.rows, total=page.total, limit=limit, offset=offset)
    return _reply(request, shown, page.query_id)


@router.get(
    "/stats",
    summary="Read the stats of an intent audience run",
    response_model=schemas.Reply[schemas.RunStats],
    responses={
        200: {"description": "The stats of a completed run.", "headers": TRACED},
        202: {"model": schemas.Reply[schemas.RunStats], "description": "The run is queued or running; ask again."},
        **envelope.documented(
            404, s409="The run is a preview, failed or was cancelled, or its results are no longer kept."
        ),
    },
)
@threads.apart
def read_stats(request: Request, asking: Asking, audience_id: AudienceId, run_id: RunId) -> Response:
    """Read how many people have each field, how their scores are spread, and averages."""
    found = reads.stats(asking.organization_id, audience_id, run_id)
    return _reply(request, schemas.stats_of(found.run, found.stats), found.query_id)


@router.get(
    "/export.csv",
    summary="Download a completed intent audience run as CSV",
    response_class=StreamingResponse,
    responses={
        200: CSV,
        **envelope.documented(404, s409="The run is not completed, is a preview, or its results are no longer kept."),
    },
)
@threads.apart
def export_csv(asking: Asking, audience_id: AudienceId, run_id: RunId) -> Response:
    """Download the results, the best first, up to the cap; the stored export of the same run has the same bytes."""
    export = reads.export(asking.organization_id, audience_id, run_id)
    return _download(export, export.run["result_count"], f"audience-run-{run_id}.csv")


@router.get(
    "/new.csv",
    summary="Download the people who are new in an intent audience run as CSV",
    response_class=StreamingResponse,
    responses={
        200: NEW_CSV,
        **envelope.documented(
            404,
            s409="The run is not completed, is a preview, has no earlier run, or results of either are no longer kept.",
        ),
    },
)
@threads.apart
def new_csv(asking: Asking, audience_id: AudienceId, run_id: RunId) -> Response:
    """Download those results that the run before did not have; columns and order are those of export.csv."""
    found = reads.new_people(asking.organization_id, audience_id, run_id)
    return _download(found, found.new, f"audience-run-{run_id}-new.csv")


def _download(export: reads.Export | newcomers.Newcomers, total: int, name: str) -> Response:
    """Stream a CSV, and say of how many rows it holds how many."""
    headers = {
        QUERY_ID: export.query_id,
        "X-Export-Row-Cap": str(export.cap),
        "X-Export-Truncated": "true" if total > export.cap else "false",
        "X-Export-Result-Count": str(total),
        "Content-Disposition": f'attachment; filename="{name}"',
    }
    return Download(threads.drawn(export.chunks), headers=headers, media_type=csv_format.CONTENT_TYPE)


def _reply(request: Request, shown: dict[str, Any], query_id: str | None) -> Response:
    """Answer with what a run found, or, while it is pending, with 202."""
    status = 200 if shown["state"] == "completed" else 202
    return envelope.reply(request, shown, status=status, headers={QUERY_ID: query_id} if query_id else None)
