"""``audience-worker workers``: who was seen looking for work."""

from typing import Annotated, Literal

import typer

from cli import output
from cli.arguments import AsJson
from worker import audiences, presence
from worker.database import transaction

app = typer.Typer(
    no_args_is_help=True,
    help="Look at workers. To take one out, stop its process (SIGTERM), or: celery -A worker.app control shutdown"
    " --destination NAME",
)

DAY_SECONDS = 86_400


@app.command("list")
def list_(
    lane: Annotated[
        Literal["manual", "daily", "announce"] | None, typer.Option("--lane", help="Only those of this queue.")
    ] = None,
    seconds: Annotated[
        int, typer.Option("--within", metavar="SECONDS", min=1, help="Only those seen so lately.")
    ] = DAY_SECONDS,
    as_json: AsJson = False,
) -> None:
    """
    List workers: name as Flower shows it, lane, version, since when it is known, last sign of life.

    A sign of life is a look for work, so an idle worker gives one only when a bell reaches it. Workers of control look
    for none; doctor tells how they are by their ticks.
    """
    with transaction() as connection:
        now = audiences.clock(connection, None)
        rows = presence.alive(connection, within_seconds=seconds)
    rows = [row for row in rows if lane in {None, row["lane"]}]
    if as_json:
        output.show_json([dict(row) for row in rows])
        return
    columns = ("name", "lane", "version", "started_at", "last_claim_at")
    cells = [[*(row[name] for name in columns), round((now - row["last_claim_at"]).total_seconds())] for row in rows]
    output.show_table(("worker", "lane", "version", "since", "last seen", "seconds ago"), cells)
