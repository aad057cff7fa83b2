"""How commands speak: sentences, tables, JSON, progress, and the exit codes behind them."""

import dataclasses
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from enum import IntEnum
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TransferSpeedColumn
from rich.table import Table
from rich.text import Text

WIDEST = 2_000
"""Columns of the widest table: an id that is cut is of no use, so a narrow terminal wraps the line instead."""


class ExitCode(IntEnum):
    """What a command's exit code says."""

    DONE = 0
    FAILED = 1
    REFUSED = 2
    INTERRUPTED = 130


def say(sentence: str) -> None:
    """Print a line."""
    print(sentence)


def complain(sentence: str) -> None:
    """Print a line to standard error."""
    print(sentence, file=sys.stderr)


def show_json(value: object) -> None:
    """Print a value as JSON: dataclasses as objects, days and times in ISO 8601, anything else as text."""
    print(json.dumps(value, default=_plain, ensure_ascii=False, indent=2))


def show_table(headings: Sequence[str], rows: Iterable[Sequence[object]], *, title: str | None = None) -> None:
    """
    Print a table; numbers stand to the right, None is a dash, and no cell is read as markup.

    :param headings: one a column
    :param rows: one cell a heading
    """
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    cells = [list(row) for row in rows]
    for position, heading in enumerate(headings):
        numeric = bool(cells) and all(_is_number(row[position]) for row in cells)
        table.add_column(heading, justify="right" if numeric else "left")
    for row in cells:
        table.add_row(*(Text(text(cell)) for cell in row))
    console(width=WIDEST).print(table)


def show_facts(facts: Iterable[tuple[str, object]]) -> None:
    """
    Print what there is to say about one thing, a fact a line; a value of several lines stands beside its name.

    :param facts: name and value
    """
    told = [(name, line) for name, value in facts for line in (text(value).splitlines() or [""])]
    width = max(len(name) for name, _ in told)
    before = None
    for name, line in told:
        say(f"{'' if name == before else name:{width}}  {line}".rstrip())
        before = name


def text(cell: object) -> str:
    """Write one value for people."""
    if cell is None:
        return "-"
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, datetime):
        return cell.isoformat(sep=" ", timespec="seconds")
    return f"{cell:,}" if isinstance(cell, int) else str(cell)


def console(*, width: int | None = None) -> Console:
    """Return a console on standard output as it is now, as wide as it says unless told otherwise."""
    return Console(markup=False, emoji=False, highlight=False, width=width)


@contextmanager
def transfers() -> Iterator[Callable[[Path, int, int], None]]:
    """
    Show files on their way: bars in a terminal, a line a file elsewhere.

    :returns: what to call with a file, its bytes sent and its bytes
    """
    if sys.stderr.isatty():
        with _bars() as progress:
            yield _moving(progress)
    else:
        yield _once_sent()


def _bars() -> Progress:
    """Return bars that tell bytes and speed, on standard error."""
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    return Progress(*columns, console=Console(stderr=True, markup=False, emoji=False))


def _moving(progress: Progress) -> Callable[[Path, int, int], None]:
    """Return what moves the bar of a file."""
    bars: dict[Path, TaskID] = {}

    def move(path: Path, sent: int, size: int) -> None:
        if path not in bars:
            bars[path] = progress.add_task(path.name, total=size)
        progress.update(bars[path], completed=sent)

    return move


def _once_sent() -> Callable[[Path, int, int], None]:
    """Return what prints a line when a file has been sent."""
    done: set[Path] = set()

    def tell(path: Path, sent: int, size: int) -> None:
        if sent >= size and path not in done:
            done.add(path)
            complain(f"{path.name}: {decimal(size)} sent")

    return tell


def _is_number(cell: object) -> bool:
    """Whether a cell belongs to a column of numbers."""
    return cell is None or (isinstance(cell, int | float) and not isinstance(cell, bool))


def _plain(value: object) -> Any:
    """Turn what JSON does not know into what it does."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    return value.isoformat() if isinstance(value, date) else str(value)
