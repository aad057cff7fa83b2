"""Two completed runs of one audience over results made up in ClickHouse: who they hold follows from two ranges."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import builders
from clickhouse_connect.driver.client import Client

from worker import emails, exports, runs
from worker.database import transaction


def beside(
    clickhouse: Client | None,
    before: range,
    after: range,
    *,
    organization_id: UUID | None = None,
    recipients: tuple[str, ...] = (),
) -> tuple[UUID, UUID]:
    """
    Complete a run of Monday and one of Tuesday, the second's export and mails queued, and return their ids.

    :param clickhouse: where the snapshots are written; None for runs without them
    :param before: the first one's people, each named by a number
    :param after: the second one's
    """
    audience_id = builders.saved(organization_id=organization_id, notify_emails=recipients, now=None)
    first = ended(audience_id, clickhouse, before, data_date=builders.MONDAY)
    second = ended(audience_id, clickhouse, after, data_date=builders.TUESDAY)
    with transaction() as connection:
        names = {"organization_id": builders.run_row(second)["organization_id"], "run_id": second}
        exports.queue(connection, audience_id=audience_id, **names)
        emails.queue(connection, recipients=recipients, **names)
    return first, second


def ended(audience_id: UUID, clickhouse: Client | None, people: range, *, hold: bool = False, **values: object) -> UUID:
    """Complete one run of an audience that holds these people, and compare it with the one before."""
    now = datetime.now(UTC)
    claim = builders.held(audience_id, now=None, **{"run_type": "daily", "lane": "daily", **values})
    published = runs.Published(
        candidates=len(people),
        results=len(people),
        snapshot_key=uuid4(),
        written_on=now.date(),
        results_expire_at=now + timedelta(days=90),
        csv_defused=True,
        account={},
    )
    if clickhouse:
        _freeze(clickhouse, published, people)
    with transaction() as connection:
        runs.complete(connection, claim, published)
        runs.compare(connection, claim.run_id, factor=10, least=20, hold=hold)
    return claim.run_id


def _freeze(clickhouse: Client, published: runs.Published, people: range) -> None:
    """Write a snapshot; the higher a person's number, the lower the rank."""
    clickhouse.command(
        """
        INSERT INTO audience_results (snapshot_key, written_on, rank, hem_hash, score, topic_overlap, hashed_email, job_title)
        SELECT {key:UUID}, {day:Date}, number + 1, {first:UInt64} + number, 80, 1, toString({first:UInt64} + number),
               '=HYPERLINK("x")'
        FROM numbers({rows:UInt64})
        """,
        parameters={
            "key": str(published.snapshot_key),
            "day": published.written_on,
            "first": people.start,
            "rows": len(people),
        },
    )
