"""
The ways from a config to a verified snapshot, as ClickHouse statements alone: no queue, no claim, no completion.

Query cache off for all of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path
from string import Template
from typing import Any, Final
from uuid import uuid4

from worker import plan, selections, serving, serving_plan, settings, snapshots
from worker.audience import AudienceConfig
from worker.errors import SnapshotMismatch
from worker.plan import Counted

UNCACHED: Final = {"use_query_cache": 0}
JOIN: Final = Path(__file__).parent / "join"


def direct(config: AudienceConfig, day: date) -> Counted:
    """Count, write and verify with the statements of :mod:`worker.plan`: ``hem_hash IN``, the reference."""
    return _by(plan.load(), config, day)


def joined(config: AudienceConfig, day: date) -> Counted:
    """Count, write and verify by a join on the hash of the e-mail, as one would write it first."""
    return _by(_join(), config, day)


def picked(configs: Sequence[AudienceConfig], index: serving.Index) -> list[Counted]:
    """Pick, count, write and verify audiences from the serving index, all in the same statements."""
    batch, keys = uuid4(), [uuid4() for _ in configs]
    planned = serving_plan.pick(
        configs,
        index.pieces,
        batch=batch,
        snapshot_keys=keys,
        data_date=index.data_date,
        written_on=_today(),
        settings=_limits(),
    )
    few = selections.pick(planned, f"{batch}-pick")
    selections.freeze(planned, f"{batch}-freeze", few=few)
    found = selections.frozen(planned, f"{batch}-frozen")
    if not all(one.whole(one.counted.results) for one in found):
        raise SnapshotMismatch
    return [one.counted for one in found]


def _by(queries: plan.Queries, config: AudienceConfig, day: date) -> Counted:
    """Run the three statements that a config comes to."""
    key, current = uuid4(), settings.current()
    planned = plan.build(
        config,
        day,
        queries=queries,
        snapshot_key=key,
        written_on=_today(),
        max_execution_seconds=current.query_seconds,
        max_memory_bytes=current.query_memory_bytes,
        max_threads=current.query_threads,
    )
    planned = replace(
        planned, count=_uncached(planned.count), write=_uncached(planned.write), verify=_uncached(planned.verify)
    )
    counted = snapshots.count(planned, f"{key}-count")
    snapshots.write(planned, f"{key}-write")
    snapshots.verify(planned, counted.results, f"{key}-verify")
    return counted


@cache
def _join() -> plan.Queries:
    """Read the rival's statements; what they share with ours stays ours."""
    who, write = (Template((JOIN / f"{name}.sql").read_text(encoding="utf-8")) for name in ("who", "write"))
    return replace(plan.load(), who=who, write=write)


def _uncached(statement: plan.Statement) -> plan.Statement:
    """Forbid a statement the query cache."""
    return replace(statement, settings={**statement.settings, **UNCACHED})


def _limits() -> Mapping[str, Any]:
    """The limits that every statement of a run has."""
    current = settings.current()
    limits = plan.limits(current.query_seconds, current.query_memory_bytes, current.query_threads, lighter=False)
    return {**limits, **UNCACHED}


def _today() -> date:
    """The day that snapshots are stored under."""
    return datetime.now(UTC).date()
