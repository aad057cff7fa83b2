"""
Count the runs and mails that were over within a stretch of time.

A run is over once and for good, and its attempts with it; so whatever is counted here is counted in exactly one
stretch, however finely time is cut.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, DateTime, bindparam, text

# Seconds of a run: the upper bounds of the histogram, each included in its bucket.
BOUNDS: Final = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)

# From :since, or from where counting stopped, to :until, or without end. Only runs that failed once have attempts to
# tell of. Buckets are cut from above, since Prometheus counts a value that equals a bound below it; a clock set back
# makes no run shorter than nothing.
ENDED: Final = text(
    """
    WITH ended AS MATERIALIZED (
        SELECT id, run_type, status, failures,
               CAST(greatest(0, extract(epoch FROM completed_at - started_at)) AS float8) AS seconds
        FROM runs
        WHERE finished_at >= coalesce(:since, (SELECT until FROM counted), '-infinity')
          AND finished_at < coalesce(:until, 'infinity')
    ), set_back AS (
        SELECT a.outcome, a.error_code FROM ended JOIN run_attempts a ON a.run_id = ended.id
        WHERE ended.failures > 0 AND a.outcome IN ('retried', 'rescued')
    )
    SELECT 'runs' AS name, run_type AS first, status AS second, CAST(count(*) AS float8) AS value
    FROM ended GROUP BY run_type, status
    UNION ALL
    SELECT 'run_seconds', run_type, CAST(width_bucket(-seconds, CAST(:bounds AS float8[])) AS text), count(*)
    FROM ended WHERE status = 'completed' GROUP BY run_type, 3
    UNION ALL
    SELECT 'run_seconds_sum', run_type, '', sum(seconds) FROM ended WHERE status = 'completed' GROUP BY run_type
    UNION ALL
    SELECT 'retries', error_code, '', count(*) FROM set_back WHERE outcome = 'retried' GROUP BY error_code
    UNION ALL
    SELECT 'rescued', '', '', count(*) FROM set_back WHERE outcome = 'rescued'
    UNION ALL
    SELECT 'emails', status, '', count(*) FROM ready_emails
    WHERE status NOT IN ('pending', 'sending')
      AND updated_at >= coalesce(:since, (SELECT until FROM counted), '-infinity')
      AND updated_at < coalesce(:until, 'infinity')
    GROUP BY status
    """
).bindparams(bindparam("since", type_=DateTime(timezone=True)), bindparam("until", type_=DateTime(timezone=True)))

Counts = Mapping[tuple[str, str, str], float]


def ended(connection: Connection, since: datetime | None = None, until: datetime | None = None) -> Counts:
    """
    Count what was over in [since, until), by name and up to two labels.

    :param since: None for where counting stopped
    :param until: None for no end
    """
    values = {"since": since, "until": until, "bounds": sorted(-bound for bound in BOUNDS)}
    rows = connection.execute(ENDED, values)
    return {
        (row.name, row.first, _bound(row.second) if row.name == "run_seconds" else row.second): row.value
        for row in rows
    }


def _bound(above: str) -> str:
    """Name a bucket by its upper bound, so that totals stay true when the bounds change."""
    place = len(BOUNDS) - int(above)
    return str(BOUNDS[place]) if place < len(BOUNDS) else "+Inf"
