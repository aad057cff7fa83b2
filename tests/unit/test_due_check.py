"""Which schedules are refused when they are saved, and in which words."""

from datetime import UTC, datetime
from importlib import resources

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker import due, errors

# A busy machine is no finding.
UNTIMED = settings(deadline=None)


@pytest.mark.parametrize(
    "cron",
    [
        "0 6 * * *",
        "*/5 0-23 1,15 jan-mar MON",
        "0 6 * * 7",
        "5/10 * * * *",
        " 0  6 * * * ",
        "0 0 29 2 *",
        "0 0 30 2 mon",
        "0 22-4 * * sat-sun",
    ],
)
def test_a_sound_schedule_passes(cron: str) -> None:
    """Five fields of numbers, names, lists, ranges and steps that some day fulfils."""
    due.check(cron, "Europe/Berlin")


@pytest.mark.parametrize(
    ("cron", "rule"),
    [
        ("", "must have exactly five fields: minute, hour, day of month, month, day of week."),
        ("0 6 * *", "must have exactly five fields: minute, hour, day of month, month, day of week."),
        ("0 6 * * * 0", "must have exactly five fields: minute, hour, day of month, month, day of week."),
        ("@daily", "must have exactly five fields: minute, hour, day of month, month, day of week."),
        *[
            (cron, "may hold only numbers, names of months and weekdays, and the signs * , - /.")
            for cron in (
                "H 6 * * *",
                "R 6 * * *",
                "0 6 L * *",
                "0 6 15W * *",
                "0 6 * * 1#2",
                "0 6 ? * *",
                "0 6 * * *\n",
                "0\t 6 * * *",
                "0\0 6 * * *",
                "0 6\u00a0 * * *",
                "\u0666 6 * * *",
                "-1 6 * * *",
                "0 6 * * 1,",
                "0 6 * * \u017fun",
                "100 6 * * *",
            )
        ],
        *[
            (cron, "must keep every field within its own values: 0-59, 0-23, 1-31, 1-12, 0-7.")
            for cron in (
                "60 6 * * *",
                "0 24 * * *",
                "0 6 0 * *",
                "0 6 * 13 *",
                "0 6 * * 8",
                "mon 6 * * *",
                "*/0 6 * * *",
            )
        ],
        ("5-5 6 * * *", "must not hold a range whose two ends are the same."),
        ("0 6 * * mon,Tue-tue", "must not hold a range whose two ends are the same."),
        ("0 0 30 2 *", "must name a date that exists."),
        ("0 0 31 4,6,9,11 *", "must name a date that exists."),
    ],
)
def test_a_bad_cron_is_refused_by_name_and_rule(cron: str, rule: str) -> None:
    """One plain sentence, which repeats nothing of what was given."""
    with pytest.raises(errors.InvalidField) as refusal:
        due.check(cron, "UTC")

    assert f"refresh_cron: {rule}" == str(refusal.value)


@pytest.mark.parametrize(
    "zone",
    [
        "",
        "Mars/Olympus",
        "europe/berlin",
        "Europe",
        "Factory",
        "CEST",
        "../zoneinfo/UTC",
        "/etc/localtime",
        "UTC\n",
        "UTC\0",
        "Europe/Berlin/",
        "__init__.py",
        "tzdata.zi",
        "+02:00",
    ],
)
def test_a_bad_zone_is_refused_by_name_and_rule(zone: str) -> None:
    """Only the package's own names pass, spelled as they are."""
    with pytest.raises(errors.InvalidField) as refusal:
        due.check("0 6 * * *", zone)

    assert "timezone: must be the name of an IANA time zone, such as Europe/Berlin." == str(refusal.value)


def test_every_zone_of_the_package_passes() -> None:
    """Each of its names can be loaded."""
    names = resources.files("tzdata").joinpath("zones").read_text(encoding="ascii").split()

    for name in set(names) - {"Factory"}:
        due.check("0 6 * * *", name)


@UNTIMED
@given(cron=st.text(st.sampled_from("0123456789*,-/ hHrRlLwW#?@monjan\t\n\0"), max_size=30))
def test_any_text_is_a_schedule_or_a_refusal(cron: str) -> None:
    """Nothing else comes out of it."""
    try:
        due.check(cron, "UTC")
    except errors.InvalidField:
        return

    assert due.next_slot(cron, "UTC", datetime(2025, 1, 1, tzinfo=UTC)) > datetime(2025, 1, 1, tzinfo=UTC)
