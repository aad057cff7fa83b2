"""
Take one person out of everything that is kept, for good, while runs go on.

First ClickHouse is told to let nobody find the person; then whoever was running before is waited for, because only
they can still publish what they have read; then every snapshot that shows the person is written anew without them and
its runs are led there. Somebody may have taken over an old snapshot meanwhile, so that is done until a look finds
nothing. What is deleted after that can never be shown again.

Each step may be cut short and repeated: until its runs are led to the new snapshot, the old one is what is shown.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from datetime import date
from typing import Final
from uuid import UUID

from worker import audiences, clickhouse, erasures, errors, exports, log, runs, settings
from worker.database import transaction

logger = log.get(__name__)

PAUSE_SECONDS: Final = 2.0

Pause = Callable[[float], None]


def erase(erasure_id: UUID, hem_hash: int, *, pause: Pause = time.sleep) -> dict[str, int]:
    """
    Carry an erasure that was asked for to its end, and return the counts: snapshots, runs, files, old keys deleted.

    :param pause: waits so many seconds while others finish
    :raises NotAllowed: when those who were running before do not end; asked again, it goes on
    :raises AttemptError: named by what ClickHouse or the storage refused; likewise
    """
    counts: Counter[str] = Counter(snapshots=0, runs=0, files=0, keys=0)
    erasures.leave_out([hem_hash])
    while shown := _shown(hem_hash, pause):
        for key, written_on in shown:
            counts.update(_rewrite(erasure_id, key, written_on))
        logger.info("erasure_rewrote", erasure_id=str(erasure_id), snapshots=len(shown))
    counts["files"] = _clear_files(erasure_id)
    counts["keys"] = _delete(erasure_id, hem_hash)
    with transaction() as connection:
        erasures.finish(connection, erasure_id)
    logger.info("erasure_finished", erasure_id=str(erasure_id), **counts)
    return dict(counts)


def _shown(hem_hash: int, pause: Pause) -> Sequence[tuple[UUID, date]]:
    """Wait for those who may know the person, and return the snapshots that show them then, each with its day."""
    _outwait(pause)
    holders = erasures.holders(hem_hash)
    keys = [key for key, _ in holders]
    with transaction() as connection:
        runs.expire_previews(connection, keys)
        shown = runs.showing(connection, keys)
    return [(key, written_on) for key, written_on in holders if key in shown]


def _outwait(pause: Pause) -> None:
    """Wait until each run that is running now has ended or changed hands, and kill what it may have left behind."""
    current = settings.current()
    looks = (current.task_hard_seconds + 2 * current.lease_seconds) / PAUSE_SECONDS
    with transaction() as connection:
        began = runs.under_way(connection)
    left = set(began)
    while left and looks > 0:
        pause(PAUSE_SECONDS)
        looks -= 1
        with transaction() as connection:
            left &= set(runs.under_way(connection))
    orphans = [query_id for query_ids in began.values() for query_id in query_ids]
    if left or (orphans and not clickhouse.kill(orphans)):
        raise errors.NotAllowed(
            "ERASURE_WAITS", "Runs that began before do not end. Look at them, then run the same command again."
        )


def _rewrite(erasure_id: UUID, old_key: UUID, written_on: date) -> dict[str, int]:
    """Write one snapshot anew, verify it, and lead everything that shows the old one to it, all or nothing."""
    with transaction() as connection:
        rewrite = erasures.note(connection, erasure_id, old_key, written_on)
    written = erasures.write(rewrite)
    with transaction() as connection:
        run_ids = runs.republish(connection, old_key, rewrite.new_key, gone=written.gone)
        audiences.resized(connection, run_ids)
        exports.withdraw(connection, run_ids)
        erasures.publish(connection, rewrite, run_ids)
    return {"snapshots": int(bool(run_ids)), "runs": len(run_ids)}


def _clear_files(erasure_id: UUID) -> int:
    """Remove the files that were made of old snapshots, and return how many there were."""
    with transaction() as connection:
        run_ids = [run_id for one in erasures.rewrites(connection, erasure_id) for run_id in one.run_ids or ()]
        leftovers = exports.leftovers(connection, run_ids)
    cleared = sum(exports.clear(one.run_id, one.below) for one in leftovers)
    with transaction() as connection:
        exports.removed(connection, leftovers)
    return cleared


def _delete(erasure_id: UUID, hem_hash: int) -> int:
    """
    Delete what nobody shows any more, one statement a day, see that nothing is left, and return how many keys it was.

    That is every key the person still stands under, what was led away from, and what was never led to; never what is
    shown, which would be found to be left.
    """
    with transaction() as connection:
        rewrites = erasures.rewrites(connection, erasure_id)
    given_up = {one.new_key: one.written_on for one in rewrites if not one.run_ids}
    clickhouse.kill([erasures.query_id(key) for key in given_up])
    gone = given_up | {one.old_key: one.written_on for one in rewrites} | dict(erasures.holders(hem_hash))
    with transaction() as connection:
        shown = runs.showing(connection, list(gone))
    days: defaultdict[date, set[UUID]] = defaultdict(set)
    for key in gone.keys() - shown:
        days[gone[key]].add(key)
    for written_on, keys in days.items():
        erasures.delete(written_on, keys)
    if erasures.remain(hem_hash, gone):
        raise errors.SnapshotMismatch
    return len(gone)
