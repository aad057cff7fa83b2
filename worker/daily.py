"""
Queue the day's runs.

One transaction: the runs are born and the audiences' next dates move together, so a crash between any two statements
changes nothing. Late data delays a refresh and never skips it; after downtime each audience gets one run of the
newest ready date.
"""

from collections.abc import Sequence
from datetime import datetime
from functools import cache
from uuid import UUID

from sqlalchemy import RowMapping

from worker import audiences, due, loads, log, runs
from worker.database import transaction
from worker.errors import Refusal

logger = log.get(__name__)

MOST_A_PASS = 20_000
PASS_SECONDS = 60


def queue_daily_runs(*, now: datetime | None = None) -> dict[str, int]:
    """Queue one run of the newest ready date for every audience that is due, and return the counts."""
    with transaction(seconds=PASS_SECONDS) as connection:
        data_date = loads.ready_date(connection, now=now)
        if data_date is None:
            return {"due": 0, "queued": 0}
        rows = audiences.waiting(connection, data_date, limit=MOST_A_PASS, now=now)
        slots = _slots(rows, audiences.clock(connection, now))
        if not slots:
            return {"due": len(rows), "queued": 0}
        queued = runs.queue_daily(connection, list(slots), data_date, now=now)
        audiences.scheduled(connection, data_date, slots, now=now)
        return {"due": len(rows), "queued": queued}


def _slots(rows: Sequence[RowMapping], now: datetime) -> dict[UUID, tuple[datetime, datetime]]:
    """Compute each audience's next slot and due time; one that somebody has spoilt by hand holds up no other."""

    @cache
    def next_slot(cron: str, zone: str) -> datetime:
        return due.next_slot(cron, zone, now)

    slots = {}
    for row in rows:
        try:
            slot = next_slot(row["refresh_cron"], row["timezone"])
        except Refusal as refusal:
            logger.warning("schedule_unusable", audience_id=str(row["id"]), refusal=str(refusal))
            continue
        slots[row["id"]] = (slot, slot + due.offset(row["id"], row["refresh_window_minutes"]))
    return slots
