"""Queue exports, and offer them."""

from datetime import datetime
from typing import Final
from uuid import UUID, uuid4

from sqlalchemy import Connection, RowMapping, any_, false, func, select, update
from sqlalchemy.dialects.postgresql import insert

from worker.database import moment
from worker.errors import ExportNotFound, NotAllowed, RunNotFound
from worker.models import audiences, exports, ready_emails, runs

OUTCOME: Final = (
    *("storage_provider", "bucket_name", "file_id", "byte_size", "content_sha1", "row_count"),
    *("error_code", "error_message", "completed_at", "expires_at", "removed_at"),
)


def queue(
    connection: Connection,
    *,
    organization_id: UUID,
    audience_id: UUID,
    run_id: UUID,
    requested_by: UUID | None = None,
    due_at: datetime | None = None,
) -> None:
    """
    Queue a run's export; the one it has already stays as it is.

    :param requested_by: the API key that asked for it; None where the run's completion did
    """
    connection.execute(
        insert(exports)
        .values(
            id=uuid4(),
            organization_id=organization_id,
            audience_id=audience_id,
            run_id=run_id,
            requested_by=requested_by,
            file_name=f"audience-run-{run_id}.csv",
            due_at=moment(due_at),
        )
        .on_conflict_do_nothing()
    )


def ensure(
    connection: Connection,
    *,
    organization_id: UUID,
    run_id: UUID,
    requested_by: UUID | None = None,
    now: datetime | None = None,
) -> RowMapping:
    """
    Return a run's export, queued first where there is none, and queued anew where it failed or expired.

    :raises RunNotFound: when the organization has no such run
    :raises NotAllowed: when the run is not completed, a preview, or its results are gone
    """
    run = exportable(connection, organization_id, run_id, now)
    born = {"audience_id": run["audience_id"], "requested_by": requested_by, "due_at": now}
    queue(connection, organization_id=organization_id, run_id=run_id, **born)
    stale = (exports.c.status == "failed") | ((exports.c.status == "completed") & (exports.c.expires_at <= moment(now)))
    anew = {"status": "processing", "failures": 0, "requested_by": requested_by}
    empty = dict.fromkeys(OUTCOME)
    connection.execute(
        update(exports)
        .where(exports.c.run_id == run_id, stale)
        .values(**anew, **empty, due_at=moment(now), created_at=moment(now), updated_at=moment(now))
    )
    return get(connection, organization_id, run_id)


def exportable(connection: Connection, organization_id: UUID, run_id: UUID, now: datetime | None = None) -> RowMapping:
    """
    Return a run that has results to offer: its audience, status and type.

    Errors are those of :func:`ensure`.
    """
    query = select(
        runs.c.audience_id, runs.c.status, runs.c.run_type, (runs.c.results_expire_at <= moment(now)).label("expired")
    ).where(runs.c.organization_id == organization_id, runs.c.id == run_id)
    run = connection.execute(query).mappings().one_or_none()
    if run is None:
        raise RunNotFound(f"There is no run {run_id}.")
    if run["status"] != "completed":
        raise NotAllowed("RUN_NOT_COMPLETED", "Only a completed run can be exported.")
    if run["run_type"] == "preview":
        raise NotAllowed("RUN_IS_PREVIEW", "A preview cannot be exported.")
    if run["expired"]:
        raise NotAllowed("RESULTS_EXPIRED", "The results of this run are no longer kept.")
    return run


def get(connection: Connection, organization_id: UUID, run_id: UUID, export_id: UUID | None = None) -> RowMapping:
    """
    Return a run's export.

    :param export_id: the only one to look for
    :raises NotFound: when the organization has no such run, or it no such export
    """
    query = select(exports).where(exports.c.organization_id == organization_id, exports.c.run_id == run_id)
    if export_id is not None:
        query = query.where(exports.c.id == export_id)
    row = connection.execute(query).mappings().one_or_none()
    if row is None:
        raise ExportNotFound(f"There is no such export of run {run_id}.")
    return row


def linked(connection: Connection, export_id: UUID, mail_id: UUID) -> RowMapping | None:
    """
    Return an export as whoever holds a link to it may see it, with its run's and its audience's share.

    A signed link is its own leave to look, so no organization is asked for.

    :param mail_id: row of ``ready_emails`` that the link was sent in, or an id of none
    :returns: the export, ``audience_name``, ``data_date``, ``result_count``; ``mailed``, whether that mail's recipient
        still is on the list of an audience that still is there. None where the export is no longer kept
    """
    mailed = (ready_emails.c.recipient == any_(audiences.c.notify_emails)) & audiences.c.deleted_at.is_(None)
    query = (
        select(
            *exports.c,
            audiences.c.name.label("audience_name"),
            runs.c.data_date,
            runs.c.result_count,
            func.coalesce(mailed, false()).label("mailed"),
        )
        .join(runs, runs.c.id == exports.c.run_id)
        .join(audiences, audiences.c.id == exports.c.audience_id)
        .outerjoin(ready_emails, (ready_emails.c.run_id == runs.c.id) & (ready_emails.c.id == mail_id))
        .where(exports.c.id == export_id)
    )
    return connection.execute(query).mappings().one_or_none()
