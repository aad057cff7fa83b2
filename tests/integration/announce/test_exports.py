"""Stored exports: claimed once, complete or not there at all, and never overwritten by a late writer."""

import csv
import hashlib
import io
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import update

from worker import announce, csv_format, errors, exports, models, snapshots, storage
from worker.announce import export as story
from worker.database import transaction

WAIT = timedelta(hours=1)


def claim(worker="w", **options):
    """Take the next export."""
    with transaction() as connection:
        return exports.claim(connection, worker, lease_seconds=60, **options)


def files(stores):
    """Every file in storage, hidden ones too."""
    return [path for path in Path(stores.folder, "exports").rglob("*") if path.is_file()]


def change(run, **values):
    """Change an export behind the story's back."""
    with transaction() as connection:
        connection.execute(update(models.exports).where(models.exports.c.run_id == run.run_id).values(**values))


def test_the_file_holds_the_snapshot_in_rank_order(completed, stores, monkeypatch, work):
    """Rows written equal the results, and size and hash are those of the file, whatever the pages."""
    monkeypatch.setattr(story, "PAGE_ROWS", 3)
    run = completed(10)

    assert work()["exports_completed"] == 1
    record = run.export()
    whole = b"".join(storage.read(record["file_id"]))
    rows = list(csv.DictReader(io.StringIO(whole.decode(), newline="")))
    assert [f"person {number}" for number in range(10)] == [row["firstName"] for row in rows]
    assert {'\'=HYPERLINK("x")'} == {row["jobTitle"] for row in rows}
    expected = (len(whole), hashlib.sha1(whole, usedforsecurity=False).hexdigest(), 10, f"{run.run_id}/1.csv")
    assert expected == tuple(record[name] for name in ("byte_size", "content_sha1", "row_count", "file_id"))
    assert record["expires_at"] - record["completed_at"] == timedelta(days=30)


def test_the_stored_file_is_what_a_direct_download_gives(completed, work):
    """Same run, same bytes: both go through one writer."""
    run = completed(7)
    work()

    row = run.row()
    pages = snapshots.pages(row["snapshot_key"], row["written_on"], limit=7, page_rows=2, query_id=str(uuid4()))
    direct = b"".join(csv_format.chunks(pages, defused=row["csv_defused"]))
    assert direct == b"".join(storage.read(run.export()["file_id"]))


def test_an_empty_run_has_a_file_with_a_header(completed, work):
    """Nobody matched, and the file says so."""
    run = completed(0)
    work()

    assert b"".join(storage.read(run.export()["file_id"])).count(b"\r\n") == 1
    assert run.export()["row_count"] == 0


def test_the_cap_cuts_the_file_and_not_the_run(completed, configured, work):
    """The best rows are kept, and the record says how many."""
    configured(EXPORT_ROW_CAP=4)
    run = completed(9)
    work()

    assert (run.export()["status"], run.export()["row_count"]) == ("completed", 4)


@pytest.mark.parametrize("rows", [0, 2, 4])
def test_a_file_with_missing_rows_is_never_offered(completed, stores, rows, work):
    """Fewer rows than the run counted leave no file behind, and the export comes back later."""
    run = completed(5, rows=rows)

    assert work()["exports_retried"] == 1
    record = run.export()
    assert (record["status"], record["error_code"], record["failures"]) == ("processing", "EXPORT_MISMATCH", 1)
    assert record["due_at"] > datetime.now(UTC)
    assert files(stores) == []


def test_a_spent_budget_fails_the_export(completed, work):
    """The last charged failure leaves the code that caused it."""
    run = completed(5, rows=2)
    change(run, failures=7)

    assert work()["exports_failed"] == 1
    assert (run.export()["status"], run.export()["error_code"]) == ("failed", "EXPORT_MISMATCH")


