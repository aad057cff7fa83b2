"""
Take due runs, hold them, and say what is being done with them.

A claim takes its lane's advisory lock first, so that two claimers never count the same free places; claims are
milliseconds. The statement is written out rather than built, because its parts only make sense together.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import (
    BigInteger,
    Connection,
    Date,
    DateTime,
    Uuid,
    bindparam,
    column,
    func,
    insert,
    select,
    text,
    update,
    values,
)
from sqlalchemy.dialects.postgresql import array
from sqlalchemy.types import Text

from worker.database import moment
from worker.models import run_attempts, runs
from worker.runs.status import RUNNING

# A loose scan finds the organizations with queued runs, ten index probes each find their best due ones, and a few more
# in case somebody holds the first; the least busy organization goes first. Shares never leave a place empty: who has
# used up its own goes on when nobody below theirs waits. An operator's limit on an organization always holds, and whom
# it stops keeps nobody waiting. Among the equally busy chance decides: by age, whoever queued thousands first would be
# served to the end. A batch is one statement, so it takes one place; it holds runs of one date, none of which has to be
# alone. The CTE `due` looks the best up one by one, in their order, and takes exactly as many as it should under every
# plan; joined with all of them, a large table would be read as often as somebody waits.
# The statuses are literals, so that a generic plan keeps the partial indexes.
CLAIM = text(
    """
    WITH RECURSIVE clock AS (
        SELECT coalesce(:now, now()) AS at
    ), organizations AS (
        (SELECT organization_id FROM runs WHERE lane = :lane AND status = 'queued' ORDER BY organization_id LIMIT 1)
        UNION ALL
        SELECT (
            SELECT r.organization_id FROM runs r
            WHERE r.lane = :lane AND r.status = 'queued' AND r.organization_id > o.organization_id
            ORDER BY r.organization_id LIMIT 1
        )
        FROM organizations o WHERE o.organization_id IS NOT NULL
    ), running AS (
        SELECT organization_id, coalesce(batch, id) AS statement FROM runs WHERE status = 'running' AND lane = :lane
    ), busy AS (
        SELECT organization_id, count(DISTINCT statement) AS statements FROM running GROUP BY organization_id
    ), waiting AS (
        SELECT
            r.id, r.solo, r.data_date, o.organization_id, random() AS chance,
            coalesce(l.statements, 2147483647) AS most,
            least(9, r.priority + floor(extract(epoch FROM clock.at - r.due_at) / 1800)) AS rank,
            coalesce(busy.statements, 0) + 1 AS load,
            coalesce(busy.statements, 0) + row_number() OVER (
                PARTITION BY o.organization_id
                ORDER BY least(9, r.priority + floor(extract(epoch FROM clock.at - r.due_at) / 1800)) DESC, r.due_at
            ) AS turn
        FROM clock, organizations o
        CROSS JOIN generate_series(0, 9) AS level
        CROSS JOIN LATERAL (
            SELECT id, priority, due_at, solo, data_date FROM runs
            WHERE lane = :lane AND status = 'queued' AND organization_id = o.organization_id
              AND priority = level AND due_at <= clock.at
            ORDER BY due_at LIMIT :wanted + 4
        ) r
        LEFT JOIN busy USING (organization_id)
        LEFT JOIN organization_limits l USING (organization_id)
    ), admitted AS (
        SELECT * FROM waiting
        WHERE waiting.load <= waiting.most
          AND (waiting.load <= :organization_max OR NOT EXISTS (
              SELECT FROM waiting other
              WHERE other.organization_id <> waiting.organization_id
                AND other.load <= least(:organization_max, other.most)
          ))
    ), first AS (
        SELECT CASE WHEN solo OR data_date IS DISTINCT FROM :batch_date THEN 1 ELSE :wanted END AS together
        FROM admitted ORDER BY turn, rank DESC, chance LIMIT 1
    ), due AS (
        SELECT r.id
        FROM (
            SELECT id FROM admitted
            WHERE (SELECT together FROM first) = 1 OR (NOT solo AND data_date = :batch_date)
            ORDER BY turn, rank DESC, chance
        ) best
        CROSS JOIN LATERAL (SELECT id FROM runs WHERE id = best.id AND status = 'queued' FOR UPDATE SKIP LOCKED) r
        LIMIT CASE
            WHEN (SELECT count(DISTINCT statement) FROM running) < :lane_max THEN (SELECT together FROM first) ELSE 0
        END
    )
    UPDATE runs r SET
        status = 'running',
        fence = r.fence + 1,
        attempts = r.attempts + 1,
        claimed_by = :worker,
        batch = CASE WHEN (SELECT count(*) FROM due) > 1 THEN :batch END,
        lease_expires_at = clock.at + make_interval(secs => :lease_seconds),
        next_attempt_at = NULL,
        started_at = clock.at,
        first_claimed_at = coalesce(r.first_claimed_at, clock.at),
        updated_at = clock.at
    FROM due, clock
    WHERE r.id = due.id AND r.status = 'queued'
    RETURNING r.id, r.fence, r.organization_id, r.audience_id, r.run_type, r.config, r.config_hash, r.data_date,
              r.attempts, r.failures, r.first_claimed_at, r.started_at, r.error_code, r.recompute, r.batch
    """
).bindparams(
    bindparam("now", type_=DateTime(timezone=True)), bindparam("batch_date", type_=Date), bindparam("batch", type_=Uuid)
)


@dataclass(frozen=True, slots=True)
class Claim:
    """
    A run that is ours until somebody raises its fence.

    ``attempts`` counts this one; ``failures`` does not; ``error_code`` is the last attempt's; ``recompute`` forbids to
    share another run's snapshot; ``batch`` names the statement it shares, if it shares one. Times are the database's.
    """

    run_id: UUID
    fence: int
    organization_id: UUID
    audience_id: UUID
    run_type: str
    config: dict[str, Any]
    config_hash: str
    data_date: date
    attempts: int
    failures: int
    first_claimed_at: datetime
    claimed_at: datetime
    error_code: str | None
    recompute: bool
    batch: UUID | None

    def query_id(self, step: str) -> str:
        """Return the ClickHouse query id of one step of this attempt."""
        return f"{self.run_id}-{self.fence}-{step}"


def claim(  # noqa: PLR0913 - the ceilings and sizes of a lane, all of them plain
    connection: Connection,
    lane: str,
    worker: str,
    *,
    wanted: int = 1,
    batch_date: date | None = None,
    lease_seconds: float,
    lane_max: int,
    organization_max: int,
    now: datetime | None = None,
) -> list[Claim]:
    """
    Take the best due run of a lane, the least busy organization's first, or a batch of them that take one place.

    :param wanted: most runs of a batch
    :param batch_date: the data date whose runs may share a statement; None where every run is taken alone
    :param lane_max: statements the lane may have running, over all workers
    :param organization_max: an organization's share of them while another one below its own has due work
    """
    connection.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(f"lane:{lane}", 0))))
    given = {
        "lane": lane,
        "worker": worker,
        "wanted": wanted if batch_date else 1,
        "batch_date": batch_date,
        "batch": uuid4(),
        "lease_seconds": lease_seconds,
        "lane_max": lane_max,
        "organization_max": organization_max,
        "now": now,
    }
    claims = [Claim(*row) for row in connection.execute(CLAIM, given)]
    if claims:
        connection.execute(insert(run_attempts), [_started(one, worker) for one in claims])
    return claims


def _started(claim: Claim, worker: str) -> dict[str, Any]:
    """Return the row of an attempt that begins."""
    born = {"run_id": claim.run_id, "fence": claim.fence, "attempt": claim.attempts, "started_at": claim.claimed_at}
    return born | {"worker": worker, "batch": claim.batch}


def renew(connection: Connection, *held: Claim, seconds: float, now: datetime | None = None) -> bool:
    """Extend the leases of a batch's runs and return whether any of the claims still holds."""
    ours = values(column("id", Uuid), column("fence", BigInteger), name="ours").data(
        [(one.run_id, one.fence) for one in held]
    )
    renewed = connection.execute(
        update(runs)
        .where(runs.c.id == ours.c.id, runs.c.fence == ours.c.fence, runs.c.status == RUNNING)
        .values(
            lease_expires_at=moment(now) + func.make_interval(0, 0, 0, 0, 0, 0, seconds),
            updated_at=moment(now),
        )
    )
    return renewed.rowcount > 0


def record(
    connection: Connection,
    held: Claim,
    *,
    strategy: str,
    query_ids: Sequence[str],
    snapshot_key: UUID,
    versions: tuple[int, int, int],
) -> bool:
    """
    Write down what is about to be sent to ClickHouse, and return whether the claim still holds.

    :param query_ids: every id this attempt may use, so that a rescuer knows what to kill
    :param versions: of the day's signals, of people and of the plan
    """
    holds = select(runs.c.id).where(runs.c.id == held.run_id, runs.c.fence == held.fence, runs.c.status == RUNNING)
    recorded = connection.execute(
        update(run_attempts)
        .where(run_attempts.c.run_id == held.run_id, run_attempts.c.fence == held.fence, holds.exists())
        .values(
            strategy=strategy,
            query_ids=array(query_ids, type_=Text),
            snapshot_key=snapshot_key,
            data_version=versions[0],
            people_version=versions[1],
            plan_version=versions[2],
        )
    )
    return recorded.rowcount == 1
