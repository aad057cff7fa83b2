"""The report in a real browser: everything is on the page, and the page fits a desk and a telephone."""

import browser
import days
import pytest
from commandline import done
from sqlalchemy import func, select, text

from worker.database import transaction

RUNS = """
SELECT run_type, count(*) FILTER (WHERE status = 'completed'), count(*) FILTER (WHERE status = 'failed'),
    count(*) FILTER (WHERE status = 'cancelled')
FROM runs GROUP BY run_type
"""
COMPLETED = """
SELECT a.name, r.id, r.result_count FROM runs r JOIN audiences a ON a.id = r.audience_id WHERE r.status = 'completed'
"""


@pytest.fixture
def page(tables, tmp_path):
    """The report of a day with something of everything, as the command writes it."""
    with transaction() as connection:
        now = connection.scalar(select(func.now()))
    days.eventful(now)
    file = tmp_path / "report.html"
    done("report", "--date", now.date(), "--to", file)
    return file.read_text(encoding="utf-8")


def counted(sql: str) -> list[tuple[object, ...]]:
    """Ask Postgres."""
    with transaction() as connection:
        return [tuple(row) for row in connection.execute(text(sql))]


@pytest.mark.parametrize("width", [1280, 390])
def test_the_report_is_read_as_it_was_written(page, tmp_path, width):
    """Names and counts are those of Postgres, and nothing reaches beyond the page, however long a name is."""
    looked = browser.seen(page, width, tmp_path)
    lines = [" ".join(line.split()) for line in looked["text"].splitlines() if line.strip()]

    assert (width, 0) == (looked["wide"], looked["beyond"])
    for row in counted(RUNS):
        assert " ".join(map(str, row)) in lines
    for name, run_id, people in counted(COMPLETED):
        assert 2 == " ".join(lines).count(f"{name} daily run {run_id} {people:,} ")
    for status, count in counted("SELECT status, count(*) FROM ready_emails GROUP BY 1"):
        assert f"{status} {count}" in lines
    assert {"60 %", "CONFIG_INVALID 0 0 1", "QUERY_TIMEOUT 1 0 0"} <= set(lines)
    assert days.RECIPIENT not in looked["text"]
