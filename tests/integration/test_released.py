"""A run taken from a worker that lives after all."""

from concurrent.futures import ThreadPoolExecutor

from builders import attempts, claimed, run_row, saved
from crowd import filled, hastened, slowed, until_running

from worker import drain, manual, rescue
from worker.materialize import materialize


def test_a_live_worker_loses_what_an_operator_releases(stores, clickhouse):
    """Its query is killed under it and it stops without a word in the row; the next worker completes the run, uncharged."""
    filled(clickhouse, 3)
    slowed(clickhouse)
    run_id = manual.queue(saved()).run_id
    [claim] = claimed(now=None)

    with ThreadPoolExecutor(1) as beside:
        outcome = beside.submit(materialize, claim)
        until_running(clickhouse, claim.query_id("count"))
        killed = rescue.release(run_id, by="ann")
    hastened(clickhouse)
    drained = drain.drain("manual", "w2")

    assert (True, "lost", 1) == (killed, outcome.result(), drained["completed"])
    assert [("w1", "released", False), ("w2", "completed", False)] == [
        (one["worker"], one["outcome"], one["charged"]) for one in attempts(run_id)
    ]
    row = run_row(run_id)
    assert ("completed", 3, 1, 0) == tuple(row[name] for name in ("status", "result_count", "attempts", "failures"))
