"""The report: what Postgres knows of a day, on one page that loads nothing and tells nobody's address."""

import re
from datetime import timedelta
from html import unescape

import days
import pytest
from builders import NOON, TUESDAY, WEDNESDAY
from commandline import command, done, sentence
from sqlalchemy import func, select

from worker import report
from worker.database import transaction
from worker.report import Trouble

pytestmark = pytest.mark.usefixtures("tables")


def read(day=None, now=NOON):
    """Read a day as it stood at noon."""
    with transaction() as connection:
        return report.read(connection, day, now=now)


def test_a_day_is_told_in_its_own_numbers():
    """Freshness, runs, troubles and mails are those that happened, each once."""
    days.eventful(NOON)
    day = read()

    assert (WEDNESDAY, NOON, True, TUESDAY, 5, 3) == (day.day, day.until, day.lasts, day.ready, day.active, day.fresh)
    assert {("daily", "completed"): 3, ("daily", "failed"): 1, ("manual", "cancelled"): 1} == day.runs
    assert {"queued": 1, "running": 0} == day.under_way
    assert [(24, {"completed": 3, "failed": 1, "cancelled": 1})] == [
        (number, slot.runs) for number, slot in enumerate(day.slots) if slot.runs
    ]
    assert (12, 136.2) == pytest.approx(day.seconds)
    assert [(days.HOSTILE, 150), (days.UNBROKEN, 12), ("Marketing leads", 1.5)] == [
        (line.name, line.seconds) for line in day.slowest
    ]
    assert [1_234_567, 3000, 0] == [line.people for line in day.largest]
    assert [Trouble("CONFIG_INVALID", 0, 0, 1), Trouble("QUERY_TIMEOUT", 1, 0, 0)] == day.troubles
    assert {"sent": 2, "failed": 1, "pending": 1} == day.mails


def test_the_day_before_is_another():
    """What was over on one day is not told of its neighbours; a day that is over has nothing under way."""
    days.eventful(NOON)
    before, after = read(TUESDAY), read(WEDNESDAY, NOON + timedelta(days=1))

    assert ({}, None, {}, []) == (before.runs, before.ready, before.mails, before.slowest)
    assert "No run ended on this day." in report.render(before)
    assert (5, {}, {"sent": 2, "failed": 1}) == (after.runs.total(), after.under_way, after.mails)
    assert (False, TUESDAY, 3) == (after.lasts, after.ready, after.fresh)
    assert after.slots == read().slots


def test_the_page_holds_no_address_and_loads_nothing():
    """Names are shown as text, recipients not at all, and the page names nothing outside itself."""
    days.eventful(NOON)
    page = report.render(read())

    assert (True, False) == (days.HOSTILE in unescape(page), "<script" in page)
    assert days.RECIPIENT not in page
    assert [] == re.findall(r"https?://|src=|href=|url\(|@import", page)
    assert "default-src 'none'" in page
    assert '<rect class="failed"' in page


def test_an_empty_deployment_has_a_report():
    """Before anything happened the page says so instead of failing."""
    page = report.render(read())

    assert ["no day of data is ready", "No run ended on this day."] == [
        said for said in ("no day of data is ready", "No run ended on this day.") if said in page
    ]


def test_the_command_writes_one_file(tmp_path, monkeypatch):
    """The report lands under the day's name, whole, with nothing beside it; again replaces it."""
    monkeypatch.chdir(tmp_path)
    with transaction() as connection:
        today = connection.scalar(select(func.now())).date()

    said = [done("report"), done("report", "--date", today)]

    assert [f"report-{today}.html tells of {today}, which is not over yet.\n"] * 2 == said
    assert [f"report-{today}.html"] == [file.name for file in tmp_path.iterdir()]
    assert (tmp_path / f"report-{today}.html").read_text(encoding="utf-8").endswith("</html>\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--date", "2999-01-01"), "--date: 2999-01-01 is yet to come."),
        (("--date", "monday"), "'monday' is not a day as YYYY-MM-DD."),
        (("--to", "missing/report.html"), "missing/report.html cannot be written: No such file or directory."),
        (("--to", "."), ". cannot be written: "),
    ],
    ids=["future", "malformed", "no folder", "folder"],
)
def test_what_cannot_be_reported_is_refused(tmp_path, monkeypatch, arguments, said):
    """A day that is none or yet to come, and a place that takes no file, are one sentence; nothing is written."""
    monkeypatch.chdir(tmp_path)

    assert said in sentence(command("report", *arguments))
    assert [] == list(tmp_path.iterdir())
