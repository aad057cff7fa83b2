"""
Read a day: every question is bounded by an index on when something was over, and by a limit.

A day is one in UTC; what happened on it is what was over on it. No address of anybody is read.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    DateTime,
    Executable,
    Integer,
    bindparam,
    cast,
    exists,
    extract,
    func,
    literal,
    literal_column,
    select,
    text,
    union_all,
)
from sqlalchemy.dialects.postgresql import distinct_on

from worker.database import moment
from worker.errors import Refusal
from worker.models import audiences, data_dates, ready_emails, runs
from worker.report.day import SLOT_SECONDS, SLOTS, Day, Notable, Slot, Trouble

NOTABLE: Final = 10
OUTCOMES: Final = ("retried", "rescued", "failed")

# One snapshot for all statements, so that their numbers add up.
ONE_MOMENT: Final = text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")

SECONDS: Final[ColumnElement[Any]] = func.greatest(0, extract("epoch", runs.c.completed_at - runs.c.started_at))

# Attempts have no index by their end, but a run is over half a day after its first claim at the latest, and those that
# are not over are few. The statuses are literals, each in a branch of its own, so that the partial indexes serve.
TROUBLES: Final = text(
    """
    WITH touched AS MATERIALIZED (
        SELECT id FROM runs
        WHERE failures > 0 AND finished_at >= :since AND finished_at < CAST(:until AS timestamptz) + interval '1 day'
        UNION ALL SELECT id FROM runs WHERE status = 'queued' AND failures > 0
        UNION ALL SELECT id FROM runs WHERE status = 'running' AND failures > 0
    )
    SELECT a.error_code AS code, a.outcome AS what, count(*) AS times
    FROM touched JOIN run_attempts a ON a.run_id = touched.id
    WHERE a.outcome IN ('retried', 'rescued') AND a.ended_at >= :since AND a.ended_at < :until
    GROUP BY 1, 2
    UNION ALL
    SELECT error_code, 'failed', count(*) FROM runs
    WHERE status = 'failed' AND finished_at >= :since AND finished_at < :until GROUP BY 1
    """
).bindparams(bindparam("since", type_=DateTime(timezone=True)), bindparam("until", type_=DateTime(timezone=True)))


Condition = ColumnElement[bool]
# By number of the slot, type and status.
Ended = Mapping[tuple[int, str, str], int]


def read(connection: Connection, day: date | None = None, *, now: datetime | None = None) -> Day:
    """
    Read one day.

    :param connection: one that has not been asked anything yet in its transaction
    :param day: None for today
    :raises Refusal: when the day is yet to come
    """
    connection.execute(ONE_MOMENT)
    clock: datetime = connection.execute(select(moment(now))).scalar_one()
    today = clock.astimezone(UTC).date()
    day = day or today
    if day > today:
        raise Refusal(f"--date: {day} is yet to come.")
    since, until, lasts = _midnight(day), _midnight(day + timedelta(days=1)), day == today
    within = (runs.c.finished_at >= since) & (runs.c.finished_at < until)
    ready = _newest_ready(connection, today) if lasts else _newest_read(connection, within)
    active, fresh = _freshness(connection, ready, until)
    ended = _ended(connection, within, since)
    return Day(
        *(day, min(clock, until), lasts, ready, active, fresh),
        runs=_by_type(ended),
        under_way=_under_way(connection) if lasts else Counter(),
        slots=_slots(ended, since),
        seconds=_seconds(connection, within),
        slowest=_notable(connection, within, SECONDS),
        largest=_notable(connection, within, runs.c.result_count),
        troubles=_troubles(connection, since, until),
        mails=_mails(connection, since, until) + (_waiting(connection) if lasts else Counter()),
    )


def _midnight(day: date) -> datetime:
    """Return when a day begins."""
    return datetime.combine(day, time(), UTC)


def _newest_ready(connection: Connection, today: date) -> date | None:
    """Return the newest ready date."""
    newest: date | None = connection.scalar(
        select(func.max(data_dates.c.data_date)).where(data_dates.c.data_date <= today)
    )
    return newest


def _newest_read(connection: Connection, within: Condition) -> date | None:
    """Return the newest data date of the day's daily runs."""
    newest: date | None = connection.scalar(
        select(func.max(runs.c.data_date)).where(within, runs.c.run_type == "daily")
    )
    return newest


