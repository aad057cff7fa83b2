"""``audience-worker exports``: the stored CSV of a completed run."""

import typer

from cli import output
from cli.arguments import AsJson, RunId
from cli.bells import ring_for
from worker import exports, runs
from worker.database import transaction

app = typer.Typer(no_args_is_help=True, help="Have the CSV of a run stored.")


@app.command()
def create(run_id: RunId, as_json: AsJson = False) -> None:
    """
    Store a completed run's CSV: where there is none, or where it failed or expired; print where it stands.

    Example: audience-worker exports create RUN_ID
    """
    with transaction() as connection:
        run = runs.get(connection, run_id)
        row = exports.ensure(connection, organization_id=run["organization_id"], run_id=run_id)
    waits = row["status"] == "processing"
    if waits:
        ring_for("announce")
    if as_json:
        output.show_json(dict(row))
    elif waits:
        output.say(f"It is being written: audience-worker runs show {run_id}")
    else:
        output.say(f"It is stored, {row['row_count']:,} rows, until {output.text(row['expires_at'])}: {row['file_id']}")
