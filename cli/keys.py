"""``audience-worker keys``: who may use the HTTP side."""

from typing import Annotated
from uuid import UUID

import typer

from cli import output
from cli.arguments import AsJson, By, Limit, OfOrganization, an_id
from worker import audit, keys
from worker.database import transaction

app = typer.Typer(no_args_is_help=True, help="Create API keys, look at them, revoke them.")

Owner = Annotated[
    UUID, typer.Option("--organization", metavar="UUID", parser=an_id, help="The organization it speaks for.")
]
Name = Annotated[str, typer.Option("--name", help="What it is for, 1 to 100 characters.")]
Prefix = Annotated[str, typer.Argument(metavar="PREFIX", help="The 8 letters and digits that follow sk_ in the key.")]


@app.command()
def create(organization: Owner, name: Name, *, by: By, as_json: AsJson = False) -> None:
    """
    Create an API key and print it: the only time that it can be read.

    Example: audience-worker keys create --organization UUID --name dashboard
    """
    with transaction() as connection:
        key = keys.create(connection, organization, name)
        audit.note(connection, by, "keys create", keys.public(key))
    if as_json:
        output.show_json({"key": key})
    else:
        output.say(key)
    output.complain("Keep it now: only its hash is stored, so it is never shown again.")


@app.command("list")
def list_(organization: OfOrganization = None, limit: Limit = 100, as_json: AsJson = False) -> None:
    """List API keys, newest first, without their secret parts."""
    with transaction() as connection:
        rows = keys.saved(connection, organization, limit=limit)
    if as_json:
        output.show_json([dict(row) for row in rows])
        return
    columns = ("prefix", "name", "organization_id", "created_at", "last_used_at", "revoked_at")
    headings = ("prefix", "name", "organization", "created", "last used", "revoked")
    output.show_table(headings, [[row[column] for column in columns] for row in rows])


@app.command()
def revoke(prefix: Prefix, *, by: By) -> None:
    """
    Revoke an API key for good; it is refused from the next request on.

    Example: audience-worker keys revoke Ab3dE6gH
    """
    with transaction() as connection:
        keys.revoke(connection, prefix)
        audit.note(connection, by, "keys revoke", prefix)
    output.say("Revoked.")
