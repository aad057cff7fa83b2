"""``audience-worker data``: bring your own data, and say when it is ready."""

from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Annotated, Literal

import typer

from cli import output
from cli.arguments import AsJson, Limit, a_day
from worker import loads

app = typer.Typer(no_args_is_help=True, help="Load people, signals and topics, and say which days are ready.")

Files = Annotated[
    list[Path],
    typer.Argument(metavar="FILE…", exists=True, dir_okay=False, readable=True, help="Parquet, .csv or .csv.gz files."),
]


@app.command()
def load(
    dataset: Annotated[
        Literal["people", "signals", "topics"], typer.Argument(metavar="people|signals|topics", help="What they hold.")
    ],
    files: Files,
    as_json: AsJson = False,
) -> None:
    """
    Replace the days that the files hold, or all people or topics.

    People and signals carry hashed_email, 64 lower-case hex characters. Every file is checked first; on any refusal
    nothing is replaced.
    """
    with output.transfers() as progress:
        loaded = loads.load(dataset, files, progress)
    if as_json:
        output.show_json(loaded)
        return
    for line in _lines(loaded):
        output.say(line)


@app.command()
def ready(
    day: Annotated[date, typer.Argument(metavar="DATE", parser=a_day, help="The day, as YYYY-MM-DD.")],
    as_json: AsJson = False,
) -> None:
    """Say that a day of signals, and people, are complete: audiences are refreshed from then on."""
    versions = loads.make_ready(day)
    if as_json:
        output.show_json(versions)
        return
    output.say(
        f"{day} is ready: {versions.rows:,} signals under version {versions.data_version},"
        f" people under version {versions.people_version}."
    )


@app.command()
def status(
    limit: Limit = 30,
    as_json: AsJson = False,
) -> None:
    """Show which days, newest first, are loaded, ready, and mirrored to where runs are queued."""
    found = loads.status()
    found = replace(found, days=found.days[:limit])
    if as_json:
        output.show_json(found)
        return
    version = "not ready yet" if found.people_version is None else f"version {found.people_version}"
    output.say(f"{found.people:,} people ({version}), {found.topics:,} topics")
    rows = [(day.data_date, day.rows, day.data_version, day.state, day.mirrored) for day in found.days]
    output.show_table(("day", "signals", "version", "state", "mirrored"), rows)


def _lines(loaded: loads.Loaded) -> list[str]:
    """Say what was replaced and what comes next."""
    if loaded.days:
        return [_line(day) for day in loaded.days]
    if loaded.version is not None:
        return [f"{loaded.rows:,} people, ready under version {loaded.version}."]
    return [f"{loaded.rows:,} {loaded.dataset}."]


def _line(day: loads.LoadedDay) -> str:
    """Say how one replaced day stands."""
    if day.version is None:
        return f"{day.data_date}: {day.rows:,} signals. When it is whole: audience-worker data ready {day.data_date}"
    return f"{day.data_date}: {day.rows:,} signals, ready under version {day.version}."
