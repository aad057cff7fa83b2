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

from worker import audiences, due, loads, runs
from worker.database import transaction

MOST_A_PASS = 20_000


def queue_daily_runs(*, now: datetime | None = None) -> dict[str, int]:
    """Queue one run of the newest ready date for every audience that is due, and return the counts."""
    with transaction() as connection:
        data_date = loads.ready_date(connection, now=now)
        if data_date is None:
            return {"due": 0, "queued": 0}
        rows = audiences.waiting(connection, data_date, limit=MOST_A_PASS, now=now)
        if not rows:
            return {"due": 0, "queued": 0}
        queued = runs.queue_daily(connection, [row["id"] for row in rows], data_date, now=now)
        at = audiences.clock(connection, now)
        audiences.scheduled(connection, data_date, _slots(rows, at), now=now)
        return {"due": len(rows), "queued": queued}


def _slots(rows: Sequence[RowMapping], now: datetime) -> dict[UUID, tuple[datetime, datetime]]:
    """Compute each audience's next slot and due time; thousands share a few schedules."""

    @cache
    def next_slot(cron: str, zone: str) -> datetime:
        return due.next_slot(cron, zone, now)

    slots = {}
    for row in rows:
        slot = next_slot(row["refresh_cron"], row["timezone"])
        slots[row["id"]] = (slot, slot + due.offset(row["id"], row["refresh_window_minutes"]))
    return slots
