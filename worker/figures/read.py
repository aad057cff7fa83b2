"""Read every figure as of one moment: the totals, what was over since, and how things stand."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import datetime
from itertools import product
from typing import Final

from sqlalchemy import Connection, DateTime, bindparam, select, text

from worker import errors
from worker.figures.ended import BOUNDS, ended
from worker.models import totals

TYPES: Final = ("manual", "daily", "preview")
LANES: Final = ("manual", "daily", "announce")
OVER: Final = ("completed", "failed", "cancelled")
TICKS: Final = ("ring", "queue_daily_runs", "watch_data", "rescue", "rescue_announcements", "count", "prune")

# By name and up to two labels.
Figures = Mapping[tuple[str, str, str], float]

# One snapshot for all statements, so that a count between two of them neither hides a run nor shows it twice.
ONE_MOMENT: Final = text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")

# The attempts of runs that are not over yet; those of the others are counted with their runs. The statuses are
# literals, each in a branch of its own, so that the partial indexes serve.
UNDER_WAY: Final = text(
    """
    WITH set_back AS (
        SELECT a.outcome, a.error_code
        FROM (SELECT id FROM runs WHERE status = 'queued' AND failures > 0
              UNION ALL SELECT id FROM runs WHERE status = 'running' AND failures > 0) r
        JOIN run_attempts a ON a.run_id = r.id
        WHERE a.outcome IN ('retried', 'rescued')
    )
    SELECT 'retries' AS name, error_code AS first, '' AS second, CAST(count(*) AS float8) AS value
    FROM set_back WHERE outcome = 'retried' GROUP BY error_code
    UNION ALL
    SELECT 'rescued', '', '', count(*) FROM set_back WHERE outcome = 'rescued'
    """
)

# Runs and mails that wait or are being worked on, what is due on each lane and for how long, who serves it, and the
# ticks. What an operator has paused is not due.
STANDING: Final = text(
    """
    WITH clock AS (
        SELECT coalesce(:now, now()) AS at
    ), waiting AS MATERIALIZED (
        SELECT
            run_type, lane, count(*) AS every,
            count(*) FILTER (WHERE due_at <= at AND coalesce(statements, 1) > 0) AS due,
            min(due_at) FILTER (WHERE coalesce(statements, 1) > 0) AS oldest
        FROM clock, runs LEFT JOIN organization_limits USING (organization_id)
        WHERE status = 'queued' GROUP BY run_type, lane
    ), announcing AS MATERIALIZED (
        SELECT due_at FROM exports, clock WHERE status = 'processing' AND claimed_by IS NULL AND due_at <= at
        UNION ALL
        SELECT due_at FROM ready_emails m, clock
        WHERE status = 'pending' AND claimed_by IS NULL AND due_at <= at
          AND EXISTS (SELECT FROM exports x WHERE x.run_id = m.run_id AND x.status <> 'processing')
    ), oldest AS (
        SELECT lane, sum(due) AS due, min(oldest) AS due_at FROM waiting GROUP BY lane
        UNION ALL
        SELECT 'announce', count(*), min(due_at) FROM announcing
    )
    SELECT 'under_way' AS name, run_type AS first, 'queued' AS second, CAST(sum(every) AS float8) AS value
    FROM waiting GROUP BY run_type
    UNION ALL
    SELECT 'under_way', run_type, 'running', count(*) FROM runs WHERE status = 'running' GROUP BY run_type
    UNION ALL
    SELECT 'due', lane, '', due FROM oldest
    UNION ALL
    SELECT 'due_seconds', lane, '', extract(epoch FROM at - due_at) FROM oldest, clock WHERE due_at <= at
    UNION ALL
    SELECT 'emails_waiting', status, '', count(*) FROM ready_emails WHERE status IN ('pending', 'sending') GROUP BY status
    UNION ALL
    SELECT 'silent_seconds', lane, '', extract(epoch FROM at - max(last_claim_at)) FROM workers, clock GROUP BY lane, at
    UNION ALL
    SELECT 'tick_seconds', name, '', extract(epoch FROM at - passed_at) FROM ticks, clock
    """
).bindparams(bindparam("now", type_=DateTime(timezone=True)))

# The newest ready date, and which of the audiences that are refreshed daily have its run: one probe an audience, since
# its LIMIT keeps the planner from reading every day's runs. Without one an audience is late two hours after its run was
# queued, or should have been; no run is older than the date it reads, which bounds that look.
FRESH: Final = text(
    """
    WITH clock AS (
        SELECT coalesce(:now, now()) AS at
    ), ready AS (
        SELECT max(data_date) AS day FROM data_dates, clock WHERE data_date <= CAST(at AT TIME ZONE 'UTC' AS date)
    ), refreshed AS MATERIALIZED (
        SELECT id, next_due_at, coalesce(last_refreshed_at, created_at) AS since, (
            SELECT true FROM runs r
            WHERE r.audience_id = a.id AND r.data_date = (SELECT day FROM ready) AND r.run_type = 'daily'
              AND r.status NOT IN ('failed', 'cancelled') AND r.status = 'completed'
            LIMIT 1
        ) AS fresh
        FROM audiences a WHERE next_due_at IS NOT NULL
    ), waited AS (
        SELECT coalesce((
            SELECT min(r.created_at) FROM runs r
            WHERE r.audience_id = stale.id AND r.created_at >= CAST((SELECT day FROM ready) AS timestamp) AT TIME ZONE 'UTC'
              AND r.data_date = (SELECT day FROM ready) AND r.run_type = 'daily'
        ), next_due_at) AS since
        FROM refreshed stale WHERE fresh IS NULL
    )
    SELECT 'active' AS name, '' AS first, '' AS second, CAST(count(*) AS float8) AS value FROM refreshed
    UNION ALL
    SELECT 'fresh', '', '', count(*) FROM refreshed WHERE fresh
    UNION ALL
    SELECT 'late', '', '', count(*) FROM waited, clock WHERE waited.since <= at - interval '2 hours'
    UNION ALL
    SELECT 'refresh_seconds', '', '', extract(epoch FROM at - min(since)) FROM refreshed, clock GROUP BY at HAVING count(*) > 0
    UNION ALL
    SELECT 'ready_at', '', '', extract(epoch FROM CAST(day AS timestamp) AT TIME ZONE 'UTC') FROM ready WHERE day IS NOT NULL
    UNION ALL
    SELECT 'ready_seconds', '', '', extract(epoch FROM at - CAST(day AS timestamp) AT TIME ZONE 'UTC')
    FROM ready, clock WHERE day IS NOT NULL
    """
).bindparams(bindparam("now", type_=DateTime(timezone=True)))


def read(connection: Connection, *, now: datetime | None = None) -> Figures:
    """
    Return every figure by name and labels, each there from the beginning.

    What never was is 0; the age of what never was is infinite. Ages are in seconds.

    :param connection: one that has not been asked anything yet in its transaction
    """
    connection.execute(ONE_MOMENT)
    found = defaultdict(float, _seeds())
    for row in connection.execute(select(totals)):
        found[row.name, row.first, row.second] += row.value
    for key, value in ended(connection).items():
        # Who sent a mail knows better than the rescuer who found it on its way: too early to say that nobody knows.
        if key != ("emails", "unknown", ""):
            found[key] += value
    for row in connection.execute(UNDER_WAY):
        found[row.name, row.first, row.second] += row.value
    for statement in (STANDING, FRESH):
        for row in connection.execute(statement, {"now": now}):
            found[row.name, row.first, row.second] = float(row.value)
    found["fresh_share", "", ""] = _share(found["fresh", "", ""], found["active", "", ""])
    return dict(found)


def _seeds() -> Iterator[tuple[tuple[str, str, str], float]]:
    """Give every figure that can ever be its first value."""
    bounds = (*map(str, BOUNDS), "+Inf")
    seeds = [
        *product(["runs"], TYPES, OVER),
        *product(["under_way"], TYPES, ("queued", "running")),
        *product(["run_seconds"], TYPES, bounds),
        *product(["run_seconds_sum"], TYPES, [""]),
        *product(["retries"], sorted(_codes(errors.AttemptError)), [""]),
        *product(["emails"], ("sent", "failed", "unknown", "skipped"), [""]),
        *product(["emails_waiting"], ("pending", "sending"), [""]),
        *product(["due", "due_seconds"], LANES, [""]),
        *product(["rescued", "active", "fresh", "late", "refresh_seconds", "ready_at"], [""], [""]),
    ]
    yield from ((key, 0.0) for key in seeds)
    ages = [*product(["tick_seconds"], TICKS, [""]), *product(["silent_seconds"], LANES, [""])]
    never = [*ages, ("ready_seconds", "", "")]
    yield from ((key, float("inf")) for key in never)


def _codes(kind: type[errors.AttemptError]) -> Iterator[str]:
    """Yield the codes of a class of errors and of those below it."""
    if "code" in vars(kind):
        yield kind.code
    for leaf in kind.__subclasses__():
        yield from _codes(leaf)


def _share(part: float, whole: float) -> float:
    """Return a share between 0 and 1; nothing lacks where nothing is wanted."""
    return part / whole if whole else 1.0
