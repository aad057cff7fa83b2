"""``audience-worker emails``: who was told that an audience is ready."""

from typing import Annotated, Literal

import typer

from cli import output
from cli.arguments import AsJson, Limit, OfOrganization, OfRun
from worker import emails
from worker.database import transaction

app = typer.Typer(no_args_is_help=True, help="Look at ready emails. Recipients are personal data.")

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
    columns = ("id", "run_id", "recipient", "status", "attempts", "sent_at", "due_at", "error")
    headings = ("email", "run", "recipient", "status", "attempts", "sent", "due", "error")
    output.show_table(headings, [[row[column] for column in columns] for row in rows])
