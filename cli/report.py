"""``audience-worker report``: one day on one page, for people."""

import os
from datetime import date
from pathlib import Path
from typing import Annotated

import typer

from cli import output
from cli.arguments import a_day
from worker import report as reports
from worker.database import transaction
from worker.errors import Refusal


def report(
    day: Annotated[
        date | None, typer.Option("--date", metavar="DATE", parser=a_day, help="Day in UTC, as YYYY-MM-DD; else today.")
    ] = None,
    to: Annotated[
        Path | None, typer.Option("--to", metavar="FILE", help="Where to; else report-DATE.html in this folder.")
    ] = None,
) -> None:
    """
    Write a day's freshness, runs, failures and mails as one HTML page that loads nothing.

    Example: audience-worker report --date 2026-05-04 --to monday.html
    """
    with transaction() as connection:
        found = reports.read(connection, day)
    file = to or Path(f"report-{found.day}.html")
    _write(file, reports.render(found))
    output.say(f"{file} tells of {found.day}{', which is not over yet' if found.lasts else ''}.")


def _write(file: Path, page: str) -> None:
    """Write a page under another name first, so that nobody ever opens half of one."""
    half = file.parent / f".{file.name}.{os.getpid()}"
    try:
        with half.open("x", encoding="utf-8") as written:
            written.write(page)
        half.replace(file)
    except OSError as error:
        raise Refusal(f"{file} cannot be written: {error.strerror}.") from None
    finally:
        half.unlink(missing_ok=True)
