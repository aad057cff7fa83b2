"""``audience-worker audiences``: saved definitions, and when they are refreshed."""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal
from uuid import UUID

import typer
from sqlalchemy import Connection, RowMapping

from cli import output
from cli.arguments import AsJson, AudienceId, By, Limit, OfOrganization, an_id
from worker import audience, audiences, due, loads, manual, plan, runs
from worker.database import transaction
from worker.errors import InvalidField, Refusal

app = typer.Typer(no_args_is_help=True, help="Save audiences, look at them, switch them on and off.")

MOST_BYTES = 1_000_000
NEXT_STARTS = 5
LAST_RUNS = 5
OPTIONS = {
    "name": "--name",
    "refresh_cron": "--cron",
    "refresh_window_minutes": "--window",
    "timezone": "--timezone",
    "notify_emails": "--notify",
}

Definition = Annotated[str, typer.Argument(metavar="FILE", help="The config as JSON; - reads standard input.")]

Owner = Annotated[
    UUID, typer.Option("--organization", metavar="UUID", parser=an_id, help="The organization it belongs to.")
]
Name = Annotated[str, typer.Option("--name", help="1 to 255 characters; mails call the audience so.")]
Active = Annotated[bool, typer.Option("--active", help="Refresh it daily from now on; else it is a draft.")]
DueNow = Annotated[bool, typer.Option("--due-now", help="Make the next refresh due at once.")]
Cron = Annotated[str, typer.Option("--cron", help="Five fields, in the audience's time zone.")]
Zone = Annotated[str, typer.Option("--timezone", help="An IANA name, Europe/Berlin for example.")]
Window = Annotated[
    int, typer.Option("--window", metavar="MINUTES", help="Starts are spread over so many minutes after the slot.")
]
Recipients = Annotated[
    list[str] | None, typer.Option("--notify", metavar="EMAIL", help="Who hears of a refresh; may be repeated.")
]
AlsoManual = Annotated[bool, typer.Option("--notify-on-manual", help="Announce runs queued by hand too.")]
Status = Annotated[
    Literal["draft", "active", "paused"] | None, typer.Option("--status", help="Only those in this status.")
]


@app.command()
def check(file: Definition, as_json: AsJson = False) -> None:
    """
    Say whether a config is valid and what it comes to; needs no server and no settings.

    Example: audience-worker audiences check cfos.json
    """
    config = audience.parse(_definition(file))
    found = {
        "valid": True,
        "config_hash": config.hash,
        "strategy": plan.STRATEGY,
        "applied_filters": config.applied_filters,
        "normalized_config": config.normalized,
    }
    if as_json:
        output.show_json(found)
        return
    filters = ", ".join(config.applied_filters) or "none"
    output.show_facts(
        [
            ("valid", True),
            ("config hash", config.hash),
            ("strategy", plan.STRATEGY),
            ("applied filters", filters),
            ("normalized config", _pretty(config.normalized)),
        ]
    )


@app.command()
def add(  # noqa: PLR0913 - a parameter an option
    file: Definition,
    *,
    organization: Owner,
    name: Name,
    active: Active = False,
    due_now: DueNow = False,
    cron: Cron = "0 6 * * *",
    timezone: Zone = "UTC",
    window: Window = 60,
    notify: Recipients = None,
    notify_on_manual: AlsoManual = False,
    as_json: AsJson = False,
) -> None:
    """
    Save an audience and print its id.

    Example: audience-worker audiences add cfos.json --organization UUID --name CFOs --active --notify ann@example.com
    """
    if due_now and not active:
        raise Refusal("--due-now: needs --active, because a draft is never due.")
    config = audience.parse(_definition(file))
    refresh = audiences.Refresh(
        cron, window, timezone, notify_emails=tuple(notify or ()), notify_on_manual=notify_on_manual
    )
    with _options(), transaction() as connection:
        audience_id = audiences.add(
            connection,
            organization_id=organization,
            name=name,
            config=config,
            status="active" if active else "draft",
            refresh=refresh,
            due_now=due_now,
        )
        row = audiences.get(connection, audience_id)
    if as_json:
        output.show_json({key: row[key] for key in ("id", "organization_id", "status", "config_hash", "next_due_at")})
    else:
        output.say(str(audience_id))


@app.command("list")
def list_(
    organization: OfOrganization = None,
    status: Status = None,
    limit: Limit = 100,
    as_json: AsJson = False,
) -> None:
    """List audiences, newest first."""
    with transaction() as connection:
        rows = audiences.saved(connection, organization_id=organization, status=status, limit=limit)
    if as_json:
        output.show_json([dict(row) for row in rows])
        return
    columns = ("id", "organization_id", "name", "status", "audience_size", "last_refreshed_at", "next_due_at")
    headings = ("id", "organization", "name", "status", "size", "last refreshed", "next start")
    output.show_table(headings, [[row[column] for column in columns] for row in rows])


@app.command()
def show(audience_id: AudienceId, as_json: AsJson = False) -> None:
    """Show one audience: config, schedule, next starts, last runs, recipients."""
    with transaction() as connection:
        row = audiences.get(connection, audience_id)
        starts = _starts(row, audiences.clock(connection, None))
        waits = _waits(connection, row)
        last = runs.latest(connection, audience_id=audience_id, limit=LAST_RUNS)
    if as_json:
        output.show_json({**row, "next_starts": starts, "waits": waits, "last_runs": [dict(run) for run in last]})
        return
    output.show_facts(_facts(row, starts, waits))
    _show_runs(last)


