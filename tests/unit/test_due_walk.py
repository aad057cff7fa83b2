"""
Slots against a walk over every UTC minute of 2025 and 2026, in every zone.

The walk shares no code with ``worker.due``: it reads a clock once a minute, marks the minutes at which the clock shows
a time that the schedule names, and then applies the rules for times that a zone's clock skips or shows twice.

Zones that show the same time at every minute are walked once, and their slots are asked for once per distinct picture
of a day: its date, and every offset in force from the day before to two days after.
"""

import zoneinfo
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib import metadata, resources
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest

from worker import due

Minutes = npt.NDArray[np.int64]
Changes = tuple[tuple[int, int], ...]  # (minute, offset in minutes from then on), the first at minute 0

EPOCH = datetime(2024, 12, 30, tzinfo=UTC)
DAY = 24 * 60
FIRST, LAST = 2 * DAY, (2 + 365 + 365) * DAY  # 2025 and 2026, counted in minutes from EPOCH
END = LAST + 2 * DAY
MINUTES_BETWEEN_READINGS = 180

DAILY = {"30 0 * * *": 30, "30 1 * * *": 90, "30 2 * * *": 150}
HOURLY = {"0 * * * *": {0}, "30 * * * *": {30}, "*/20 * * * *": {0, 20, 40}}


@cache
def moments() -> list[datetime]:
    return [EPOCH + timedelta(minutes=minute) for minute in range(END)]


def offset_at(zone: zoneinfo.ZoneInfo, minute: int) -> int:
    shift = moments()[minute].astimezone(zone).utcoffset()
    assert shift is not None
    assert shift % timedelta(minutes=1) == timedelta(0)
    return shift // timedelta(minutes=1)


def changes_of(zone: zoneinfo.ZoneInfo) -> Changes:
    """Read the clock every three hours, and close in on the minute wherever two readings differ."""
    readings = range(0, END, MINUTES_BETWEEN_READINGS)
    shifts = [moments()[minute].astimezone(zone).utcoffset() for minute in readings]
    found = [(0, offset_at(zone, 0))]
    for (early, before), (late, after) in pairwise(zip(readings, shifts, strict=True)):
        if before != after:
            minute = next(m for m in range(early, late + 1) if offset_at(zone, m) != found[-1][1])
            found.append((minute, offset_at(zone, minute)))
    return tuple(found)


def compiled_zones() -> dict[bytes, str]:
    """Every distinct compiled zone of the package, with one of its names."""
    folder = resources.files("tzdata").joinpath("zoneinfo")
    names = sorted(zoneinfo.available_timezones() - {"Factory"})
    return {folder.joinpath(*name.split("/")).read_bytes(): name for name in names}


@pytest.fixture(scope="module")
def histories() -> Iterator[dict[Changes, str]]:
    """Every distinct clock of the two years, with one zone that keeps it, from the tzdata package alone."""
    former = zoneinfo.TZPATH
    zoneinfo.reset_tzpath(())
    try:
        yield {changes_of(zoneinfo.ZoneInfo.no_cache(name)): name for name in compiled_zones().values()}
    finally:
        zoneinfo.reset_tzpath(former)


def clock(changes: Changes) -> Minutes:
    """Return what the wall clock shows at every minute, in minutes since EPOCH's date."""
    starts = [minute for minute, _ in changes] + [END]
    lengths = [late - early for early, late in pairwise(starts)]
    walls: Minutes = np.arange(END) + np.repeat([shift for _, shift in changes], lengths)
    return walls


def walk_daily(walls: Minutes, minute_of_day: int) -> Minutes:
    """Fire when the clock shows the time for the first time, and when it has just jumped over it."""
    shown_before = np.concatenate([[walls[0] - 1], np.maximum.accumulate(walls[:-1])])
    fires = (walls % DAY == minute_of_day) & (walls > shown_before)
    for minute in np.flatnonzero(np.diff(walls) > 1) + 1:
        skipped = np.arange(walls[minute - 1] + 1, walls[minute])
        fires[minute] |= bool((skipped % DAY == minute_of_day).any())
    return np.flatnonzero(fires)


def walk_hourly(walls: Minutes, minutes_of_hour: set[int]) -> Minutes:
    """Fire whenever the clock shows one of the minutes."""
    return np.flatnonzero(np.isin(walls % 60, sorted(minutes_of_hour)))


def picture(changes: Changes, start: int) -> Changes:
    """Return the offsets in force from the day before a UTC day to two days after it."""
    early, late = start - DAY, start + 3 * DAY
    ruling = max(change for change in changes if change[0] <= early)
    return ((early, ruling[1]), *(change for change in changes if early < change[0] < late))


def test_the_zones_are_those_of_the_package(histories: dict[Changes, str]) -> None:
    """Enough distinct clocks are found, with the odd ones among them."""
    skips = {minutes for changes in histories for (_, a), (_, b) in pairwise(changes) for minutes in [abs(a - b)]}

    assert metadata.version("tzdata") >= "2026"
    assert len(histories) > 60, len(histories)
    assert {30, 60, 120} <= skips


def compare(cron: str, walked: dict[Changes, Minutes], zones: dict[Changes, str]) -> None:
    """Hold the walk against the slots, day by day, each list up to the first slot of the days that follow."""
    for start in range(FIRST, LAST, DAY):
        before = moments()[start] - timedelta(microseconds=1)
        for changes in {picture(changes, start): changes for changes in zones}.values():
            low, high = np.searchsorted(walked[changes], [start, start + DAY])
            expected = [moments()[minute] for minute in walked[changes][low : high + 1].tolist()]

            assert expected == due.upcoming(cron, zones[changes], before, len(expected)), zones[changes]


@pytest.mark.parametrize("cron", DAILY)
def test_a_daily_schedule_fires_as_a_walk_over_every_minute_says(cron: str, histories: dict[Changes, str]) -> None:
    """Once a day in every zone: after the gap where the time is skipped, at the first pass where it comes twice."""
    walked = {changes: walk_daily(clock(changes), DAILY[cron]) for changes in histories}

    compare(cron, walked, histories)


@pytest.mark.parametrize("cron", HOURLY)
def test_an_hourly_schedule_fires_as_a_walk_over_every_minute_says(cron: str, histories: dict[Changes, str]) -> None:
    """Whenever the clock of any zone shows the minute, on both passes where it shows it twice."""
    walked = {changes: walk_hourly(clock(changes), HOURLY[cron]) for changes in histories}

    compare(cron, walked, histories)
