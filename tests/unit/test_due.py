"""Slots and offsets, by example and by property; ``test_due_walk`` holds the slots against every minute."""

import zoneinfo
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib import resources
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker import due

CRONS = st.sampled_from(
    [
        "0 6 * * *",
        "30 2 * * *",
        "30 1 * * *",
        "*/5 * * * *",
        "30 */2 * * *",
        "0 0 1 * *",
        "15 3 * * mon-fri",
        "0 0 29 2 *",
    ]
)
ZONES = st.sampled_from(
    ["UTC", "America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "Africa/Casablanca", "Antarctica/Troll"]
)
MOMENTS = st.integers(0, 6 * 365 * 86_400).map(
    lambda seconds: datetime(2024, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
)
WINDOWS = st.integers(min_value=1, max_value=24 * 60)


# A busy machine is no finding.
UNTIMED = settings(deadline=None)


def at(text: str) -> datetime:
    """A moment, from 2025-03-09T07:00Z for example."""
    return datetime.fromisoformat(text).astimezone(UTC)


def slots(cron: str, zone: str, after: str, count: int) -> list[str]:
    """The slots after a moment as one reads them on the zone's clock."""
    here = due.place(zone)
    return [f"{slot.astimezone(here):%m-%d %H:%M%z}" for slot in due.upcoming(cron, zone, at(after), count)]


@pytest.mark.parametrize(
    ("cron", "zone", "after", "expected"),
    [
        ("0 6 * * *", "UTC", "2025-01-01T05:59:59.999999Z", ["01-01 06:00+0000", "01-02 06:00+0000"]),
        ("0 6 * * *", "UTC", "2025-01-01T06:00Z", ["01-02 06:00+0000", "01-03 06:00+0000"]),
        ("0 6 * * mon", "Asia/Kathmandu", "2025-01-01T00:00Z", ["01-06 06:00+0545", "01-13 06:00+0545"]),
        ("0 0 29 2 *", "UTC", "2025-01-01T00:00Z", ["02-29 00:00+0000", "02-29 00:00+0000"]),
        ("0 22-1 * * *", "UTC", "2025-01-01T00:00Z", ["01-01 01:00+0000", "01-01 22:00+0000"]),
    ],
)
def test_slots_follow_the_cron_in_its_zone(cron: str, zone: str, after: str, expected: list[str]) -> None:
    """Strictly after the moment, by the zone's own clock."""
    assert expected == slots(cron, zone, after, 2)


@pytest.mark.parametrize(
    ("cron", "zone", "after", "expected"),
    [
        ("30 2 * * *", "America/New_York", "2025-03-08T12:00Z", ["03-09 03:00-0400", "03-10 02:30-0400"]),
        ("30 2 * * *", "Europe/Berlin", "2025-03-29T12:00Z", ["03-30 03:00+0200", "03-31 02:30+0200"]),
        ("15 2 * * *", "Australia/Lord_Howe", "2025-10-04T12:00Z", ["10-05 02:30+1100", "10-06 02:15+1100"]),
        ("30 2 * * *", "Africa/Casablanca", "2025-04-05T12:00Z", ["04-06 03:00+0100", "04-07 02:30+0100"]),
        ("30 0 * * *", "America/Sao_Paulo", "2018-11-03T12:00Z", ["11-04 01:00-0200", "11-05 00:30-0200"]),
        ("0,20,40 2 * * *", "Europe/Berlin", "2025-03-29T12:00Z", ["03-30 03:00+0200", "03-31 02:00+0200"]),
        ("30 2,3 * * *", "Europe/Berlin", "2025-03-29T12:00Z", ["03-30 03:00+0200", "03-30 03:30+0200"]),
        ("0 */2 * * *", "Europe/Berlin", "2025-03-30T00:00Z", ["03-30 03:00+0200", "03-30 04:00+0200"]),
    ],
)
def test_a_time_that_does_not_exist_runs_once_right_after_the_gap(
    cron: str, zone: str, after: str, expected: list[str]
) -> None:
    """Also where the gap is half an hour, lies at midnight, or skips several times of one schedule."""
    assert expected == slots(cron, zone, after, 2)


@pytest.mark.parametrize(
    ("cron", "zone", "after", "expected"),
    [
        ("30 1 * * *", "America/New_York", "2025-11-01T12:00Z", ["11-02 01:30-0400", "11-03 01:30-0500"]),
        ("30 2 * * *", "Europe/Berlin", "2025-10-25T12:00Z", ["10-26 02:30+0200", "10-27 02:30+0100"]),
        ("45 1 * * *", "Australia/Lord_Howe", "2025-04-05T12:00Z", ["04-06 01:45+1100", "04-07 01:45+1030"]),
        ("30 2 * * *", "Africa/Casablanca", "2025-02-22T12:00Z", ["02-23 02:30+0100", "02-24 02:30+0000"]),
        ("30 23 * * *", "America/Sao_Paulo", "2018-02-17T12:00Z", ["02-17 23:30-0200", "02-18 23:30-0300"]),
        ("30 1 * * *", "America/New_York", "2025-11-02T06:10Z", ["11-03 01:30-0500", "11-04 01:30-0500"]),
    ],
)
def test_a_fixed_hour_that_exists_twice_runs_once(cron: str, zone: str, after: str, expected: list[str]) -> None:
    """At the first pass; asked between the passes, the next one is tomorrow's."""
    assert expected == slots(cron, zone, after, 2)


@pytest.mark.parametrize(
    ("cron", "zone", "after", "expected"),
    [
        (
            "30 * * * *",
            "America/New_York",
            "2025-11-02T04:45Z",
            ["11-02 01:30-0400", "11-02 01:30-0500", "11-02 02:30-0500"],
        ),
        (
            "*/20 * * * *",
            "Australia/Lord_Howe",
            "2025-04-05T14:30Z",
            ["04-06 01:40+1100", "04-06 01:40+1030", "04-06 02:00+1030"],
        ),
        (
            "0 */2 * * *",
            "Europe/Berlin",
            "2025-10-25T23:00Z",
            ["10-26 02:00+0200", "10-26 02:00+0100", "10-26 04:00+0100"],
        ),
        (
            "30 * 5 4,10 *",
            "America/Santiago",
            "2025-04-06T02:45Z",
            ["04-05 23:30-0400", "10-05 00:30-0300", "10-05 01:30-0300"],
        ),
    ],
)
def test_a_starred_hour_runs_on_both_passes(cron: str, zone: str, after: str, expected: list[str]) -> None:
    """Also where the fold is half an hour, and where the second pass is the last of its day."""
    assert expected == slots(cron, zone, after, 3)


def test_an_hourly_schedule_lets_a_skipped_hour_go() -> None:
    """The next hour's slot comes anyway."""
    expected = ["03-30 01:30+0100", "03-30 03:30+0200"]

    assert expected == slots("30 * * * *", "Europe/Berlin", "2025-03-30T00:00Z", 2)


def test_a_day_that_does_not_exist_is_made_good_right_after_it() -> None:
    """Samoa had no 30 December 2011."""
    expected = ["12-29 06:00-1000", "12-31 00:00+1400", "12-31 06:00+1400"]

    assert expected == slots("0 6 * * *", "Pacific/Apia", "2011-12-29T12:00Z", 3)


def test_slots_are_plain_utc() -> None:
    """Whatever zone the moment was written in."""
    slot = due.next_slot("0 6 * * *", "Europe/Berlin", datetime(2025, 7, 1, 3, tzinfo=due.place("Asia/Tokyo")))

    assert datetime(2025, 7, 1, 4, tzinfo=UTC) == slot
    assert UTC is slot.tzinfo


def test_a_naive_moment_is_a_mistake() -> None:
    """Nobody knows which moment it means."""
    with pytest.raises(ValueError, match="aware"):
        due.next_slot("0 6 * * *", "UTC", datetime(2025, 1, 1))  # noqa: DTZ001  (the point)


@pytest.fixture
def false_zones(tmp_path: Path) -> Iterator[None]:
    """A machine whose own zone files say that Berlin is Tokyo."""
    (tmp_path / "Europe").mkdir()
    tokyo = resources.files("tzdata").joinpath("zoneinfo", "Asia", "Tokyo").read_bytes()
    (tmp_path / "Europe" / "Berlin").write_bytes(tokyo)
    former = zoneinfo.TZPATH
    zoneinfo.reset_tzpath((str(tmp_path),))
    due.place.cache_clear()
    yield
    zoneinfo.reset_tzpath(former)


@pytest.mark.usefixtures("false_zones")
def test_the_machine_s_own_zone_files_are_not_read() -> None:
    """Zones come from the package that the release is pinned to."""
    assert ["01-02 06:00+0100"] == slots("0 6 * * *", "Europe/Berlin", "2025-01-01T12:00Z", 1)


FIELD = st.one_of(
    st.just("*"),
    st.integers(1, 12).map("*/{}".format),
    st.integers(1, 7).map(str),
    st.tuples(st.integers(1, 3), st.integers(4, 6)).map(lambda ends: f"{ends[0]}-{ends[1]}"),
)


@UNTIMED
@given(fields=st.tuples(FIELD, FIELD, FIELD, FIELD, FIELD), zone=ZONES, after=MOMENTS)
def test_slots_strictly_increase_from_strictly_after_the_moment(
    fields: tuple[str, ...], zone: str, after: datetime
) -> None:
    """And a list of them is what asking for one after another gives."""
    listed = due.upcoming(" ".join(fields), zone, after, 4)
    asked = [after]
    for _ in range(4):
        asked.append(due.next_slot(" ".join(fields), zone, asked[-1]))

    assert asked == [after, *listed]
    assert sorted(set(asked)) == asked


@UNTIMED
@given(cron=CRONS, zone=ZONES, after=MOMENTS, share=st.floats(min_value=0, max_value=1))
def test_no_slot_lies_between_a_moment_and_its_next_slot(cron: str, zone: str, after: datetime, share: float) -> None:
    """Asked anywhere in between, the answer is the same."""
    slot = due.next_slot(cron, zone, after)
    between = min(after + share * (slot - after), slot - timedelta(microseconds=1))

    assert slot == due.next_slot(cron, zone, between)


@pytest.mark.parametrize(
    ("audience_id", "window", "seconds"),
    [
        (UUID(int=0), 60, 777),
        (UUID(int=1), 60, 1_747),
        (UUID(int=1), 1, 29),
        (UUID(int=1), 0, 0),
    ],
)
def test_an_offset_is_the_same_for_ever(audience_id: UUID, window: int, seconds: int) -> None:
    """These numbers must never change: they are when people's runs start."""
    assert timedelta(seconds=seconds) == due.offset(audience_id, window)


@UNTIMED
@given(audience_id=st.uuids(), window=WINDOWS)
def test_an_offset_is_a_whole_second_within_the_window(audience_id: UUID, window: int) -> None:
    """At least nothing, less than the window."""
    offset = due.offset(audience_id, window)

    assert timedelta(0) <= offset < timedelta(minutes=window)
    assert offset.microseconds == 0


def test_offsets_spread_evenly() -> None:
    """Ten thousand audiences over an hour: about 167 a minute, every minute."""
    minutes = Counter(due.offset(UUID(int=n), 60) // timedelta(minutes=1) for n in range(10_000))

    assert len(minutes) == 60
    assert all(110 < count < 230 for count in minutes.values())
