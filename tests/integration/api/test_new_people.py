"""What changed since the run before, over HTTP: figures on the run, and the new people as a CSV."""

import csv
import io
from datetime import UTC, datetime, timedelta

import builders
import pytest
import web
from beside import beside, ended
from sqlalchemy import update

from api import reads
from api.app import create
from worker import announce, models, settings
from worker.database import transaction

NAMES = ("X-Export-Row-Cap", "X-Export-Truncated", "X-Export-Result-Count")


@pytest.fixture
def address(stores):
    """The HTTP side over stores that can hold results."""
    with web.served(create()) as address:
        yield address


def path(run_id):
    """Where a run is."""
    return f"/v1/intent/audiences/{builders.run_row(run_id)['audience_id']}/runs/{run_id}"


def change(run_id, **values):
    """Change a run behind everybody's back."""
    with transaction() as connection:
        connection.execute(update(models.runs).where(models.runs.c.id == run_id).values(**values))


def rows(answer):
    """Read a CSV."""
    return list(csv.DictReader(io.StringIO(answer.content.decode(), newline="")))


def test_a_run_says_what_changed_and_lists_who_is_new(client, organization, clickhouse, monkeypatch):
    """The figures are null until they are counted; the list holds the rows of export.csv that the run before lacks."""
    monkeypatch.setattr(reads, "EXPORT_PAGE_ROWS", 2)
    first, second = beside(clickhouse, range(3), range(1, 30), organization_id=organization)
    names = ("comparedWith", "peopleNew", "peopleLeft", "anomaly", "held")
    before = client.get(path(second)).json()["data"]
    announce.announce("w", seconds=60, stopping=lambda: False)

    after = client.get(path(second)).json()["data"]
    new = client.get(f"{path(second)}/new.csv")

    assert (str(first), None, None, None, False) == tuple(before[name] for name in names)
    assert (str(first), 27, 1, None, False) == tuple(after[name] for name in names)
    assert rows(client.get(f"{path(second)}/export.csv"))[2:] == rows(new)
    assert ("300000", "false", "27") == tuple(new.headers[name] for name in NAMES)
    assert f'attachment; filename="audience-run-{second}-new.csv"' == new.headers["Content-Disposition"]
    assert new.headers["X-ClickHouse-Query-Id"].startswith(str(second))


def test_the_cap_cuts_the_list(client, organization, clickhouse, monkeypatch):
    """The best new people are kept, and the headers say how many there are."""
    monkeypatch.setenv("EXPORT_ROW_CAP", "3")
    settings.current.cache_clear()
    _, run_id = beside(clickhouse, range(3), range(7), organization_id=organization)

    new = client.get(f"{path(run_id)}/new.csv")

    assert ["3", "4", "5"] == [row["hashedEmail"] for row in rows(new)]
    assert ("3", "true", "4") == tuple(new.headers[name] for name in NAMES)


def test_a_list_needs_two_runs_that_are_kept(client, organization, clickhouse):
    """Each refusal has its code: those of export.csv, and one for a run that is the first."""
    first, second = beside(clickhouse, range(3), range(7), organization_id=organization)
    audience_id = builders.run_row(first)["audience_id"]
    preview = ended(audience_id, clickhouse, range(3), run_type="preview", lane="manual")
    waiting = builders.queued(audience_id)
    long_ago = datetime.now(UTC) - timedelta(days=1)

    told = [client.get(f"{path(run_id)}/new.csv").json()["error"]["code"] for run_id in (first, waiting, preview)]
    change(first, results_expire_at=long_ago)
    told.append(client.get(f"{path(second)}/new.csv").json()["error"]["code"])

    assert ["NO_EARLIER_RUN", "RUN_NOT_COMPLETED", "RUN_IS_PREVIEW", "RESULTS_EXPIRED"] == told
