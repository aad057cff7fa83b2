"""A new run in place of one that failed or was cancelled, at a person's wish."""

from datetime import datetime
from uuid import UUID, uuid4

from sqlalchemy import ColumnElement, Connection, RowMapping, insert, select

from worker.database import moment
from worker.errors import NotAllowed, Superseded
from worker.models import runs
from worker.runs.queue import Queued
from worker.runs.read import get

FROZEN = ("organization_id", "audience_id", "run_type", "lane", "priority")
ASKED = ("config", "config_hash", "data_date", "recompute")


def repeat(connection: Connection, run_id: UUID, *, now: datetime | None = None) -> Queued:
    """
    Queue a run like one that failed or was cancelled, or return the one that stands in its place already.

    Type, lane, config and data date are those of the first one; its attempts and failures are not. Whoever asks holds
    the audience's row.

    :raises RunNotFound: when there is no such run
    :raises NotAllowed: when it neither failed nor was cancelled, or a newer day's run has taken its place
    """
    run = get(connection, run_id)
    if run["status"] not in {"failed", "cancelled"}:
        code, status = f"RUN_ALREADY_{run['status'].upper()}", run["status"]
        raise NotAllowed(code, f"Only a failed or cancelled run can be retried; this one is {status}.")
    standing = connection.scalar(select(runs.c.id).where(*_in_its_place(run)).order_by(runs.c.created_at).limit(1))
    if standing is not None:
        return Queued(standing, created=False)
    if run["run_type"] == "daily" and connection.execute(select(runs.c.id).where(*_newer(run)).limit(1)).first():
        raise NotAllowed(Superseded.code, Superseded().sentence)
    new = uuid4()
    born = {"id": new, "status": "queued", "retry_of": run_id, "due_at": moment(now), "created_at": moment(now)}
    connection.execute(insert(runs).values(**{name: run[name] for name in (*FROZEN, *ASKED)}, **born))
    return Queued(new, created=True)


def _in_its_place(run: RowMapping) -> tuple[ColumnElement[bool], ...]:
    """Match what the unique indexes would not let stand beside a new run, and a retry that was asked for before."""
    if run["run_type"] == "daily":
        return *_of_its_kind(run), runs.c.data_date == run["data_date"], runs.c.status.not_in(("failed", "cancelled"))
    same = (runs.c.config_hash == run["config_hash"], runs.c.data_date == run["data_date"])
    return *_of_its_kind(run), *same, runs.c.status.in_(("queued", "running"))


def _newer(run: RowMapping) -> tuple[ColumnElement[bool], ...]:
    """Match the daily runs of later days that stand."""
    return *_of_its_kind(run), runs.c.data_date > run["data_date"], runs.c.status.not_in(("failed", "cancelled"))


def _of_its_kind(run: RowMapping) -> tuple[ColumnElement[bool], ...]:
    """Match the runs of the same audience and type."""
    return runs.c.audience_id == run["audience_id"], runs.c.run_type == run["run_type"]
