"""``audience-worker audit``: who did what by hand, and when."""

from typing import Annotated

import typer

from cli import output
from cli.arguments import AsJson, Limit
from worker import audit
from worker.database import transaction

app = typer.Typer(no_args_is_help=True, help="Look at what operators did by hand.")


@app.command("list")
def list_(
    by: Annotated[str | None, typer.Option("--by", metavar="NAME", help="Only this person's.")] = None,
    thing: Annotated[
        str | None, typer.Option("--object", metavar="ID", help="Only what was done to this run, audience, key …")
    ] = None,
    limit: Limit = 100,
    as_json: AsJson = False,
) -> None:
    """
    List what was done by hand, newest first.

    Example: audience-worker audit list --object RUN_ID
    """
    with transaction() as connection:
        rows = audit.latest(connection, who=by, thing=thing, limit=limit)
    if as_json:
        output.show_json([dict(row) for row in rows])
        return
    columns = ("at", "who", "verb", "object")
    output.show_table(("when", "who", "verb", "object"), [[row[column] for column in columns] for row in rows])
