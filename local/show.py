"""What the demo prints: progress and a live table in a terminal, plain lines anywhere else."""

import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Final, Protocol

from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from local.board import Line

NUMBERS: Final = ("candidates", "results", "seconds", "CSV rows", "mails")
HEADINGS: Final = ("organization", "audience", "zone", "run", *NUMBERS)
# What a narrow terminal does without, in this order.
SPARE: Final = ("zone", "seconds", "organization")
STATES: Final = ("completed", "running", "queued", "waiting", "failed", "cancelled")
COLOURS: Final = {"running": "cyan", "failed": "red", "completed": "green", "cancelled": "red", "waiting": "dim"}


class Counted(Protocol):
    """Told how far something countable is."""

    def __call__(self, what: str, done: int, total: int) -> None:
        """Show that so many of so many are done."""


class Shown(Protocol):
    """How the demo speaks."""

    def say(self, sentence: str) -> None:
        """Print a line."""

    def step(self, doing: str) -> AbstractContextManager[Counted]:
        """Say what is being done, how far it is, and how long it took."""

    def board(self) -> AbstractContextManager["Board"]:
        """Show how the audiences get on."""


class Board(Protocol):
    """Told how the audiences stand, again and again."""

    def __call__(self, lines: Sequence[Line], seconds: float) -> None:
        """Show them, and the seconds since the workers were started."""


def chosen() -> Shown:
    """Return the way that suits standard output."""
    return Terminal() if sys.stdout.isatty() else Plain()


class Plain:
    """A line a change."""

    def say(self, sentence: str) -> None:
        """Print a line, at once."""
        print(sentence, flush=True)

    @contextmanager
    def step(self, doing: str) -> Iterator[Counted]:
        """Print a line at the start, one a quarter, and one at the end."""
        told: dict[str, int] = {}
        started = time.monotonic()
        self.say(doing)

        def count(what: str, done: int, total: int) -> None:
            quarter = 4 * done // max(1, total)
            if quarter > told.get(what, 0):
                self.say(f"  {what}: {done:,} of {total:,}")
            told[what] = quarter

        yield count
        self.say(f"  done in {time.monotonic() - started:.1f} s")

    @contextmanager
    def board(self) -> Iterator[Board]:
        """Print a line whenever an audience stands differently."""
        told: dict[int, str] = {}

        def update(lines: Sequence[Line], seconds: float) -> None:
            for number, line in enumerate(lines):
                sentence = _sentence(line)
                if sentence != told.get(number, "waiting"):
                    self.say(f"{seconds:6.1f} s  {line.definition.organization}, {line.definition.name}: {sentence}")
                told[number] = sentence

        yield update


class Terminal:
    """Bars, and a table that is drawn again and again."""

    def __init__(self) -> None:
        self.console = Console(markup=False, emoji=False, highlight=False)

    def say(self, sentence: str) -> None:
        """Print a line."""
        self.console.print(Text(sentence))

    @contextmanager
    def step(self, doing: str) -> Iterator[Counted]:
        """Draw a bar a thing, and leave one line."""
        bars: dict[str, TaskID] = {}
        started = time.monotonic()
        name, number = TextColumn("{task.description}", markup=False), TextColumn("{task.fields[number]}")
        columns = (SpinnerColumn(), name, BarColumn(bar_width=24), number, TimeElapsedColumn())
        with Progress(*columns, console=self.console, transient=True) as progress:
            progress.add_task(doing, total=None, number="")

            def count(what: str, done: int, total: int) -> None:
                if what not in bars:
                    bars[what] = progress.add_task(f"  {what}", total=total, number="")
                progress.update(bars[what], completed=done, number=f"{done:,} of {total:,}")

            yield count
        self.say(f"{doing}: {time.monotonic() - started:.1f} s")

    @contextmanager
    def board(self) -> Iterator[Board]:
        """Draw the table in place, and leave it as it stands at the end."""
        with Live(console=self.console, auto_refresh=False, transient=True) as live:
            last: list[Group] = []

            def update(lines: Sequence[Line], seconds: float) -> None:
                last[:] = [table(lines, seconds, self.console.width)]
                live.update(last[0], refresh=True)

            try:
                yield update
            finally:
                # A live table is cut to the height of the terminal; the last one is not.
                live.update(Text(""))
        self.console.print(*last)


def table(lines: Sequence[Line], seconds: float, width: int) -> Group:
    """
    Draw every audience as it stands.

    :param width: columns of the terminal
    """
    rows = [dict(zip(HEADINGS, _cells(line), strict=True)) for line in lines]
    headings = _fitting(rows, width)
    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in headings:
        drawn.add_column(heading, justify="right" if heading in NUMBERS else "left", no_wrap=True)
    for line, row in zip(lines, rows, strict=True):
        drawn.add_row(*(_state(line) if heading == "run" else Text(row[heading]) for heading in headings))
    return Group(_heading(lines, seconds), drawn)


def _fitting(rows: Sequence[Mapping[str, str]], width: int) -> list[str]:
    """Leave out what does not fit."""
    headings = list(HEADINGS)
    for spare in SPARE:
        if sum(2 + max(len(heading), *(len(row[heading]) for row in rows)) for heading in headings) > width:
            headings.remove(spare)
    return headings


def _cells(line: Line) -> tuple[str, ...]:
    """Write one audience down; what is not known yet is a dash."""
    known = line.state == "completed"
    return (
        line.definition.organization,
        line.definition.name,
        line.definition.timezone,
        line.state,
        f"{line.candidates:,}" if known else "-",
        f"{line.results:,}" if known else "-",
        "-" if line.seconds is None else f"{line.seconds:.2f}",
        "-" if line.csv_rows is None else f"{line.csv_rows:,}",
        f"{line.delivered}/{len(line.definition.recipients)}",
    )


def _state(line: Line) -> Text:
    """Write a run's state in its colour; bold once the mails have arrived too."""
    return Text(line.state, style=f"{'bold ' if line.done else ''}{COLOURS.get(line.state, '')}".strip())


def _heading(lines: Sequence[Line], seconds: float) -> Text:
    """Count the audiences by the state of their runs."""
    counts = Counter(line.state for line in lines)
    said = ", ".join(f"{counts[state]} {state}" for state in STATES if counts[state])
    delivered, wanted = sum(line.delivered for line in lines), sum(len(it.definition.recipients) for it in lines)
    done = sum(line.done for line in lines)
    return Text(
        f"{done} of {len(lines)} audiences done: {said}; {delivered} of {wanted} mails delivered; {seconds:.0f} s",
        style="bold",
    )


def _sentence(line: Line) -> str:
    """Say how one audience stands."""
    _, _, _, _, candidates, results, seconds, csv_rows, _ = _cells(line)
    if line.done:
        return f"done: {csv_rows} rows as CSV, {line.delivered} of {len(line.definition.recipients)} mails delivered"
    told = (
        f"completed: {results} of {candidates} candidates in {seconds} s" if line.state == "completed" else line.state
    )
    return f"{told}; {line.error}" if line.error else told
