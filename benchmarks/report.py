"""
What a benchmark has measured: printed as tables, kept in docs/benchmarks.md between markers, drawn as SVG.

A section replaces itself and leaves the others alone. Figures are medians with the least and the largest beside them;
what is compared was measured in the same run.
"""

import argparse
import os
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import psutil

from benchmarks import plot

DOCS: Final = Path(__file__).parent.parent / "docs"
HEAD: Final = "# Benchmarks\n"


@dataclass(frozen=True, slots=True)
class Spread:
    """The median, the least and the largest of what was measured; in the unit it was measured in."""

    median: float
    low: float
    high: float

    def cells(self, scale: float = 1) -> list[str]:
        """Write the three as cells."""
        return [written(value * scale) for value in (self.median, self.low, self.high)]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of text under their columns, with a word on top where there are several tables."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """
    One benchmark's part of the page.

    :param name: names its markers and its picture
    :param lead: what was measured, how, and what to think of when reading it
    :param sizes: what was asked for, in words
    :param unit: of the bars
    """

    name: str
    title: str
    lead: str
    sizes: str
    tables: Sequence[Table]
    bars: Sequence[plot.Bar] = ()
    unit: str = ""

    def publish(self, docs: Path) -> None:
        """Print the tables, and put the section and its picture into the documents of a folder."""
        print(self._printed())
        images = docs / "images"
        images.mkdir(parents=True, exist_ok=True)
        (images / self._image).write_text(plot.draw(self.title, self.unit, self.bars), encoding="utf-8")
        page = docs / "benchmarks.md"
        before = page.read_text(encoding="utf-8") if page.exists() else HEAD
        page.write_text(replaced(before, self.name, self._text()), encoding="utf-8")

    @property
    def _image(self) -> str:
        return f"benchmark-{self.name}.svg"

    def _printed(self) -> str:
        """Write the section for a terminal."""
        return "\n\n".join([f"{self.title}\n{self.sizes}; {_machine()}", *map(_aligned, self.tables)])

    def _text(self) -> str:
        """Write the section as Markdown."""
        measured = f"Measured on {datetime.now(UTC).date()} on {_machine()}: {self.sizes}."
        tables = [_markdown(table) for table in self.tables]
        picture = f"![{self.title}](images/{self._image})"
        return "\n\n".join([f"## {self.title}", self.lead.strip(), measured, *tables, picture])


def spread(values: Sequence[float]) -> Spread:
    """Sum up what was measured several times."""
    return Spread(statistics.median(values), min(values), max(values))


def written(value: float) -> str:
    """Write a figure with as many places as mean something."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"  # noqa: PLR2004


def times(rival: float, ours: float) -> str:
    """Write how many times faster ours is than a rival, both in the same unit of time."""
    return f"{rival / ours:.2f}" if ours else "-"


def replaced(page: str, name: str, section: str) -> str:
    """Put a section between its markers, which are added at the end where they are missing."""
    begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->\n"
    if begin not in page:
        page = f"{page.rstrip()}\n\n{begin}{end}"
    before, _, rest = page.partition(begin)
    return f"{before}{begin}{section.rstrip()}\n{end}{rest.partition(end)[2]}"


def parser(description: str) -> argparse.ArgumentParser:
    """Begin a command line: every benchmark says where its section goes."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    made.add_argument("--docs", type=Path, default=DOCS, help="folder of benchmarks.md and images/")
    return made


def whole(text: str) -> int:
    """Read a number of at least 1 from the command line."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


def millions(text: str) -> float:
    """Read a number of millions above zero from the command line."""
    number = float(text)
    if number <= 0:
        raise argparse.ArgumentTypeError("must be more than 0")
    return number


def _machine() -> str:
    """Say what it was measured on."""
    return f"{os.cpu_count()} cores and {psutil.virtual_memory().total / 2**30:.0f} GB of memory"


def _aligned(table: Table) -> str:
    """Write a table for a terminal: the first columns to the left, figures to the right."""
    lines = [list(table.columns), *(list(row) for row in table.rows)]
    widths = [max(len(line[place]) for line in lines) for place in range(len(table.columns))]
    text = [
        "  ".join(_cell(value, width) for value, width in zip(line, widths, strict=True)).rstrip() for line in lines
    ]
    return "\n".join([*([table.caption] if table.caption else []), *text])


def _cell(value: str, width: int) -> str:
    """Put words to the left and figures to the right."""
    return value.rjust(width) if value[:1].isdigit() else value.ljust(width)


def _markdown(table: Table) -> str:
    """Write a table as Markdown."""
    lines = [table.columns, ["---"] * len(table.columns), *table.rows]
    text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"{table.caption}\n\n{text}" if table.caption else text
