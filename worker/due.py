"""
When an audience is due: cron + zone -> slots, and the audience's own offset behind each slot.

A *slot* is a moment its cron names; the audience is *due* its offset later. Cron speaks of wall-clock times, and
twice a year a wall clock skips or repeats some:

    ==========================  ============================  ==========================
    the hour field              a time that does not exist    a time that exists twice
    ==========================  ============================  ==========================
    ``6``, ``1,13``, ``0-23``   once, right after the gap     once, at the first pass
    ``*/2``, ``*/6``            once, right after the gap     on both passes
    ``*``, ``*/1``              skipped: the next hour comes  on both passes
    ==========================  ============================  ==========================

croniter knows no such rules, and its own end in errors around a half-hour fold (Lord Howe). So it only lists wall-clock
times here, and this module alone places them in time. Zones are read from the ``tzdata`` package and never from the
machine, so that two images of one release always agree.
"""

import hashlib
import re
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from importlib import resources
from itertools import islice
from typing import NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

from croniter import croniter

from worker import errors

# No two 29ths of February lie further apart (1896 to 1904, 2096 to 2104).
_YEARS_BETWEEN_SLOTS = 8

# Whether a cron ever fires must not depend on the day it is saved, nor any answer on a clock.
_FIRST_DAY = date(2024, 1, 1)

_NAME = "jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec|sun|mon|tue|wed|thu|fri|sat"
_VALUE = rf"(?:\d{{1,2}}|{_NAME})"
_ITEM = rf"(?:\*|{_VALUE}(?:-{_VALUE})?)(?:/\d{{1,2}})?"
_FIELD = re.compile(rf"{_ITEM}(?:,{_ITEM})*", re.ASCII | re.IGNORECASE)
# croniter reads 5-5 as every value; nobody who writes it means that.
_EMPTY_RANGE = re.compile(r"\b(\w+)-\1\b", re.ASCII | re.IGNORECASE)


class _Rule(NamedTuple):
    """What the hour field says about times that exist twice, and about those that do not exist."""

    both_passes: bool
    skips_gaps: bool


def check(cron: str, zone: str) -> None:
    """
    Refuse a schedule that cannot work.

    :param cron: five fields of numbers, names of months and weekdays, and ``* , - /``; nothing else
    :param zone: IANA name, ``Europe/Berlin`` for example
    :raises errors.InvalidField: names ``refresh_cron`` or ``timezone``, and the rule that it breaks
    """
    _rule(cron)
    place(zone)


def next_slot(cron: str, zone: str, after: datetime) -> datetime:
    """
    Find the first slot strictly after a moment.

    :param after: aware, in any zone
    :returns: aware UTC
    :raises errors.InvalidField: as :func:`check`
    """
    return next(_slots(cron, zone, after))


def upcoming(cron: str, zone: str, after: datetime, count: int = 5) -> list[datetime]:
    """List the next slots strictly after a moment, in order, aware UTC."""
    return list(islice(_slots(cron, zone, after), count))


def offset(audience_id: UUID, window_minutes: int) -> timedelta:
    """
    Tell how long after its slots an audience is due: the same on every machine, for ever.

    :param window_minutes: 0 or more
    :returns: whole seconds, spread evenly over [0, window); a wider window keeps the audiences' order
    """
    digest = hashlib.sha256(audience_id.bytes).digest()
    return timedelta(seconds=int.from_bytes(digest[:8]) * window_minutes * 60 >> 64)


@lru_cache(maxsize=1024)
def place(zone: str) -> ZoneInfo:
    """
    Look up a zone in the ``tzdata`` package.

    :raises errors.InvalidField: there is no such zone
    """
    if zone not in zones():
        raise errors.InvalidField("timezone", "must be the name of an IANA time zone, such as Europe/Berlin.")
    with resources.files("tzdata").joinpath("zoneinfo", *zone.split("/")).open("rb") as compiled:
        return ZoneInfo.from_file(compiled, key=zone)


@lru_cache(maxsize=1)
def zones() -> frozenset[str]:
    """Name the zones there are."""
    names = resources.files("tzdata").joinpath("zones").read_text(encoding="ascii").split()
    return frozenset(names) - {"Factory"}


