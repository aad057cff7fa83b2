"""
Add what was over since the last count to the totals.

The totals outlive the rows they were counted from, and a scrape reads them and the few rows since. How far counting
has come is moved in the same transaction, so a count that is lost, doubled or late changes nothing.
"""

import time
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, func, select, text
from sqlalchemy.dialects.postgresql import insert

from worker.database import moment, transaction
from worker.figures.ended import ended
from worker.models import counted, runs, totals

# How far counting stays behind: a clock may be set back by this much, at a failover for example, and nothing is missed.
BEHIND: Final = timedelta(minutes=5)
# Most time that one transaction counts: after a long downtime, many small ones.
STRETCH: Final = timedelta(days=1)
PASS_SECONDS: Final = 20

# A row is stamped with the time its transaction began, and seen when that has ended: nothing is counted beyond the
# beginning of a transaction that is still open.
OLDEST_OPEN: Final = text(
    "SELECT min(xact_start) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


def count(*, now: datetime | None = None) -> dict[str, int]:
    """Bring the totals up to date, at most for a while, and return how many runs were counted."""
    found, until = 0, time.monotonic() + PASS_SECONDS
    while time.monotonic() < until:
        with transaction() as connection:
            stretch = _stretch(connection, now)
            if stretch is None:
                break
            found += _add(connection, *stretch)
        if stretch[1] - stretch[0] < STRETCH:
            break
    return {"counted": found}


def _stretch(connection: Connection, now: datetime | None) -> tuple[datetime, datetime] | None:
    """Take the lock, and return the next stretch of time to count; None when there is nothing to count yet."""
    connection.execute(select(func.pg_advisory_xact_lock(func.hashtextextended("count", 0))))
    since = connection.scalar(select(counted.c.until)) or connection.scalar(select(func.min(runs.c.finished_at)))
    clock: datetime = connection.execute(select(moment(now))).scalar_one()
    last = min(clock - BEHIND, connection.scalar(OLDEST_OPEN) or clock)
    return (since, min(last, since + STRETCH)) if since and since < last else None


def _add(connection: Connection, since: datetime, until: datetime) -> int:
    """Count a stretch, move the mark to its end, and return how many runs there were."""
    found = ended(connection, since, until)
    rows = [
        {"name": name, "first": first, "second": second, "value": value}
        for (name, first, second), value in found.items()
    ]
    more = insert(totals)
    sums = more.on_conflict_do_update(
        index_elements=[totals.c.name, totals.c.first, totals.c.second],
        set_={"value": totals.c.value + more.excluded.value},
    )
    connection.execute(sums, rows)
    mark = insert(counted).values(until=until)
    connection.execute(mark.on_conflict_do_update(index_elements=[counted.c.one], set_={"until": until}))
    return int(sum(value for (name, *_), value in found.items() if name == "runs"))
