"""
What changed since the run before, counted under the export's claim: the mails that wait for the file say it.

A passing fault sets the export back as any other does, and all is tried again. A figure is worth less than the file,
though: what goes wrong again and again, and is charged each time, no longer stands in its way after half the budget.
"""

from worker import changes, errors, exports, lease, log, runs, settings
from worker.database import transaction

logger = log.get(__name__)


def compare(claim: exports.Claim, held: lease.Held) -> None:
    """
    Count who is new and who left in a claimed export's run, once, where there is a run to compare it with.

    :raises ClaimLost: when somebody else holds the export by now; nothing was noted then
    :raises AttemptError: named by what ClickHouse refused
    """
    with transaction() as connection:
        pair = runs.compared(connection, claim.run_id)
    if pair is None or pair.counted or not pair.readable:
        return
    counted = _counted(claim, pair)
    if counted is None:
        return
    held.check()
    with transaction() as connection:
        # Renewing locks the export's row: nobody takes it over until the figures are committed.
        if not exports.renew(connection, claim, seconds=settings.current().lease_seconds):
            raise errors.ClaimLost
        runs.changed(connection, pair, new=counted.new, left=counted.left)
    logger.info("run_compared", earlier_run_id=str(pair.earlier_id), new=counted.new, left=counted.left)


def _counted(claim: exports.Claim, pair: runs.Compared) -> changes.Changes | None:
    """Compare the snapshots; None where that cannot be done."""
    if pair.after[0] == pair.before[0]:
        return changes.NONE
    current = settings.current()
    query_id = f"{claim.export_id}-{claim.fence}-changes"
    try:
        counted = changes.count(pair.after, pair.before, query_id=query_id, most_seconds=current.query_seconds)
    except errors.AttemptError as error:
        if not error.retry.charged or claim.failures < current.charged_budget // 2:
            raise
        logger.warning("run_not_compared", code=error.code)
        return None
    if counted is None:
        logger.warning("earlier_snapshot_incomplete", earlier_run_id=str(pair.earlier_id))
    return counted
