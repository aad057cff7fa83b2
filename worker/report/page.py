"""
Draw a day: one HTML page that loads nothing, runs nothing, and works from a file.

Names come from customers, so everything is escaped; the page's own policy forbids whatever might slip through.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from importlib.metadata import version
from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined

from worker.report.day import SLOT_SECONDS, Day, Slot

OVER: Final = ("completed", "failed", "cancelled")
TYPES: Final = ("daily", "manual", "preview")
MAILS: Final = ("sent", "failed", "unknown", "skipped", "sending", "pending")
# What is there must be seen: the least height of a part, in percent of the chart's.
LEAST: Final = 1.5
NEARLY_ALL: Final = 0.99


@dataclass(frozen=True, slots=True)
class Part:
    """One status of a bar, as a rectangle in a chart of 100 high and a slot wide."""

    status: str
    top: float
    height: float


@dataclass(frozen=True, slots=True)
class Bar:
    """One slot of the chart: where it stands, what a pointer reads there, and its parts from the bottom up."""

    left: float
    says: str
    parts: Sequence[Part]


@dataclass(frozen=True, slots=True)
class Tile:
    """One number that is read first; ``state`` is ``good``, ``bad``, ``but`` where what is said beside it is bad, or empty."""

    title: str
    number: str
    says: str
    state: str = ""


def render(day: Day) -> str:
    """Return the page."""
    highest = max(sum(slot.runs.values()) for slot in day.slots)
    said = {
        "day": _day(day.day),
        "until": f"{_day(day.until.date())}, {day.until.astimezone(UTC):%H:%M}",
        "lasts": day.lasts,
        "tiles": list(_tiles(day)),
        "bars": [_bar(place, slot, highest) for place, slot in enumerate(day.slots)],
        "highest": highest,
        "types": [(kind, [_count(day.runs[kind, status]) for status in OVER]) for kind in TYPES],
        "under_way": _under_way(day),
        "notable": (("Slowest audiences", day.slowest), ("Largest audiences", day.largest)),
        "troubles": day.troubles,
        "mails": [(status, _count(day.mails[status])) for status in MAILS if day.mails[status]],
        "version": version("audience-worker"),
    }
    return _environment().get_template("page.html").render(said)


def _tiles(day: Day) -> Iterator[Tile]:
    """Say what is read first."""
    yield _fresh(day)
    totals = _totals(day)
    also = f"{_count(totals['failed'])} failed, {_count(totals['cancelled'])} cancelled"
    yield Tile("Runs completed", _count(totals["completed"]), also, "but" if totals["failed"] else "")
    if day.seconds is None:
        yield Tile("Half of the runs took", "-", "none was completed")
    else:
        half, most = day.seconds
        yield Tile("Half of the runs took", f"≤ {_seconds(half)}", f"95 of 100 took at most {_seconds(most)}")
    lost = f"{_count(day.mails['failed'])} failed, {_count(day.mails['unknown'])} unknown"
    some = day.mails["failed"] or day.mails["unknown"]
    yield Tile("Mails sent", _count(day.mails["sent"]), lost, "but" if some else "")


def _fresh(day: Day) -> Tile:
    """Say how fresh the audiences are; a share is never rounded up to all."""
    if day.ready is None:
        return Tile("Fresh audiences", "-", "no daily run" if not day.lasts else "no day of data is ready")
    if not day.active:
        return Tile("Fresh audiences", "-", "none is refreshed daily")
    share = day.fresh / day.active
    says = f"{_count(day.fresh)} of {_count(day.active)} have their run over the data of {_day(day.ready)}"
    # While the day lasts, the hour of many is still to come.
    below = "" if day.lasts else "bad"
    return Tile("Fresh audiences", f"{int(1000 * share) / 10:g} %", says, "good" if share >= NEARLY_ALL else below)


def _totals(day: Day) -> Mapping[str, int]:
    """Add the types up."""
    return {status: sum(day.runs[kind, status] for kind in TYPES) for status in OVER}


def _under_way(day: Day) -> str:
    """Say what is not over yet."""
    if not day.lasts:
        return ""
    return f"Under way now: {_count(day.under_way['queued'])} queued, {_count(day.under_way['running'])} running."


def _bar(place: int, slot: Slot, highest: int) -> Bar:
    """Stack what ended in a slot."""
    parts, top = [], 100.0
    for status in OVER:
        if slot.runs[status]:
            height = max(LEAST, 100 * slot.runs[status] / highest)
            top -= height
            parts.append(Part(status, round(top, 2), round(height, 2)))
    ends = slot.begins + timedelta(seconds=SLOT_SECONDS)
    counts = ", ".join(f"{_count(slot.runs[status])} {status}" for status in OVER if slot.runs[status])
    return Bar(place + 0.1, f"{slot.begins:%H:%M} to {ends:%H:%M}: {counts or 'none'}", parts)


def _count(number: int) -> str:
    """Spell a whole number."""
    return f"{number:,}"


def _seconds(seconds: float) -> str:
    """Spell a duration: tenths below ten seconds, minutes above two."""
    if seconds < 10:  # noqa: PLR2004 - see above
        return f"{seconds:.1f} s"
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.1f} min"  # noqa: PLR2004 - see above


def _day(day: date | datetime) -> str:
    """Spell a day, ``4 May 2026`` for example."""
    return f"{day.day} {day:%B %Y}"


@cache
def _environment() -> Environment:
    """Return the template; everything is escaped."""
    made = Environment(
        loader=PackageLoader("worker", "templates/report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters |= {"count": _count, "seconds": _seconds}
    return made
