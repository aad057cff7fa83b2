"""
Find a completed run that has answered the same question already.

Audiences are often copies of each other: whoever asks what was asked of the same data is served the same snapshot.
"""

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import ColumnElement, Connection, Date, cast, func, select

from worker.database import moment
from worker.models import run_attempts, runs
from worker.runs.claim import Claim
from worker.runs.finish import Published
from worker.runs.status import COMPLETED, PREVIEW

SHARED_DAYS: Final = 7
"""So long after it was written a snapshot is shared, in days; far less than the least retention."""


def shareable(
    connection: Connection,
    held: Claim,
    *,
    versions: tuple[int, int, int],
    csv_defused: bool,
    now: datetime | None = None,
) -> Published | None:
    """
    Return what a completed run of the same organization, config, day and versions has published, if there is one.

    Previews share nothing: they keep only their first rows.

    :param versions: of the day's signals, of people and of the plan, as this attempt would read them
    :param csv_defused: how this run's own CSV is to be written
    """
    if held.recompute or held.run_type == "preview":
        return None
    today = cast(func.timezone("UTC", moment(now)), Date)
    rows = connection.execute(
        select(
            runs.c.candidate_count.label("candidates"),
            runs.c.result_count.label("results"),
            *(runs.c[name] for name in ("snapshot_key", "written_on", "results_expire_at")),
        )
        .join(run_attempts, (run_attempts.c.run_id == runs.c.id) & (run_attempts.c.fence == runs.c.fence))
        .where(*_equal(held, versions), runs.c.written_on > today - timedelta(days=SHARED_DAYS))
        .order_by(runs.c.written_on.desc(), runs.c.completed_at.desc())
        .limit(1)
    )
    found = rows.mappings().one_or_none()
    return Published(**found, csv_defused=csv_defused, account={}) if found else None


def _equal(held: Claim, versions: tuple[int, int, int]) -> tuple[ColumnElement[bool], ...]:
    """Return what makes a completed run's question equal to this one's."""
    return (
        runs.c.organization_id == held.organization_id,
        runs.c.config_hash == held.config_hash,
        runs.c.data_date == held.data_date,
        runs.c.status == COMPLETED,
        runs.c.run_type != PREVIEW,
        run_attempts.c.data_version == versions[0],
        run_attempts.c.people_version == versions[1],
        run_attempts.c.plan_version == versions[2],
    )
