"""``audience-worker exports``: what runs found, as files."""

from collections.abc import Iterable
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Annotated, Final

import typer

from cli import output
from cli.arguments import AsJson, RunId
from cli.bells import ring_for
from worker import exports, newcomers, runs, settings
from worker.database import transaction
from worker.errors import Refusal

PAGE_ROWS: Final = 10_000

app = typer.Typer(no_args_is_help=True, help="Have what runs found stored as CSV, or written to files of your own.")


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


@app.command()
def new(
    run_id: RunId,
    to: Annotated[Path, typer.Option("--to", metavar="FILE", help="Where to; a file that stands there is replaced.")],
) -> None:
    """
    Write the people of a run who were not in the run before, as CSV: columns and order are those of its export.

    Example: audience-worker exports new RUN_ID --to new.csv
    """
    file = to.resolve()
    if not file.parent.is_dir() or (file.exists() and not file.is_file()):
        raise Refusal(f"--to: {to} cannot be a file: its folder is not there, or something else stands there.")
    found = newcomers.begin(run_id, page_rows=PAGE_ROWS, most_seconds=settings.current().query_seconds)
    try:
        _written(file, found.chunks)
    except OSError as error:
        raise Refusal(f"--to: {to} cannot be written: {error.strerror}.") from error
    cut = f"; the other {found.new - found.rows:,} are beyond EXPORT_ROW_CAP" if found.new > found.rows else ""
    output.say(f"New people written to {to}: {found.rows:,}{cut}.")


def _written(to: Path, chunks: Iterable[bytes]) -> None:
    """Write a file under another name first, so that it is there whole or not at all; only its owner may read it."""
    with NamedTemporaryFile(dir=to.parent, prefix=f".{to.name}-", delete=False) as file:
        part = Path(file.name)
        try:
            file.writelines(chunks)
            file.flush()
            part.replace(to)
        except BaseException:
            part.unlink()
            raise
