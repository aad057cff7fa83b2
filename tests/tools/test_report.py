"""The report in a real browser: everything is on the page, and the page fits a desk and a telephone."""

import browser
import days
import pytest
from commandline import done
from sqlalchemy import func, select, text

from worker.database import transaction


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
    lines = [" ".join(line.split()) for line in looked["text"].splitlines()]

    assert (width, 0) == (looked["wide"], looked["beyond"])
    for run_type, status, count in counted("SELECT run_type, status, count(*) FROM runs GROUP BY 1, 2"):
        if status == "completed":
            assert any(line.startswith(f"{run_type} {count} ") for line in lines)
    for name, run_id, people in counted(
        "SELECT a.name, r.id, r.result_count FROM runs r JOIN audiences a ON a.id = r.audience_id"
        " WHERE r.status = 'completed'"
    ):
        assert 2 == lines.count(name)
        assert 2 == lines.count(f"daily run {run_id}") or any(f"{run_id} {people:,}" in line for line in lines)
    for status, count in counted("SELECT status, count(*) FROM ready_emails GROUP BY 1"):
        assert f"{status} {count}" in lines
    assert {"60 %", "CONFIG_INVALID 0 0 1", "QUERY_TIMEOUT 1 0 0"} <= set(lines)
    assert days.RECIPIENT not in looked["text"]
