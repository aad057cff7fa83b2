"""Who waits, and for what: a due run's place in line, and what organizations have under way."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, DateTime, RowMapping, Uuid, bindparam, text

# The order within an organization is the claim's own.
LINE = text(
    """
    WITH clock AS (
        SELECT coalesce(:now, now()) AS at
    ), mine AS (
        SELECT id, lane, organization_id FROM runs WHERE id = :run_id
    ), waiting AS (
        SELECT
            r.id, r.organization_id, r.due_at,
            least(9, r.priority + floor(extract(epoch FROM clock.at - r.due_at) / 1800)) AS rank
        FROM clock, mine, runs r
        WHERE r.lane = mine.lane AND r.status = 'queued' AND r.due_at <= clock.at
    ), busy AS (
        SELECT DISTINCT r.organization_id, coalesce(r.batch, r.id) AS statement
        FROM mine, runs r WHERE r.status = 'running' AND r.lane = mine.lane
    )
    SELECT
        (SELECT count(DISTINCT statement) FROM busy),
        (SELECT count(*) FROM busy JOIN mine USING (organization_id)),
        (SELECT statements FROM organization_limits JOIN mine USING (organization_id)),
        (
            SELECT count(*) FROM waiting w JOIN waiting own USING (organization_id) JOIN mine ON mine.id = own.id
            WHERE (w.rank, own.due_at) > (own.rank, w.due_at)
        ),
        (SELECT count(DISTINCT w.organization_id) FROM waiting w, mine WHERE w.organization_id <> mine.organization_id)
    """
).bindparams(bindparam("now", type_=DateTime(timezone=True)), bindparam("run_id", type_=Uuid))

BUSY = text(
    """
    SELECT organization_id, coalesce(running, 0) AS running, coalesce(due, 0) AS due, statements AS most
    FROM (
        SELECT
            organization_id,
            count(DISTINCT coalesce(batch, id)) FILTER (WHERE status = 'running') AS running,
            count(*) FILTER (WHERE status = 'queued' AND due_at <= coalesce(:now, now())) AS due
        FROM runs WHERE status IN ('queued', 'running') GROUP BY organization_id
    ) work
    FULL JOIN organization_limits USING (organization_id)
    ORDER BY 2 DESC, 3 DESC, 1 LIMIT :limit
    """
).bindparams(bindparam("now", type_=DateTime(timezone=True)))


@dataclass(frozen=True, slots=True)
class Line:
    """
    Where a due run stands in its lane.

    :param lane_running: statements under way in the lane, over all workers; runs of a batch share one
    :param organization_running: those of the run's organization
    :param most: how many its organization may have; None where no operator has limited it
    :param before: due runs of its organization that come first
    :param others: other organizations with due runs
    """

    lane_running: int
    organization_running: int
    most: int | None
    before: int
    others: int


def line(connection: Connection, run_id: UUID, *, now: datetime | None = None) -> Line:
    """Return a due run's place in line."""
    return Line(*connection.execute(LINE, {"run_id": run_id, "now": now}).one())


def busiest(connection: Connection, *, limit: int, now: datetime | None = None) -> Sequence[RowMapping]:
    """
    Return the organizations that have work under way or a limit, the busiest first.

    :returns: ``organization_id``, ``running``, ``due`` and ``most``, its limit or None
    """
    return connection.execute(BUSY, {"limit": limit, "now": now}).mappings().all()
