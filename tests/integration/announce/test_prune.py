"""What has outlived its retention goes, files before rows, and nothing that anybody may still need."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from builders import run_row
from sqlalchemy import insert, text

from worker import errors, exports, models, prune, runs
from worker.database import transaction

NOTHING = {"workers": 0, "attempts": 0, "files": 0, "runs": 0}


@pytest.fixture(autouse=True)
def _patient(configured, stores):
    """Keep runs for 130 days, their attempts for 14."""
    configured(RUN_RETENTION_DAYS=130, ATTEMPT_RETENTION_DAYS=14)


def after(days):
    """Let a pass begin so many days from now."""
    return prune.prune(now=datetime.now(UTC) + timedelta(days=days))


def counted():
    """Have everything counted that ends within a long time."""
    changed("INSERT INTO counted (until) VALUES (now() + interval '500 days')")


def changed(statement):
    """Change what stands in Postgres."""
    with transaction() as connection:
        connection.execute(text(statement))


def left():
    """Count the rows of every table that retention is about."""
    names = ("runs", "run_attempts", "exports", "ready_emails", "idempotency_keys")
    with transaction() as connection:
        return [connection.scalar(text(f"SELECT count(*) FROM {name}")) for name in names]


def files(stores):
    """List every stored file, whole or half written."""
    return sorted(path.name for path in Path(stores.folder, "exports").rglob("*") if path.is_file())


def asked_anew(run):
    """Ask for a run's file as a client does."""
    with transaction() as connection:
        exports.ensure(connection, organization_id=run.organization_id, run_id=run.run_id)


@pytest.fixture
def run(completed, work, stores):
    """A completed run with a stored file, an attempt, a mail that was sent and an idempotency key."""
    it = completed(3, recipients=("ada@example.com",))
    names = {"organization_id": it.organization_id, "audience_id": it.audience_id, "run_id": it.run_id}
    ended = {"ended_at": datetime.now(UTC), "outcome": "completed"}
    with transaction() as connection:
        connection.execute(
            insert(models.run_attempts).values(run_id=it.run_id, fence=0, attempt=1, worker="w", **ended)
        )
        connection.execute(insert(models.idempotency_keys).values(**names, key="k"))
    work()
    assert ([1] * 5, 1) == (left(), len(files(stores)))
    return it


def test_a_run_leaves_step_by_step(run, completed, clickhouse, stores):
    """Once counted, first its attempts go, then its file, at last itself; who shares its snapshot loses nothing."""
    other = completed(3)
    changed(f"UPDATE runs SET snapshot_key = '{run.row()['snapshot_key']}' WHERE id = '{other.run_id}'")
    changed(f"UPDATE runs SET finished_at = finished_at + interval '9 days' WHERE id = '{other.run_id}'")
    other.give_file_up()

    assert {**NOTHING, "workers": 1, "files": 1} == after(400)
    changed("UPDATE exports SET removed_at = NULL WHERE status = 'completed'")
    counted()
    passes = [after(days) for days in (13, 15, 29, 31, 129, 131)]

    gone = [{}, {"attempts": 1}, {}, {"files": 1}, {}, {"runs": 1}]
    assert [{**NOTHING, **some} for some in gone] == passes
    assert ([1, 0, 1, 0, 0], []) == (left(), files(stores))
    key = run_row(other.run_id)["snapshot_key"]
    assert 3 == clickhouse.command(f"SELECT count() FROM audience_results WHERE snapshot_key = '{key}'")


def test_what_is_needed_stays(run):
    """A run stays while its results can be read, its file is offered, a mail is on its way or one is to be counted."""
    counted()
    for needed in (
        "UPDATE runs SET results_expire_at = now() + interval '500 days'",
        "UPDATE exports SET expires_at = now() + interval '500 days'",
        "UPDATE ready_emails SET status = 'pending', sent_at = NULL",
        "UPDATE ready_emails SET updated_at = now() + interval '500 days'",
    ):
        with transaction() as connection:
            connection.execute(text(needed))
            assert [] == runs.outlived(connection, days=130, limit=9, now=datetime.now(UTC) + timedelta(days=400))
            connection.rollback()

    assert 1 == after(400)["runs"]


def test_a_pass_that_is_cut_short_leaves_nothing_that_nobody_knows(run, configured, stores, monkeypatch):
    """A storage that does not answer keeps the rows, and so does a crash behind it; the next pass ends what was begun."""
    counted()
    place = stores.environment["STORAGE_URL"]
    configured(STORAGE_URL=f"{place}/{run.run_id}/1.csv/nowhere")
    with pytest.raises(errors.StorageUnavailable):
        after(400)
    refused = files(stores), left()
    configured(STORAGE_URL=place)
    with monkeypatch.context() as broken:
        broken.setattr(runs, "forget", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            after(400)
    cut = files(stores), left()

    assert (["1.csv"], [1, 0, 1, 1, 1]) == refused
    assert ([], [1, 0, 1, 1, 1]) == cut
    assert (1, [0] * 5) == (after(400)["runs"], left())


def test_a_file_that_is_made_anew_outlives_the_old_one(run, work, stores):
    """What earlier claims have left goes, whole or half written, and what is offered stays, though the row is the same."""
    folder = Path(stores.folder, "exports", str(run.run_id))
    changed("UPDATE exports SET expires_at = now()")
    asked_anew(run)
    work()
    (folder / "1.csv#1").write_text("half")
    before = after(29)["files"], files(stores)
    with transaction() as connection:
        [leftover] = exports.leftovers(connection, [run.run_id])
    exports.clear(run.run_id, leftover.below)
    offered = files(stores)
    changed("UPDATE exports SET expires_at = now()")
    prune.prune()

    assert ((0, ["1.csv", "1.csv#1", "2.csv"]), ["2.csv"]) == (before, offered)
    assert not folder.exists()
    assert run.export()["removed_at"] is not None
    asked_anew(run)
    assert ("processing", None) == tuple(run.export()[name] for name in ("status", "removed_at"))


def test_a_pass_is_bounded(completed, run, monkeypatch):
    """Of three old runs a pass without time takes one batch of two."""
    for _ in range(2):
        completed(0).give_file_up()
    counted()
    monkeypatch.setattr(prune, "BATCH", 2)
    monkeypatch.setattr(prune, "PASS_SECONDS", 0)

    assert [2, 1, 0] == [after(400)["runs"] for _ in range(3)]
