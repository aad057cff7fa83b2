"""``audience-worker organizations``: who has how much under way, and the brake."""

from typing import Annotated
from uuid import UUID

import typer

from cli import output
from cli.arguments import AsJson, By, Limit, an_id
from worker import audit, organizations, runs
from worker.database import transaction
from worker.errors import Refusal

app = typer.Typer(no_args_is_help=True, help="See who has how much under way, and keep an organization from more.")

Organization = Annotated[UUID, typer.Argument(metavar="ORGANIZATION_ID", parser=an_id, help="Id of the organization.")]


@app.command("list")
def list_(limit: Limit = 100, as_json: AsJson = False) -> None:
    """List the organizations that have runs under way or waiting, or a limit, the busiest first."""
    with transaction() as connection:
        rows = runs.busiest(connection, limit=limit)
    if as_json:
        output.show_json([dict(row) for row in rows])
        return
    columns = ("organization_id", "running", "due", "most")
    output.show_table(
        ("organization", "running", "due", "limit"), [[row[column] for column in columns] for row in rows]
    )


@app.command()
def limit(
    organization_id: Organization,
    *,
    statements: Annotated[
        int | None,
        typer.Option(
            "--statements",
            metavar="N",
            min=1,
            max=organizations.MOST_STATEMENTS,
            help="At most so many of its runs under way in each lane, even where nobody else waits.",
        ),
    ] = None,
    pause: Annotated[bool, typer.Option("--pause", help="Start none of its runs; they stay queued.")] = False,
    none: Annotated[bool, typer.Option("--none", help="Take its limit away.")] = False,
    by: By,
) -> None:
    """
    Keep an organization from hogging the lanes; it holds from the next claim on, until it is taken away.

    What runs already is completed. Its exports and mails are not held up.

    Example: audience-worker organizations limit ORGANIZATION_ID --statements 1
    """
    if (statements is not None) + pause + none != 1:
        raise Refusal("Give one of --statements, --pause and --none.")
    with transaction() as connection:
        if none:
            if not organizations.free(connection, organization_id):
                raise Refusal(f"Organization {organization_id} has no limit.")
        else:
            organizations.limit(connection, organization_id, statements or 0)
        chosen = "--none" if none else "--pause" if pause else f"--statements {statements}"
        audit.note(connection, by, f"organizations limit {chosen}", organization_id)
    output.say("Its limit is gone." if none else "Paused." if pause else f"Limited to {statements:,} in each lane.")
