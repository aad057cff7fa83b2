"""``audience-worker people``: take somebody out of everything that is kept."""

import time
from collections import Counter
from functools import cache
from typing import Annotated
from uuid import UUID

import typer

from cli import output
from cli.arguments import AsJson, By, a_hash
from worker import audit, erasures
from worker import erase as erasing
from worker.database import transaction
from worker.errors import Refusal

app = typer.Typer(no_args_is_help=True, help="Erase people for good, and see how far that has come.")


@app.command()
def erase(
    hashed_email: Annotated[
        str | None,
        typer.Argument(
            metavar="HASHED_EMAIL", parser=a_hash, help="SHA-256 of the address, 64 hexadecimal characters."
        ),
    ] = None,
    every: Annotated[
        bool,
        typer.Option("--all", help="Everybody who was ever erased: goes on with what was cut short, repeats the rest."),
    ] = False,
    *,
    by: By,
    as_json: AsJson = False,
) -> None:
    """
    Take a person out of every snapshot and stored file, and leave them out of every run to come.

    Runs that are under way are waited for. Cut short, the same command goes on; repeated, it looks again. The tables
    people and intent_signals belong to whoever fills them: the person must be removed there too.

    Example: audience-worker people erase $(printf %s ann@example.com | sha256sum | cut -d' ' -f1)
    """
    if (hashed_email is None) != every:
        raise Refusal("Give either a HASHED_EMAIL or --all.")
    counts: Counter[str] = Counter()
    for erasure_id, hem_hash in _everybody() if hashed_email is None else [_asked(hashed_email, by)]:
        counts.update(erasing.erase(erasure_id, hem_hash, pause=_pause))
    if as_json:
        output.show_json(counts)
        return
    output.say(
        f"Erased: {counts['snapshots']:,} snapshots written anew for {counts['runs']:,} runs;"
        f" {counts['files']:,} files and {counts['keys']:,} old snapshots deleted."
    )


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """List erasures, newest first, without saying of whom."""
    with transaction() as connection:
        rows = [
            {name: value for name, value in row.items() if name != "hem_hash"} for row in erasures.saved(connection)
        ]
    if as_json:
        output.show_json(rows)
        return
    columns = ("id", "status", "snapshots", "runs", "asked_at", "finished_at")
    headings = ("erasure", "status", "snapshots", "runs", "asked", "finished")
    output.show_table(headings, [[row[column] for column in columns] for row in rows])


def _pause(seconds: float) -> None:
    """Wait while others finish, and say so once."""
    _say_that_it_waits()
    time.sleep(seconds)


@cache
def _say_that_it_waits() -> None:
    """Tell whoever sits there why nothing happens."""
    output.complain("Runs that are under way are waited for; this may take minutes.")


def _asked(hashed_email: str, by: str) -> tuple[UUID, int]:
    """Write down that this person is to be erased, and return the erasure and the hash ClickHouse knows them by."""
    hem_hash = erasures.hashed(hashed_email)
    with transaction() as connection:
        erasure_id = erasures.ask(connection, hem_hash)
        audit.note(connection, by, "people erase", erasure_id)
    return erasure_id, hem_hash


def _everybody() -> list[tuple[UUID, int]]:
    """Return everybody who was ever to be erased."""
    with transaction() as connection:
        return [(row["id"], int(row["hem_hash"])) for row in erasures.saved(connection)]
