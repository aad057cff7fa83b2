"""What people ask for by hand: a run now, a changed definition, a pause, a deletion, a held run's publication."""

import contextlib
from datetime import date, datetime
from uuid import UUID

from sqlalchemy import Connection, RowMapping

from worker import audiences, audit, emails, loads, runs
from worker.database import transaction
from worker.errors import DataNotReady, NotFound, Refusal

LONGEST_KEY = 120
PAUSED = ("AUDIENCE_PAUSED", "The audience was paused before the run started.")
SWITCHED_OFF = ("REFRESH_SWITCHED_OFF", "The daily refresh was switched off before the run started.")


def queue(
    audience_id: UUID,
    *,
    organization_id: UUID | None = None,
    data_date: date | None = None,
    key: str | None = None,
    lane: str = "manual",
    recompute: bool = False,
    preview: bool = False,
    now: datetime | None = None,
) -> runs.Queued:
    """
    Queue a manual run of an audience's present config, or return the run that already answers.

    The same key answers with the same run for ever, whatever became of the run or of the data it read.

    :param data_date: None for the newest ready date
    :param key: idempotency key, 1 to 120 printable ASCII characters; a refusal uses none up
    :param lane: ``daily`` for a run that nobody waits for
    :param recompute: whether a new run must not share the snapshot of an earlier one
    :param preview: count everybody, keep the first rows only, announce nothing
    :raises AudienceNotFound: when the audience does not exist
    :raises DataNotReady: when there is no such ready date
    """
    if key is not None and not (1 <= len(key) <= LONGEST_KEY and key.isascii() and key.isprintable()):
        raise Refusal(f"Idempotency-Key: must have 1 to {LONGEST_KEY} printable ASCII characters.")
    with transaction() as connection:
        audience = audiences.locked(connection, audience_id, organization_id)
        known = runs.answered(connection, audience_id, key) if key else None
        if known:
            return runs.Queued(known, created=False)
        ready = loads.ready_dates(connection, now=now)
        if not ready:
            raise DataNotReady("No day of intent data is ready yet.")
        if data_date is not None and data_date not in ready:
            raise DataNotReady(f"The intent data of {data_date} is not ready.")
        day = data_date or max(ready)
        return runs.queue(connection, audience, day, key=key, lane=lane, recompute=recompute, preview=preview, now=now)


def queue_all(
    *, data_date: date | None = None, recompute: bool = False, now: datetime | None = None
) -> list[runs.Queued]:
    """
    Queue a manual run of every active audience in the daily lane, each in its own transaction.

    Again is harmless: what is still in flight is returned instead. A reload of a day is made good so.

    :param data_date: None for the newest ready date
    :raises DataNotReady: when there is no such ready date; nothing was queued then
    """
    with transaction() as connection:
        ids = [row["id"] for row in audiences.saved(connection, status="active", limit=None)]
    queued = []
    for audience_id in ids:
        # Deleted since they were listed: no longer anybody's wish.
        with contextlib.suppress(NotFound):
            queued.append(queue(audience_id, data_date=data_date, lane="daily", recompute=recompute, now=now))
    return queued


def change(
    audience_id: UUID,
    changes: audiences.Changes,
    *,
    organization_id: UUID | None = None,
    now: datetime | None = None,
) -> tuple[RowMapping, int]:
    """
    Change an audience and return it, and how many waiting daily runs were cancelled with the change.

    They are cancelled when it is paused or is no longer refreshed daily; all others keep the config frozen into them.

    :raises AudienceNotFound: when it does not exist
    :raises InvalidField: naming what cannot work; nothing was changed then
    """
    with transaction() as connection:
        return _changed(connection, audience_id, changes, organization_id, now)


def pause(
    audience_id: UUID, *, organization_id: UUID | None = None, by: str | None = None, now: datetime | None = None
) -> int:
    """
    Pause an audience and return how many waiting daily runs were cancelled with it.

    :param by: the operator whose act it is, for the audit; None where a client asks
    :raises AudienceNotFound: when it does not exist
    """
    with transaction() as connection:
        _, cancelled = _changed(connection, audience_id, {"status": "paused"}, organization_id, now)
        if by is not None:
            audit.note(connection, by, "audiences pause", audience_id, now=now)
    return cancelled


def delete(audience_id: UUID, *, organization_id: UUID | None = None, now: datetime | None = None) -> int:
    """
    Delete an audience and return how many waiting runs were cancelled with it.

    :raises AudienceNotFound: when it does not exist
    """
    with transaction() as connection:
        audiences.delete(connection, audience_id, organization_id=organization_id, now=now)
        return runs.cancel_queued(connection, audience_id, run_types=("daily", "manual", "preview"), now=now)


def publish(run_id: UUID, *, by: str, now: datetime | None = None) -> int:
    """
    Let out what an anomaly has held back, the audience's size and its mails, and return how many mails were queued.

    Whoever is on the audience's list now hears of it.

    :param by: whose doing it is, for the audit
    :raises RunNotFound: when there is no such run
    :raises NotAllowed: when it is not held back
    """
    with transaction() as connection:
        run = runs.publish(connection, run_id, now=now)
        audit.note(connection, by, "runs publish", run_id, now=now)
        audiences.refreshed(connection, run_id, now=now)
        recipients = audiences.recipients(connection, run["audience_id"], run["run_type"])
        names = {"organization_id": run["organization_id"], "run_id": run_id}
        return emails.queue(connection, **names, recipients=recipients, now=now)


def _changed(
    connection: Connection,
    audience_id: UUID,
    changes: audiences.Changes,
    organization_id: UUID | None,
    now: datetime | None,
) -> tuple[RowMapping, int]:
    """Change an audience, and cancel the daily runs that nobody wants any more; see :func:`change`."""
    before = audiences.locked(connection, audience_id, organization_id)
    audiences.change(connection, audience_id, changes, organization_id=organization_id, now=now)
    after = audiences.get(connection, audience_id, organization_id)
    because = _unwanted(changes, before, after)
    if because is None:
        return after, 0
    cancelled = runs.cancel_queued(connection, audience_id, run_types=("daily",), because=because, now=now)
    if cancelled:
        audiences.unserved(connection, audience_id)
    return after, cancelled


def _unwanted(changes: audiences.Changes, before: RowMapping, after: RowMapping) -> tuple[str, str] | None:
    """Say why nobody wants an audience's waiting daily runs any more, if so: code and sentence."""
    if changes.get("status") == "paused":
        return PAUSED
    if before["next_due_at"] is not None and after["next_due_at"] is None:
        return SWITCHED_OFF
    return None