def test_a_storage_that_is_down_closes_the_half_uncharged(completed, stores, work):
    """One export finds out; the others are not burnt, and none is charged."""
    Path(stores.folder, "exports").write_text("a file where the folder should be")
    first, second = completed(2), completed(2)

    done = work()
    assert (done["exports_retried"], done["more"]) == (1, False)
    assert [0, 0] == [run.export()["failures"] for run in (first, second)]
    assert sorted([0, 1]) == sorted(run.export()["fence"] for run in (first, second))
    codes = {run.export()["error_code"] for run in (first, second)}
    assert codes == {None, "STORAGE_UNAVAILABLE"}


def test_something_unforeseen_is_charged_and_logged(completed, monkeypatch, work):
    """A bug of ours takes neither the process nor the export with it."""
    run = completed(2)
    monkeypatch.setattr(csv_format, "chunks", lambda *_, **__: 1 / 0)

    assert work()["exports_retried"] == 1
    assert (run.export()["error_code"], run.export()["failures"]) == ("INTERNAL_ERROR", 1)


def test_a_process_that_leaves_hands_its_export_back(completed, stores, work):
    """Between two pages it stops, and whoever comes next starts at once, uncharged."""
    run = completed(2)
    asked = iter([False, True])

    done = work(stopping=lambda: next(asked, True))
    assert done["exports_released"] == 1
    record = run.export()
    assert (record["status"], record["failures"], record["claimed_by"]) == ("processing", 0, None)
    assert files(stores) == []
    assert announce.due() == 1


def test_a_process_that_is_told_to_exit_hands_its_export_back(completed, monkeypatch, work):
    """The exit goes on, the claim does not."""
    run = completed(2)

    def leave(*_, **__):
        raise SystemExit

    monkeypatch.setattr(storage, "put", leave)

    with pytest.raises(SystemExit):
        work()
    assert run.export()["claimed_by"] is None


def test_a_late_writer_changes_nothing(completed, stores, monkeypatch, work, rescue_later):
    """Whoever lost the claim while writing offers nothing and leaves no file."""
    run = completed(2)
    put = storage.put

    def slow(*arguments):
        stored = put(*arguments)
        rescue_later()
        return stored

    monkeypatch.setattr(storage, "put", slow)

    assert work()["exports_lost"] == 1
    assert run.export()["status"] == "processing"
    assert files(stores) == []


def test_a_failure_after_the_claim_was_lost_writes_nothing(completed, monkeypatch, work, rescue_later):
    """Neither code nor due date of the new holder's export is touched."""
    run = completed(2)

    def broken(*_, **__):
        rescue_later()
        raise errors.StorageUnavailable

    monkeypatch.setattr(storage, "put", broken)

    assert work()["exports_lost"] == 1
    assert run.export()["error_code"] == "WORKER_LOST"


def test_leaving_after_the_claim_was_lost_is_quiet(completed, monkeypatch, work, rescue_later):
    """There is nothing left to hand back."""
    run = completed(2)

    def leave(*_, **__):
        rescue_later()
        raise SystemExit

    monkeypatch.setattr(storage, "put", leave)

    with pytest.raises(SystemExit):
        work()
    assert run.export()["fence"] == 2


def test_a_long_export_keeps_its_claim(completed, monkeypatch, work, configured):
    """The heartbeat renews the lease while the file is being written."""
    configured(LEASE_SECONDS=1, LEASE_MARGIN_SECONDS=0.2)
    run = completed(2)
    put = storage.put

    def slow(*arguments):
        first = run.export()["lease_expires_at"]
        while run.export()["lease_expires_at"] == first:
            threading.Event().wait(0.05)
        return put(*arguments)

    monkeypatch.setattr(storage, "put", slow)

    assert work()["exports_completed"] == 1


def test_a_taken_over_export_goes_to_a_file_of_its_own(completed, work, rescue_later):
    """The fence names the file, so that nobody writes over anybody."""
    run = completed(2)
    late = claim("killed")

    assert rescue_later()["exports_retried"] == 1
    change(run, due_at=datetime.now(UTC))
    assert work()["exports_completed"] == 1
    assert (late.path, run.export()["file_id"]) == (f"{run.run_id}/1.csv", f"{run.run_id}/3.csv")
    with pytest.raises(errors.ClaimLost), transaction() as connection:
        exports.complete(connection, late, storage.Stored("local", None, late.path, 1, "0" * 40), 1, days=30)


