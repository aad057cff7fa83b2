"""What the stores say once it is over, read in one go for whoever judges it."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

import polars as pl
from chaos.world import World

from local.mail import recipients

Row = Mapping[str, Any]

SNAPSHOTS = """
SELECT snapshot_key, groupArray((rank, hashed_email, score, topic_overlap)), uniqExact(data_date), any(data_date)
FROM (SELECT * FROM audience_results ORDER BY snapshot_key, rank)
WHERE snapshot_key IN {keys:Array(UUID)}
GROUP BY snapshot_key
"""
LEASES = """
SELECT 'run' AS what, id FROM runs WHERE lease_expires_at IS NOT NULL
UNION ALL SELECT 'export', run_id FROM exports WHERE lease_expires_at IS NOT NULL
UNION ALL SELECT 'mail', run_id FROM ready_emails WHERE lease_expires_at IS NOT NULL
"""


@dataclass(frozen=True)
class State:
    """
    Everything that is judged.

    :param days: those that were made ready, oldest first
    :param snapshots: published key to its rows (rank, hashed_email, score, topic_overlap) and to its days
    :param mails: how often each (Message-ID, recipient) arrived
    :param files: run to rows and SHA-1 of each file that is stored for it, by path
    :param queries: query ids that still run
    """

    days: Sequence[date]
    audiences: Sequence[Row]
    runs: Sequence[Row]
    attempts: Mapping[UUID, Sequence[Row]]
    exports: Mapping[UUID, Sequence[Row]]
    emails: Mapping[UUID, Sequence[Row]]
    leases: Sequence[Row]
    snapshots: Mapping[UUID, tuple[Sequence[tuple[int, str, int, int]], Sequence[date]]]
    mails: Counter[tuple[str, str]]
    files: Mapping[UUID, Mapping[str, bytes]]
    queries: Sequence[str]
    people: pl.DataFrame
    signals: pl.DataFrame


def read(world: World, days: Sequence[date]) -> State:
    """Read the stores, directly."""
    runs = world.rows("SELECT * FROM runs ORDER BY data_date, created_at, id")
    keys = [str(run["snapshot_key"]) for run in runs if run["snapshot_key"]]
    found = world.query(SNAPSHOTS, keys=keys) if keys else []
    messages = world.servers.messages()
    people, signals = world.frames()
    return State(
        days=days,
        audiences=world.rows("SELECT * FROM audiences ORDER BY id"),
        runs=runs,
        attempts=_by_run(world.rows("SELECT * FROM run_attempts ORDER BY run_id, fence")),
        exports=_by_run(world.rows("SELECT * FROM exports")),
        emails=_by_run(world.rows("SELECT * FROM ready_emails ORDER BY run_id, recipient")),
        leases=world.rows(LEASES),
        snapshots={key: ([tuple(row) for row in rows], [day] * many) for key, rows, many, day in found},
        mails=Counter((str(one["Message-ID"]), address) for one in messages for address in recipients(one)),
        files={
            run["id"]: {str(file.relative_to(world.exports)): file.read_bytes() for file in _files(world, run["id"])}
            for run in runs
        },
        queries=[
            row[0] for row in world.query("SELECT query_id FROM system.processes WHERE query_id LIKE '%-%-%-%-%-%'")
        ],
        people=people,
        signals=signals,
    )


def _by_run(rows: Sequence[Row]) -> Mapping[UUID, list[Row]]:
    """Group rows by their run."""
    grouped: defaultdict[UUID, list[Row]] = defaultdict(list)
    for row in rows:
        grouped[row["run_id"]].append(row)
    return grouped


def _files(world: World, run_id: UUID):
    """The files stored for a run."""
    return sorted((world.exports / str(run_id)).glob("*.csv"))