def _freshness(connection: Connection, ready: date | None, until: datetime) -> tuple[int, int]:
    """Count the audiences refreshed daily that were there by then, and of them the fresh ones."""
    # Spelled as the unique index has it, which then answers for each audience.
    of_the_day = (runs.c.audience_id == audiences.c.id, runs.c.data_date == ready, runs.c.run_type == "daily")
    alive = runs.c.status.not_in([literal_column("'failed'"), literal_column("'cancelled'")])
    done = exists().where(*of_the_day, alive, runs.c.completed_at < until)
    counts = select(func.count(), func.count().filter(done)).select_from(audiences)
    counts = counts.where(audiences.c.next_due_at.is_not(None), audiences.c.created_at < until)
    active, fresh = connection.execute(counts).one()
    return int(active), int(fresh)


def _ended(connection: Connection, within: Condition, since: datetime) -> Ended:
    """Count the runs that were over, by slot, type and status."""
    slot = cast(func.floor(extract("epoch", runs.c.finished_at - since) / SLOT_SECONDS), Integer)
    columns = (slot, runs.c.run_type, runs.c.status)
    rows = connection.execute(select(*columns, func.count()).where(within).group_by(*columns))
    return {(number, run_type, status): count for number, run_type, status, count in rows}


def _by_type(ended: Ended) -> Counter[tuple[str, str]]:
    """Add the slots up."""
    found: Counter[tuple[str, str]] = Counter()
    for (_, run_type, status), count in ended.items():
        found[run_type, status] += count
    return found


def _slots(ended: Ended, since: datetime) -> list[Slot]:
    """Cut the day into slots, the empty ones too."""
    slots = [Slot(since + timedelta(seconds=SLOT_SECONDS * number), Counter()) for number in range(SLOTS)]
    for (number, _, status), count in ended.items():
        slots[number].runs[status] += count
    return slots


def _under_way(connection: Connection) -> Counter[str]:
    """Count the runs that are not over."""
    counts = (
        select(literal(status), func.count()).where(runs.c.status == literal_column(f"'{status}'"))
        for status in ("queued", "running")
    )
    return _tally(connection, union_all(*counts))


def _seconds(connection: Connection, within: Condition) -> tuple[float, float] | None:
    """Return what half and 95 of 100 completed runs took at most."""
    limits = [func.percentile_cont(share).within_group(SECONDS) for share in (0.5, 0.95)]
    half, most = connection.execute(select(*limits).where(within, runs.c.status == "completed")).one()
    return None if half is None else (float(half), float(most))


def _notable(connection: Connection, within: Condition, measure: ColumnElement[Any]) -> list[Notable]:
    """Return the audiences whose best run is largest by a measure, largest first."""
    columns = (runs.c.audience_id, runs.c.id, runs.c.run_type, SECONDS.label("seconds"), runs.c.result_count)
    best = (
        select(*columns, measure.label("measure"))
        .where(within, runs.c.status == "completed")
        .ext(distinct_on(runs.c.audience_id))
        .order_by(runs.c.audience_id, measure.desc())
        .subquery()
    )
    rows = connection.execute(
        select(audiences.c.name, best.c.id, best.c.run_type, best.c.seconds, best.c.result_count)
        .join(audiences, audiences.c.id == best.c.audience_id)
        .order_by(best.c.measure.desc(), audiences.c.name, best.c.id)
        .limit(NOTABLE)
    )
    return [Notable(name, run_id, kind, float(seconds), people) for name, run_id, kind, seconds, people in rows]


def _troubles(connection: Connection, since: datetime, until: datetime) -> list[Trouble]:
    """Count what went wrong, the most frequent first."""
    found: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for row in connection.execute(TROUBLES, {"since": since, "until": until}):
        found[row.code][row.what] = row.times
    troubles = [Trouble(code, *(times[what] for what in OUTCOMES)) for code, times in found.items()]
    return sorted(troubles, key=lambda it: (-(it.retried + it.rescued + it.failed), it.code))


def _mails(connection: Connection, since: datetime, until: datetime) -> Counter[str]:
    """Count the mails that were settled, by status."""
    settled = select(ready_emails.c.status, func.count()).group_by(ready_emails.c.status)
    # Spelled as the partial index has it.
    over = text("status NOT IN ('pending', 'sending')")
    when = (ready_emails.c.updated_at >= since, ready_emails.c.updated_at < until)
    return _tally(connection, settled.where(over, *when))


def _waiting(connection: Connection) -> Counter[str]:
    """Count the mails that are not settled, by status."""
    waiting = select(ready_emails.c.status, func.count()).where(text("status IN ('pending', 'sending')"))
    return _tally(connection, waiting.group_by(ready_emails.c.status))


def _tally(connection: Connection, counts: Executable) -> Counter[str]:
    """Read counts by name."""
    return Counter({row[0]: row[1] for row in connection.execute(counts)})
