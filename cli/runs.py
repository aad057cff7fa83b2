"""``audience-worker runs``: queue them, look at them, follow them; cancel, retry, release, publish them."""

from collections.abc import Sequence
from datetime import date
from typing import Annotated, Literal
from uuid import UUID

import typer
from sqlalchemy import Connection

from cli import output, story, watch
from cli.arguments import AsJson, By, Limit, OfAudience, OfOrganization, RunId, a_day, an_id
from cli.bells import ring_for
from cli.output import ExitCode
from worker import audit, manual, redo, rescue, runs, settings
from worker.database import transaction
from worker.errors import Refusal, RunNotFound

app = typer.Typer(
    no_args_is_help=True, help="Queue runs, look at them, follow them; cancel, retry, release, publish them."
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
    preview: Annotated[
        bool, typer.Option("--preview", help="Count everybody, keep the first 100 rows, store no file, send no mail.")
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
    if every and preview:
        raise Refusal("--preview: looks at one audience and does not go with --all.")
    if audience_id is None:
        queued = manual.queue_all(data_date=data_date, recompute=force)
        ring_for("daily", min(len(queued), settings.current().lane_bells))
    else:
        queued = [manual.queue(audience_id, data_date=data_date, key=key, recompute=force, preview=preview)]
        ring_for("manual")
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
    """Show one run: how it stands, why it waits, its attempts and what they cost, its export and its mails."""
    told = story.read(run_id)
    if as_json:
        story.show_json(told)
    else:
        story.show(told)


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
def cancel(run_id: RunId, *, by: By) -> None:
    """Cancel a run that is still queued."""
    with transaction() as connection:
        run = runs.get(connection, run_id)
        runs.cancel(connection, run["organization_id"], run_id)
        audit.note(connection, by, "runs cancel", run_id)
    output.say("Cancelled.")


@app.command()
def retry(run_id: RunId, *, by: By, as_json: AsJson = False) -> None:
    """
    Queue a new run like one that failed or was cancelled, and print its id; one that stands in its place answers.

    Its type, config and data date are those of the first one.

    Example: audience-worker runs retry RUN_ID
    """
    queued = redo.retry(run_id, by=by)
    if queued.created:
        ring_for(_lane(queued.run_id))
    _tell_queued([queued], every=False, as_json=as_json)


@app.command()
def release(run_id: RunId, *, by: By) -> None:
    """
    Take a running run from a worker that is gone, and queue it again at once, uncharged.

    Should the worker live after all, it publishes nothing of this run any more. Without this command the run is rescued
    when its lease is over, and charged.

    Example: audience-worker runs release RUN_ID
    """
    gone = rescue.release(run_id, by=by)
    ring_for(_lane(run_id))
    output.say("Released: it is queued again and due now.")
    if not gone:
        output.complain("What it left running in ClickHouse could not be stopped; nothing of that is ever shown.")


@app.command()
def publish(run_id: RunId, *, by: By) -> None:
    """Send the mails of a run that was held back as an anomaly, and move its audience's size."""
    mails = manual.publish(run_id, by=by)
    ring_for("announce")
    output.say(f"Published; mails queued: {mails}.")


def _lane(run_id: UUID) -> str:
    """Return the lane that a run is served from."""
    with transaction() as connection:
        return str(runs.get(connection, run_id)["lane"])


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
