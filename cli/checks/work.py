"""Whether data comes in, somebody works on it, and what was claimed is held."""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Final

from sqlalchemy import RowMapping

from cli.checks.verdict import START, Verdict
from worker import audiences, emails, exports, loads, presence, runs, settings, ticked
from worker.database import transaction

OLD_DAYS: Final = 2
OVERDUE_SECONDS: Final = 60
LATE_SECONDS: Final = 60
LATE_PERIODS: Final = 4
SHOWN: Final = 3


def check_data() -> Verdict:
    """Find the newest ready date, as queueing sees it and as ClickHouse has it."""
    with transaction() as connection:
        ready = loads.ready_date(connection)
        today = audiences.clock(connection, None).date()
    complete = sorted(loads.complete())
    past = [day for day in complete if day <= today]
    if not past and ready is None:
        remedy = "Load people and a day of signals, then: audience-worker data ready DATE"
        return Verdict("warning", "No day of intent data is ready, so no run can be queued.", remedy)
    if not past or ready != past[-1]:
        newest = past[-1] if past else "no day"
        return Verdict("warning", f"ClickHouse has {newest} as newest ready date, queueing has {ready}.", START)
    return _aged(ready, today, future=len(complete) - len(past))


def check_workers() -> Verdict:
    """See whether somebody serves each queue that has overdue work."""
    with transaction() as connection:
        seen = presence.alive(connection, within_seconds=settings.current().task_hard_seconds)
        before = audiences.clock(connection, None) - timedelta(seconds=OVERDUE_SECONDS)
        overdue = runs.due(connection, limit=1, now=before)
        overdue["announce"] = exports.due(connection, limit=1, now=before) + emails.due(connection, limit=1, now=before)
    lanes = [worker["lane"] for worker in seen]
    idle = [lane for lane, count in overdue.items() if count and lane not in lanes]
    if idle:
        says = f"Work has been due for a minute, and no worker was seen of: {', '.join(idle)}."
        return Verdict("problem", says, f"Start workers of: {', '.join(idle)}.")
    counted = ", ".join(f"{lane} {lanes.count(lane)}" for lane in sorted(set(lanes)))
    return Verdict("ok", f"Seen lately: {counted}." if counted else "None seen lately; nothing is overdue.")


def check_leases() -> Verdict:
    """See whether whoever holds a run renews its lease, and whether somebody rescues the runs of those who do not."""
    current = settings.current()
    with transaction() as connection:
        # A renewal comes every third of a lease: with less than a third left two have failed to come.
        rows = runs.faltering(connection, seconds=current.lease_seconds / 3)
    worst = [row for row in rows if row["left"] < -_patience(current.rescue_seconds)]
    if worst:
        says = f"Leases ended long ago and nobody rescues these runs: {_listed(worst)}."
        return Verdict("problem", says, START)
    lost = [row for row in rows if row["claimed_by"] != runs.RESCUER]
    if lost:
        says = f"Leases are about to expire, because their workers renew them no more: {_listed(lost)}."
        remedy = (
            "Look at these workers. They are rescued by themselves; at once with: audience-worker runs release RUN_ID"
        )
        return Verdict("warning", says, remedy)
    return Verdict("ok", "Whoever holds a run renews its lease.")


def check_ticks() -> Verdict:
    """See whether every tick has passed lately."""
    current = settings.current()
    periods = {
        "ring": current.ring_seconds,
        "queue_daily_runs": current.queue_seconds,
        "watch_data": current.watch_seconds,
        "rescue": current.rescue_seconds,
        "rescue_announcements": current.rescue_seconds,
    }
    with transaction() as connection:
        ages = ticked.ages(connection)
    late = [name for name, period in periods.items() if ages.get(name, float("inf")) > _patience(period)]
    if late:
        told = ", ".join(f"{name} {_age(ages.get(name))}" for name in late)
        return Verdict("problem", f"The scheduler stands still: {told}.", START)
    return Verdict(
        "ok", "Every tick passed lately: " + ", ".join(f"{name} {_age(ages[name])}" for name in periods) + "."
    )


def _aged(ready: date, today: date, *, future: int) -> Verdict:
    """Judge how old the newest ready date is, and whether days lie in the future."""
    if future:
        says = f"The newest ready date is {ready}; {future} later than today are not used."
        return Verdict("warning", says, "Correct the load rows that name days to come.")
    if (today - ready).days > OLD_DAYS:
        return Verdict("warning", f"The newest ready date is {ready}.", "Ask whoever loads the data for newer days.")
    return Verdict("ok", f"The newest ready date is {ready}.")


def _listed(rows: Sequence[RowMapping]) -> str:
    """Name a few runs, and who holds them."""
    more = f" and {len(rows) - SHOWN} more" if len(rows) > SHOWN else ""
    return ", ".join(f"{row['id']} of {row['claimed_by']}" for row in rows[:SHOWN]) + more


def _patience(period: float) -> float:
    """Return how old a tick's last pass may be, in seconds."""
    return max(LATE_SECONDS, LATE_PERIODS * period)


def _age(seconds: float | None) -> str:
    """Write an age."""
    return "never passed" if seconds is None else f"{seconds:,.0f} s ago"