@lru_cache(maxsize=1024)
def _rule(cron: str) -> _Rule:
    fields = [field for field in cron.split(" ") if field]
    if len(fields) != 5:  # noqa: PLR2004  (the five are named in the sentence below)
        raise _refused("must have exactly five fields: minute, hour, day of month, month, day of week.")
    if not all(_FIELD.fullmatch(field) for field in fields):
        raise _refused("may hold only numbers, names of months and weekdays, and the signs * , - /.")
    if _EMPTY_RANGE.search(cron):
        raise _refused("must not hold a range whose two ends are the same.")
    _check_fires(cron)
    every_hour = "*" in croniter.expand(cron)[0][1]
    starred = fields[1].startswith("*")
    return _Rule(both_passes=starred, skips_gaps=starred and every_hour)


def _check_fires(cron: str) -> None:
    try:
        croniter.expand(cron)
    except ValueError as error:
        raise _refused("must keep every field within its own values: 0-59, 0-23, 1-31, 1-12, 0-7.") from error
    try:
        _day(cron, _FIRST_DAY)
    except ValueError as error:
        raise _refused("must name a date that exists.") from error


def _refused(rule: str) -> errors.InvalidField:
    return errors.InvalidField("refresh_cron", rule)


def _slots(cron: str, zone: str, after: datetime) -> Iterator[datetime]:
    """Yield the slots strictly after a moment, each once, in order."""
    if after.tzinfo is None:
        raise ValueError("after must be an aware datetime")
    rule, last = _rule(cron), after.astimezone(UTC)
    wall = after.astimezone(place(zone))
    one, other = _readings(wall)
    # In a fold, second passes may lie ahead whose first passes lie behind: start from before it.
    start = (wall - abs(one - other)).replace(tzinfo=None)
    for slot in _placed(_walls(cron, start), place(zone), rule):
        if slot > last:
            yield slot
            last = slot


def _placed(walls: Iterator[datetime], here: ZoneInfo, rule: _Rule) -> Iterator[datetime]:
    """Place wall-clock times in time, in order; those that one gap skips all come out as its end."""
    second_passes: deque[datetime] = deque()
    for wall in walls:
        local = wall.replace(tzinfo=here)
        first, second = _readings(local)
        skipped, repeated = first < second, first > second
        instant = _gap_end(local) if skipped else local.astimezone(UTC)
        while second_passes and second_passes[0] < instant:
            yield second_passes.popleft()
        if repeated and rule.both_passes:
            second_passes.append(local.replace(fold=1).astimezone(UTC))
        if not (skipped and rule.skips_gaps):
            yield instant


def _readings(local: datetime) -> tuple[timedelta, timedelta]:
    """
    Read a wall-clock time's offset by its own fold and by the other; they agree but for times within a change.

    By fold 0 the first is the smaller for a time that does not exist, the greater for one that exists twice.
    """
    return _offset(local), _offset(local.replace(fold=1 - local.fold))


def _offset(local: datetime) -> timedelta:
    return local.utcoffset() or timedelta()


def _gap_end(local: datetime) -> datetime:
    """Find the moment at which the clocks jumped over a time that does not exist."""
    # Python reads such a time by the offset before the gap for fold 0, which gives a moment after it.
    early, late = local.replace(fold=1).astimezone(UTC), local.replace(fold=0).astimezone(UTC)
    before = _offset(early.astimezone(local.tzinfo))

    def jumped(seconds: int) -> bool:
        return _offset((early + timedelta(seconds=seconds)).astimezone(local.tzinfo)) != before

    width = range(int((late - early).total_seconds()))
    return early + timedelta(seconds=bisect_left(width, True, key=jumped))


def _walls(cron: str, after: datetime) -> Iterator[datetime]:
    """Yield the wall-clock times strictly after a naive one."""
    times = _day(cron, after.date())
    yield from times[bisect_right(times, after) :]
    while True:
        times = _day(cron, times[-1].date() + timedelta(days=1))
        yield from times


@lru_cache(maxsize=256)
def _day(cron: str, start: date) -> tuple[datetime, ...]:
    """List the wall-clock times of the first day from ``start`` on that has any; naive, so that no zone meddles."""
    midnight = datetime.combine(start, time())
    steps = croniter(
        cron, midnight - timedelta(seconds=1), ret_type=datetime, max_years_between_matches=_YEARS_BETWEEN_SLOTS
    )
    times: list[datetime] = [steps.get_next()]
    tomorrow = datetime.combine(times[0].date() + timedelta(days=1), time())
    while (following := steps.get_next()) < tomorrow:
        times.append(following)
    return tuple(times)
