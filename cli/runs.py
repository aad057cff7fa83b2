"""``audience-worker runs``: queue them, look at them, follow them, cancel them, publish those held back."""

from collections.abc import Sequence
from datetime import date
from typing import Annotated, Any, Literal
from uuid import UUID

import typer
from sqlalchemy import Connection, RowMapping

from cli import output, watch
from cli.arguments import AsJson, Limit, OfAudience, OfOrganization, RunId, a_day, an_id
from cli.output import ExitCode
from worker import audiences, emails, exports, manual, presence, runs, settings
from worker.app import answers, ring
from worker.database import transaction
from worker.errors import NotFound, Refusal, RunNotFound

app = typer.Typer(
    no_args_is_help=True, help="Queue runs, look at them, follow them, cancel them, publish those held back."
)

Status = Literal["queued", "running", "completed", "failed", "cancelled"]


@app.command()
def queue(
    audience_id: Annotated[
        UUID | None, typer.Argument(metavar="AUDIENCE_ID", parser=an_id, help="Id of the audience.")
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Every active audience, in the daily lane; makes a reloaded day good.")
    ] = False,
    data_date: Annotated[
        date | None,
        typer.Option("--date", metavar="DATE", parser=a_day, help="Data date, as YYYY-MM-DD; else the newest ready."),
    ] = None,
    key: Annotated[
        str | None, typer.Option("--key", help="Idempotency key: the same key always answers with the same run.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Compute anew even where an equal run's snapshot could be shared.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """
    Queue a run now and print its id; one that is in flight already answers instead.

    Example: audience-worker runs queue AUDIENCE_ID, or: audience-worker runs queue --all --date 2026-05-04
    """
    if (audience_id is None) != every:
        raise Refusal("Give either an AUDIENCE_ID or --all.")
    if every and key is not None:
        raise Refusal("--key: belongs to one run and does not go with --all.")
    if audience_id is None:
        queued = manual.queue_all(data_date=data_date, recompute=force)
        _ring("daily", min(len(queued), settings.current().lane_bells))
    else:
        queued = [manual.queue(audience_id, data_date=data_date, key=key, recompute=force)]
        _ring("manual", 1)
    _tell_queued(queued, every=every, as_json=as_json)


@app.command("list")
def list_(
    audience: OfAudience = None,
    organization: OfOrganization = None,
    status: Annotated[Status | None, typer.Option("--status", help="Only those in this status.")] = None,
    held: Annotated[bool, typer.Option("--held", help="Only those whose mails are held back.")] = False,
    limit: Limit = 25,
    as_json: AsJson = False,
) -> None:
    """
    List runs, newest first.

    Example: audience-worker runs list --status failed --limit 100
    """
    with transaction() as connection:
        rows = runs.latest(
            connection, organization_id=organization, audience_id=audience, status=status, held=held, limit=limit
        )
    if as_json:
        output.show_json([dict(row) for row in rows])
        return
    columns = ("id", "audience_id", "run_type", "data_date", "status", "candidate_count", "result_count", "attempts")
    headings = ("run", "audience", "type", "data date", "status", "candidates", "results", "attempts")
    cells = [[*(row[column] for column in columns), row["error_code"], row["created_at"]] for row in rows]
    output.show_table((*headings, "error", "created"), cells)


@app.command()
def show(run_id: RunId, as_json: AsJson = False) -> None:
    """Show one run: how it stands, why it waits, its attempts, its export and its mails."""
    with transaction() as connection:
        run = runs.get(connection, run_id)
        waits = _waits(connection, run)
        attempts = runs.attempts(connection, run_id)
        export = _export(connection, run)
        mails = emails.latest(connection, run_id=run_id)
    if as_json:
        more = {"attempt_history": [dict(one) for one in attempts], "emails": [dict(one) for one in mails]}
        output.show_json({**run, "waits": waits, **more, "export": export})
        return
    output.show_facts(_facts(run, waits))
    _show_attempts(attempts)
    if export is not None:
        _show_export(export)
    if mails:
        columns = ("recipient", "status", "attempts", "sent_at", "error")
        rows = [[one[column] for column in columns] for one in mails]
        output.show_table(("recipient", "status", "attempts", "sent", "error"), rows, title="ready emails")


@app.command("watch")
def watch_(
    run_id: Annotated[UUID | None, typer.Argument(metavar="RUN_ID", parser=an_id, help="Id of the run.")] = None,
    audience: OfAudience = None,
) -> None:
    """
    Follow a run, an audience's runs, or every run in flight until they end; exit code 1 unless all are completed.

    Example: audience-worker runs watch --audience AUDIENCE_ID
    """
    if run_id is not None and audience is not None:
        raise Refusal("Give either a RUN_ID or --audience.")
    with transaction() as connection:
        run_ids = _followed(connection, run_id, audience)
    if not run_ids:
        output.say("No run is in flight.")
    elif not watch.follow(run_ids):
        raise typer.Exit(ExitCode.FAILED)


@app.command()
def cancel(run_id: RunId) -> None:
    """Cancel a run that is still queued."""
    with transaction() as connection:
        run = runs.get(connection, run_id)
        runs.cancel(connection, run["organization_id"], run_id)
    output.say("Cancelled.")


@app.command()
def publish(run_id: RunId) -> None:
    """Send the mails of a run that was held back as an anomaly, and move its audience's size."""
    mails = manual.publish(run_id)
    _ring("announce", 1)
    output.say(f"Published; mails queued: {mails}.")


def _ring(lane: str, bells: int) -> None:
    """Tell the lane's workers; what Redis does not take, the scheduler's next pass makes up for."""
    if not ring(lane, bells) and not answers():
        output.complain("Redis cannot be reached: what is queued starts when it is back.")


def _tell_queued(queued: Sequence[runs.Queued], *, every: bool, as_json: bool) -> None:
    """Say what was queued."""
    if as_json:
        output.show_json(queued if every else queued[0])
    elif every:
        new = sum(one.created for one in queued)
        output.say(f"{new:,} queued, {len(queued) - new:,} in flight already.")
    else:
        if not queued[0].created:
            output.complain("Nothing new was queued: this run answers already.")
        output.say(str(queued[0].run_id))


def _followed(connection: Connection, run_id: UUID | None, audience: UUID | None) -> Sequence[UUID]:
    """Return the runs to follow: the one named, those in flight, or an audience's last one where none is."""
    if run_id is not None:
        return [runs.get(connection, run_id)["id"]]
    run_ids = runs.in_flight(connection, audience_id=audience)
    if audience is None or run_ids:
        return run_ids
    last = runs.latest(connection, audience_id=audience, limit=1)
    if not last:
        raise RunNotFound(f"There is no run of audience {audience}.")
    return [last[0]["id"]]


def _waits(connection: Connection, run: RowMapping) -> str | None:
    """Say why a run that has not ended is not further."""
    now = audiences.clock(connection, None)
    if run["status"] == "running":
        late = run["lease_expires_at"] < now
        return f"its lease ended at {output.text(run['lease_expires_at'])}; the rescue takes it over" if late else None
    if run["status"] != "queued":
        return None
    if run["due_at"] > now:
        after = f" after {run['error_code']}: {run['error_message']}" if run["error_code"] else ""
        return f"tried again at {output.text(run['due_at'])}{after}"
    seen = presence.alive(connection, within_seconds=settings.current().task_hard_seconds)
    if not any(one["lane"] == run["lane"] for one in seen):
        return f"due; no worker of the {run['lane']} lane was seen lately"
    return f"due; waits for a free place in the {run['lane']} lane"


def _export(connection: Connection, run: RowMapping) -> dict[str, Any] | None:
    """Return a run's export, if it has one."""
    try:
        return dict(exports.get(connection, run["organization_id"], run["id"]))
    except NotFound:
        return None


def _facts(run: RowMapping, waits: str | None) -> list[tuple[str, object]]:
    """Return what there is to say about a run."""
    dates = ("created_at", "due_at", "started_at", "finished_at", "results_expire_at")
    return [
        ("id", run["id"]),
        ("audience", run["audience_id"]),
        ("organization", run["organization_id"]),
        ("status", watch.told(run)),
        ("waits", waits),
        ("type", f"{run['run_type']}, {run['lane']} lane, priority {run['priority']}"),
        ("data date", run["data_date"]),
        ("candidates", run["candidate_count"]),
        ("results", run["result_count"]),
        ("changes", _changes(run)),
        ("anomaly", run["anomaly"]),
        ("held back", f"until: audience-worker runs publish {run['id']}" if run["held"] else None),
        ("attempts", f"{run['attempts']}, {run['failures']} failed"),
        *((date.removesuffix("_at").replace("_", " "), run[date]) for date in dates),
        ("retry of", run["retry_of"]),
        ("idempotency key", run["idempotency_key"]),
        ("config hash", run["config_hash"]),
        ("ready email sent", run["ready_email_sent_at"]),
        ("ready email error", run["ready_email_error"]),
    ]


def _changes(run: RowMapping) -> str | None:
    """Say what changed since the run that this one is compared with."""
    if run["compared_with"] is None:
        return None
    known = run["people_new"] is not None
    counted = f"{run['people_new']:,} new, {run['people_left']:,} left" if known else "not counted"
    return f"{counted}, compared with run {run['compared_with']}"


def _show_attempts(attempts: Sequence[RowMapping]) -> None:
    """Show what each attempt came to, and what its query cost."""
    columns = ("attempt", "started_at", "outcome", "charged", "error_code", "worker")
    figures = ("read_rows", "read_bytes", "written_rows", "memory_bytes", "elapsed_ms")
    headings = ("attempt", "started", "outcome", "charged", "error", "worker")
    costs = ("rows read", "bytes read", "rows written", "peak bytes", "ms")
    cells = [[one[column] for column in (*columns, *figures)] for one in attempts]
    output.show_table((*headings, *costs), cells, title="attempts")


def _show_export(export: dict[str, Any]) -> None:
    """Show where a run's CSV stands."""
    columns = ("status", "row_count", "byte_size", "file_id", "error_code", "expires_at")
    headings = ("status", "rows", "bytes", "file", "error", "expires")
    output.show_table(headings, [[export[column] for column in columns]], title="export")