def test_the_budget_bounds_how_often_a_worker_may_die_of_it(completed, rescue_later):
    """An export that kills its workers fails in the end."""
    run = completed(2)
    change(run, failures=7)
    claim("killed")

    assert rescue_later()["exports_failed"] == 1
    assert (run.export()["status"], run.export()["error_code"]) == ("failed", "WORKER_LOST")


def test_a_claim_in_good_standing_is_not_rescued(completed, rescue_later):
    """A renewed lease keeps the rescuer away."""
    completed(2)
    held = claim()
    with transaction() as connection:
        renewed = exports.renew(connection, held, seconds=7200)

    assert renewed
    assert set(rescue_later().values()) == {0}


def test_two_sessions_never_take_one_export(completed):
    """The second steps over what the first has locked."""
    first, second = completed(1), completed(1)

    with transaction() as one, transaction() as other:
        taken = [exports.claim(connection, "w", lease_seconds=60) for connection in (one, other, other)]

    assert {first.run_id, second.run_id} == {claimed.run_id for claimed in taken[:2]}
    assert taken[2] is None


def test_a_run_has_one_export_however_often_it_is_queued(completed, work):
    """A second queueing changes nothing, nor does asking for what is there."""
    run = completed(1)
    work()
    before = run.export()
    names = {"organization_id": run.organization_id, "run_id": run.run_id}
    with transaction() as connection:
        exports.queue(connection, audience_id=run.audience_id, **names)
        asked = exports.ensure(connection, **names)

    assert before == asked == run.export()


def test_an_expired_or_failed_export_is_made_anew(completed, work):
    """In the same row, under a new fence, by whoever asked."""
    run, who = completed(1), uuid4()
    work()
    for stale in ({"expires_at": datetime.now(UTC) - WAIT}, {"status": "failed", "error_code": "STORAGE_UNAVAILABLE"}):
        change(run, **stale)
        with transaction() as connection:
            asked = exports.ensure(connection, organization_id=run.organization_id, run_id=run.run_id, requested_by=who)

        names = ("status", "failures", "requested_by", "file_id", "error_code", "expires_at")
        assert ("processing", 0, who, None, None, None) == tuple(asked[name] for name in names)
        assert work()["exports_completed"] == 1
    assert run.export()["file_id"] == f"{run.run_id}/3.csv"


def test_only_a_completed_run_of_ones_own_can_be_exported(completed):
    """Another tenant's run does not exist; expired results cannot be written any more."""
    run = completed(1)
    with transaction() as connection, pytest.raises(errors.NotFound):
        exports.ensure(connection, organization_id=uuid4(), run_id=run.run_id)
    with transaction() as connection, pytest.raises(errors.NotFound):
        exports.get(connection, uuid4(), run.run_id)
    names = {"organization_id": run.organization_id, "run_id": run.run_id}
    with transaction() as connection, pytest.raises(errors.NotAllowed) as refusal:
        exports.ensure(connection, **names, now=datetime.now(UTC) + timedelta(days=91))
    assert refusal.value.code == "RESULTS_EXPIRED"
    with transaction() as connection:
        connection.execute(update(models.runs).where(models.runs.c.id == run.run_id).values(run_type="preview"))
    with transaction() as connection, pytest.raises(errors.NotAllowed) as refusal:
        exports.ensure(connection, **names)
    assert refusal.value.code == "RUN_IS_PREVIEW"


def test_time_that_runs_out_leaves_the_rest_for_the_next_bell(completed, work):
    """The bell says that there is more."""
    completed(1)
    completed(1)

    done = work(seconds=0.001)
    assert done["more"]
    assert announce.due() >= 1
