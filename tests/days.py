"""A day with something of everything in it, for the report."""

from datetime import datetime, timedelta
from typing import Final

import builders
from sqlalchemy import text, update

from worker import errors, models, runs, settings
from worker.database import transaction

HOSTILE: Final = "<script>alert(1)</script> & Söhne"
UNBROKEN: Final = "W" * 255
RECIPIENT: Final = "ann@example.com"
# Name, seconds of its run, people found.
COMPLETED: Final = (("Marketing leads", 1.5, 1_234_567), (HOSTILE, 150.0, 3000), (UNBROKEN, 12.0, 0))

MAILS: Final = """
    INSERT INTO ready_emails
        (id, organization_id, run_id, recipient, generation, status, due_at, message_id, sent_at, created_at, updated_at)
    SELECT gen_random_uuid(), organization_id, id, :recipient, CAST(:number AS int), :status, :now, gen_random_uuid()::text,
           CASE WHEN :status = 'sent' THEN CAST(:now AS timestamptz) END, :now, :now
    FROM runs WHERE status = 'completed' ORDER BY result_count DESC LIMIT 1
"""


def eventful(now: datetime) -> None:
    """
    Let a day have passed until now.

    Three daily runs were completed, one failed, one waits after a retry; a manual one was cancelled. Two mails were
    sent, one failed, one waits.
    """
    builders.ready(now.date() - timedelta(days=1))
    of_the_day = {"run_type": "daily", "lane": "daily", "data_date": now.date() - timedelta(days=1), "created_at": now}
    for name, seconds, people in COMPLETED:
        claim = builders.held(builders.saved(name=name, status="active", now=now), now=now, **of_the_day)
        builders.end(runs.complete, claim, builders.published(people, people), now=now)
        _took(claim, seconds)
    for name, error in (("Refused", errors.ConfigRefused), ("Tried again", errors.QueryTimeout)):
        claim = builders.held(builders.saved(name=name, status="active", now=now), now=now, **of_the_day)
        builders.end(runs.set_back, claim, error(), settings.current().retry_policy, now=now)
    run_id = builders.queued(builders.saved(now=now), run_type="manual", due_at=now, created_at=now)
    builders.end(runs.cancel, builders.run_row(run_id)["organization_id"], run_id, now=now)
    with transaction() as connection:
        connection.execute(update(models.audiences).values(created_at=now))
    for number, status in enumerate(("sent", "sent", "failed", "pending"), start=1):
        with transaction() as connection:
            connection.execute(text(MAILS), {"recipient": RECIPIENT, "number": number, "status": status, "now": now})


def _took(claim: runs.Claim, seconds: float) -> None:
    """Say how long a run took."""
    begun = models.runs.c.completed_at - timedelta(seconds=seconds)
    with transaction() as connection:
        connection.execute(update(models.runs).where(models.runs.c.id == claim.run_id).values(started_at=begun))