@app.command()
def activate(
    audience_id: AudienceId,
    due_now: DueNow = False,
) -> None:
    """
    Refresh an audience daily from now on.

    Example: audience-worker audiences activate AUDIENCE_ID --due-now
    """
    with transaction() as connection:
        audiences.set_status(connection, audience_id, "active", due_now=due_now)
        row = audiences.get(connection, audience_id)
    if row["next_due_at"] is None:
        output.say("Active, but its daily refresh is switched off.")
    else:
        output.say(f"Active; next start {output.text(row['next_due_at'])}.")


@app.command()
def pause(audience_id: AudienceId, *, by: By) -> None:
    """Stop refreshing an audience and cancel its daily runs that wait; a running one completes without mails."""
    cancelled = manual.pause(audience_id, by=by)
    noun = "daily run that waited was" if cancelled == 1 else "daily runs that waited were"
    output.say(f"Paused; {cancelled or 'no'} {noun} cancelled.")


@contextmanager
def _options() -> Iterator[None]:
    """Let a refusal name the option that a field was given by."""
    try:
        yield
    except InvalidField as refused:
        raise Refusal(f"{OPTIONS.get(refused.field, refused.field)}: {refused.rule}") from None


def _definition(file: str) -> Any:
    """Read a config as JSON, from a file or standard input."""
    where = "standard input" if file == "-" else file
    try:
        raw = sys.stdin.buffer.read(MOST_BYTES + 1) if file == "-" else _beginning(Path(file))
    except OSError as error:
        raise Refusal(f"{where}: cannot be read ({error.strerror}).") from None
    if len(raw) > MOST_BYTES:
        raise Refusal(f"{where}: is longer than {MOST_BYTES:,} bytes.")
    try:
        return json.loads(raw.decode("utf-8-sig"), object_pairs_hook=_once_each)
    except (ValueError, RecursionError):
        raise Refusal(f"{where}: is not JSON.") from None


def _beginning(path: Path) -> bytes:
    """Read a file up to the first byte too many."""
    with path.open("rb") as file:
        return file.read(MOST_BYTES + 1)


def _once_each(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a key that is given twice: one of the two would be lost without a word."""
    keys = [key for key, _ in pairs]
    for key in keys:
        if keys.count(key) > 1:
            raise Refusal(f"{key[:80]!r}: must not be given twice in one object.")
    return dict(pairs)


def _starts(row: RowMapping, now: datetime) -> list[datetime]:
    """Return the next starts, the audience's own offset included; those it would have, where it is not active."""
    if not row["daily_refresh_enabled"]:
        return []
    offset = due.offset(row["id"], row["refresh_window_minutes"])
    slots = due.upcoming(row["refresh_cron"], row["timezone"], now, NEXT_STARTS)
    starts = {slot + offset for slot in slots} | ({row["next_due_at"]} - {None})
    return sorted(starts)[:NEXT_STARTS]


def _waits(connection: Connection, row: RowMapping) -> str | None:
    """Say what a due audience waits for."""
    if row["next_due_at"] is None or row["next_due_at"] > audiences.clock(connection, None):
        return None
    ready = loads.ready_date(connection)
    if ready is None:
        return "for a first ready date"
    if row["last_daily_date"] is not None and row["last_daily_date"] >= ready:
        return f"for intent data after {ready}"
    return "for the scheduler's next pass"


def _facts(row: RowMapping, starts: Sequence[datetime], waits: str | None) -> list[tuple[str, object]]:
    """Return what there is to say about an audience."""
    offset = due.offset(row["id"], row["refresh_window_minutes"])
    daily = "" if row["daily_refresh_enabled"] else ", switched off"
    schedule = f"{row['refresh_cron']} in {row['timezone']}, {_minutes(offset)} into a window of"
    return [
        ("id", row["id"]),
        ("organization", row["organization_id"]),
        ("name", row["name"]),
        ("status", row["status"]),
        ("size", row["audience_size"]),
        ("last refreshed", row["last_refreshed_at"]),
        ("last daily data date", row["last_daily_date"]),
        ("schedule", f"{schedule} {row['refresh_window_minutes']} minutes{daily}"),
        ("next starts" if row["status"] == "active" else "starts, were it active", _listed(starts)),
        ("waits", waits),
        ("recipients", _listed(row["notify_emails"])),
        ("also for manual runs", row["notify_on_manual"]),
        ("config hash", row["config_hash"]),
        ("config", _pretty(row["config"])),
    ]


def _show_runs(last: Sequence[RowMapping]) -> None:
    """Show an audience's last runs."""
    columns = ("id", "run_type", "data_date", "status", "result_count", "error_code", "finished_at")
    headings = ("run", "type", "data date", "status", "results", "error", "finished")
    output.show_table(headings, [[run[column] for column in columns] for run in last], title="last runs")


def _minutes(offset: timedelta) -> str:
    """Write an offset as minutes and seconds."""
    minutes, seconds = divmod(int(offset.total_seconds()), 60)
    return f"{minutes}:{seconds:02}"


def _listed(values: Sequence[object]) -> str | None:
    """Write values below each other."""
    return "\n".join(output.text(value) for value in values) or None


def _pretty(config: object) -> str:
    """Write a config for people."""
    return json.dumps(config, ensure_ascii=False, indent=2)
