"""``audience-worker emails``: who was told that an audience is ready."""

from typing import Annotated, Literal

import typer

from cli import output
from cli.arguments import AsJson, By, Limit, OfOrganization, OfRun, RunId
from cli.bells import ring_for
from worker import emails, redo
from worker.database import transaction

app = typer.Typer(no_args_is_help=True, help="Look at ready emails, send them again. Recipients are personal data.")

Status = Literal["pending", "sending", "sent", "failed", "unknown", "skipped"]


@app.command("list")
def list_(
    run: OfRun = None,
    organization: OfOrganization = None,
    status: Annotated[Status | None, typer.Option("--status", help="Only those in this status.")] = None,
    limit: Limit = 100,
    as_json: AsJson = False,
) -> None:
    """
    List ready emails, newest first.

    Example: audience-worker emails list --status failed
    """
    with transaction() as connection:
        rows = emails.latest(connection, organization_id=organization, run_id=run, status=status, limit=limit)
    if as_json:
        output.show_json([dict(row) for row in rows])
        return
    columns = ("id", "run_id", "recipient", "generation", "status", "attempts", "sent_at", "due_at", "error")
    headings = ("email", "run", "recipient", "generation", "status", "attempts", "sent", "due", "error")
    output.show_table(headings, [[row[column] for column in columns] for row in rows])


@app.command()
def resend(
    run_id: RunId,
    *,
    recipient: Annotated[
        str | None,
        typer.Option("--recipient", metavar="EMAIL", help="Only to this one, as the audience's list spells it."),
    ] = None,
    by: By,
) -> None:
    """
    Send a completed run's ready emails once more, to those who were told before and still are on the audience's list.

    A file that failed or expired is made anew first. Whoever has a mail on its way gets no other.

    Example: audience-worker emails resend RUN_ID --recipient ann@example.com
    """
    queued = redo.resend(run_id, recipient, by=by)
    ring_for("announce")
    output.say("1 mail was queued." if queued == 1 else f"{queued:,} mails were queued.")
