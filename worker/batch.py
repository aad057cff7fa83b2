"""
The story of a batch: many runs of one day, picked from its serving index and frozen by the same statements.

Each run keeps its own claim, snapshot key and completion, so that a lost claim or a deleted audience drops out of the
publication and nobody else notices. Whatever but the servers' own trouble breaks a batch sends its runs back uncharged,
to be worked on alone; alone, a run is a batch of one, and pays for its own failures.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import UTC
from uuid import UUID, uuid4

from structlog.contextvars import bound_contextvars

from worker import (
    attempt,
    audience,
    clickhouse,
    errors,
    lease,
    log,
    plan,
    runs,
    selections,
    serving,
    serving_plan,
    snapshots,
)
from worker import settings as configuration
from worker.database import named_outages, transaction

logger = log.get(__name__)

STEPS = ("pick", "freeze", "frozen")


def work(
    claims: Sequence[runs.Claim],
    index: serving.Index,
    *,
    leaving: Callable[[], bool] = lambda: False,
    enough: Callable[[], bool] = lambda: False,
) -> Counter[str]:
    """
    Carry claimed runs to their ends, and return how many came to which, as :mod:`worker.attempt` names them.

    :param claims: of the index's data date, taken together
    :param leaving: True when the worker has no time left
    :param enough: asked before each further pack, where one statement cannot carry all; once true, the rest is released
    """
    batch = _Batch(claims, index)
    with batch.bound(), batch.kept(leaving) as held:
        try:
            with named_outages():
                batch.carry(held, enough)
        except errors.ClaimLost:
            batch.end("lost")
        except errors.WorkerLeaving:
            batch.end_each(lambda claim: attempt.release(claim, held))
        except errors.AttemptError as error:
            batch.break_off(held, error)
        except Exception:
            logger.exception("batch_broke")
            batch.break_off(held, errors.InternalError())
    return batch.outcomes


@dataclass(frozen=True, slots=True)
class _Group:
    """The claims of one organization that ask the same question, and the key of the snapshot that answers it."""

    config: audience.AudienceConfig
    claims: Sequence[runs.Claim]
    snapshot_key: UUID = field(default_factory=uuid4)


class _Batch:
    """Claims that have not ended yet, and what became of the others."""

    def __init__(self, claims: Sequence[runs.Claim], index: serving.Index) -> None:
        self.index, self.settings, self.first = index, configuration.current(), claims[0]
        self.open = {claim.run_id: claim for claim in claims}
        self.outcomes: Counter[str] = Counter()
        self.query_ids: list[str] = []

    def bound(self) -> AbstractContextManager[object]:
        """Say in every log line which run, or which batch of how many, it is about."""
        if self.first.batch is None:
            return attempt.bound(self.first)
        return bound_contextvars(
            batch=str(self.first.batch), batch_runs=len(self.open), data_date=str(self.first.data_date)
        )

    def kept(self, leaving: Callable[[], bool]) -> AbstractContextManager[lease.Held]:
        """Keep the claims while the work goes on; when all of them are lost, their statement goes too."""

        def renew() -> bool:
            ours = self.open.copy().values()
            if not ours:
                return True
            with transaction() as connection:
                return runs.renew(connection, *ours, seconds=self.settings.lease_seconds)

        return lease.kept(
            renew,
            seconds=self.settings.lease_seconds,
            margin=self.settings.lease_margin_seconds,
            leaving=leaving,
            on_end=lambda: clickhouse.kill(self.query_ids),
        )

    def carry(self, held: lease.Held, enough: Callable[[], bool]) -> None:
        """Answer everybody whose question can be asked, pack by pack."""
        groups = self._groups(held)
        packs = serving_plan.packed([group.config for group in groups], self.settings.batch_runs)
        for number, pack in enumerate(packs, start=1):
            if number > 1 and enough():
                raise errors.WorkerLeaving
            self._carry(groups[pack], number, held)

    def end(self, outcome: str) -> None:
        """Note that all that is still open came to one outcome."""
        self.outcomes[outcome] += len(self.open)
        self.open.clear()

    def end_each(self, act: Callable[[runs.Claim], str]) -> None:
        """End each open run for itself."""
        for claim in list(self.open.values()):
            with attempt.bound(claim):
                self._end(claim, act(claim))

    def break_off(self, held: lease.Held, error: errors.AttemptError) -> None:
        """End what is still open after an error, or hand it back when the worker goes away."""
        if held.leaving:
            self.end_each(lambda claim: attempt.release(claim, held))
            return
        if isinstance(error, (errors.ClickHouseUnavailable, errors.PostgresUnavailable, errors.InternalError)):
            attempt.stop_queries(self.query_ids)
        self.end_each(lambda claim: attempt.set_back(claim, held, error))

    def _end(self, claim: runs.Claim, outcome: str) -> None:
        del self.open[claim.run_id]
        self.outcomes[outcome] += 1

    def _check(self, found: Sequence[selections.Frozen]) -> None:
        """Publish only while ClickHouse holds what the index was built from, and the index stands."""
        if any((*one.loaded, plan.PLAN_VERSION) != self.index.versions for one in found):
            raise errors.DataChanged
        with transaction() as connection:
            if not serving.usable(connection, self.index):
                raise errors.DataChanged

    def _groups(self, held: lease.Held) -> list[_Group]:
        """Group the runs by their question; who asks what cannot be asked fails for himself."""
        questions: dict[tuple[UUID, str], list[runs.Claim]] = {}
        for claim in self.open.values():
            questions.setdefault((claim.organization_id, claim.config_hash), []).append(claim)
        groups = []
        for claims in questions.values():
            try:
                groups.append(_Group(attempt.config(claims[0]), claims))
            except errors.ConfigRefused as error:
                for claim in claims:
                    self._end(claim, attempt.set_back(claim, held, error))
        return groups

    def _carry(self, groups: Sequence[_Group], number: int, held: lease.Held) -> None:
        """Carry one pack: share what is answered already; pick, freeze, count, verify and publish the rest."""
        ids = self._ids(number)
        groups = self._begin(groups, held)
        if not groups:
            return
        preview = self.first.run_type == "preview"
        planned = serving_plan.pick(
            [group.config for group in groups],
            self.index.pieces,
            batch=uuid4(),
            snapshot_keys=[group.snapshot_key for group in groups],
            data_date=self.index.data_date,
            written_on=self.first.claimed_at.astimezone(UTC).date(),
            settings=self._limits(),
            row_limit=snapshots.PREVIEW_ROWS if preview else None,
        )
        few = selections.pick(planned, ids["pick"])
        held.check()
        answer = selections.freeze(planned, ids["freeze"], few=few)
        account = attempt.account(answer, sum(len(one.claims) for one in groups))
        held.check()
        found = selections.frozen(planned, ids["frozen"])
        self._check(found)
        held.check()
        for group, frozen in zip(groups, found, strict=True):
            self._finish(group, frozen, account, held)

    def _limits(self) -> dict[str, object]:
        """The settings of this batch's statements; a run that met its memory limit comes alone."""
        return plan.limits(
            self.settings.query_seconds,
            self.settings.query_memory_bytes,
            self.settings.query_threads,
            lighter=self.first.error_code == errors.QueryMemoryLimit.code,
            workload=self.settings.workload(self.first.run_type),
        )

    def _ids(self, number: int) -> dict[str, str]:
        """Name the statements of a pack; they are what must not go on when the claims are lost."""
        prefix = str(self.first.batch or self.first.query_id("")).rstrip("-")
        ids = {step: f"{prefix}-{number}-{step}" for step in STEPS}
        self.query_ids[:] = ids.values()
        return ids

    def _begin(self, groups: Sequence[_Group], held: lease.Held) -> list[_Group]:
        """Publish what earlier runs have answered, write down what is sent for the others, and return these."""
        shared: list[tuple[runs.Claim, runs.Published]] = []
        # One transaction for both: a run alone would pay for two.
        with transaction() as connection:
            for group in groups:
                for claim in group.claims:
                    if published := attempt.share(connection, claim, self.index.versions):
                        shared.append((claim, published))
                    elif not runs.record(
                        connection,
                        claim,
                        strategy=serving_plan.STRATEGY,
                        query_ids=self.query_ids,
                        snapshot_key=group.snapshot_key,
                        versions=self.index.versions,
                    ):
                        self._end(claim, "lost")
        held.check()
        for claim, published in shared:
            with attempt.bound(claim):
                self._publish(claim, published)
        left = [replace(group, claims=[one for one in group.claims if one.run_id in self.open]) for group in groups]
        return [group for group in left if group.claims]

    def _finish(self, group: _Group, frozen: selections.Frozen, account: dict[str, int], held: lease.Held) -> None:
        """Publish one snapshot for everybody who asked for it."""
        counted = frozen.counted
        whole = frozen.whole(snapshots.kept(self.first.run_type, counted.results))
        for claim in group.claims:
            with attempt.bound(claim):
                if whole:
                    written_on = self.first.claimed_at.astimezone(UTC).date()
                    self._publish(
                        claim,
                        attempt.written(counted.candidates, counted.results, group.snapshot_key, written_on, account),
                    )
                else:
                    self._end(claim, attempt.set_back(claim, held, errors.SnapshotMismatch()))

    def _publish(self, claim: runs.Claim, published: runs.Published) -> None:
        """Complete one run; whoever lost it drops out."""
        try:
            attempt.publish(claim, published)
        except errors.ClaimLost:
            self._end(claim, "lost")
            return
        self._end(claim, "completed")
        logger.info("run_completed", candidates=published.candidates, results=published.results)
