"""Horizontal bars as SVG, readable on light and on dark ground."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

WIDTH: Final = 760
LABELS: Final = 250
ROOM: Final = 400
LINE: Final = 22
HEAD: Final = 34

STYLE: Final = """\
text { font: 13px system-ui, sans-serif; fill: #24292f; }
.title { font-weight: 600; }
.group { fill: #57606a; }
.label { text-anchor: end; }
.rival { fill: #afb8c1; }
.ours { fill: #0969da; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3; }
  .group { fill: #9198a1; }
  .rival { fill: #656c76; }
  .ours { fill: #4493f8; }
}"""


@dataclass(frozen=True, slots=True)
class Bar:
    """
    One measured figure.

    :param group: what it is compared within; bars of a group share a scale and stand together
    :param ours: whether it is the project's own
    """

    group: str
    label: str
    value: float
    ours: bool = False


def draw(title: str, unit: str, bars: Sequence[Bar]) -> str:
    """Draw bars in the order they come in, each group under its name."""
    lines = list(_lines(unit, bars))
    height = HEAD + LINE * len(lines) + LINE // 2
    body = "\n".join(line.format(y=HEAD + LINE * place) for place, line in enumerate(lines))
    return f"""\
<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" role="img">
<title>{escape(title)}</title>
<style>
{STYLE}
</style>
<text class="title" x="8" y="20">{escape(title)}</text>
{body}
</svg>
"""


def _lines(unit: str, bars: Sequence[Bar]) -> Iterator[str]:
    """Write each line of the picture, its height left open."""
    group = None
    for bar in bars:
        if bar.group != group:
            group = bar.group
            longest = max(one.value for one in bars if one.group == group) or 1
            yield _line(f'<text class="group" x="8" y="14">{_braced(group)}</text>')
        length = max(1, round(ROOM * bar.value / longest))
        kind = "ours" if bar.ours else "rival"
        yield _line(
            f'<text class="label" x="{LABELS}" y="14">{_braced(bar.label)}</text>'
            f'<rect class="{kind}" x="{LABELS + 10}" y="3" width="{length}" height="14" rx="2"/>'
            f'<text x="{LABELS + 16 + length}" y="14">{_figure(bar.value)} {_braced(unit)}</text>'
        )


def _line(content: str) -> str:
    """Put something on a line of its own."""
    return f'<g transform="translate(0 {{y}})">{content}</g>'


def _braced(text: str) -> str:
    """Escape a text for XML, and for the formatting that comes later."""
    return escape(text).replace("{", "{{").replace("}", "}}")


def _figure(value: float) -> str:
    """Write a value with three digits that mean something."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"  # noqa: PLR2004 - three digits
