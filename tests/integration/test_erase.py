"""A person is taken out of everything that is kept, whoever works meanwhile and however often that is cut short."""

import hashlib
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest
from builders import attempts, audience_row, claimed, queued, run_row, saved
from commandline import command, done, sentence
from published import DAY, completed
from sqlalchemy import select

from worker import (
    announce,
    erase,
    erasures,
    errors,
    exports,
    manual,
    migrate,
    models,
    runs,
    snapshots,
    storage,
)
from worker.database import transaction
from worker.materialize import materialize

ORGANIZATION = UUID(int=1)
PERSON = hashlib.sha256(b"1").hexdigest()
PEOPLE = 5
# Carries an erasure on in a process of its own, which is killed when it is about to lead runs to what it has written.
KILLED = """
import os, signal, sys
from uuid import UUID
from worker import erase, runs
runs.republish = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
erase.erase(UUID(sys.argv[1]), int(sys.argv[2]))
"""


@pytest.fixture
def first(clickhouse):
    """A completed run that found five people, the person among them."""
    return completed(clickhouse, ORGANIZATION, people=PEOPLE)[1]


def again(**asked):
    """Ask the same once more for another audience, and return its run, completed."""
    run_id = manual.queue(saved(organization_id=ORGANIZATION, topics=(1, 2), now=None), **asked).run_id
    [claim] = claimed(now=None)
    assert "completed" == materialize(claim)
    return run_id


def told(run_id):
    """Read what a run says of its results: candidates, results, the key they stand under."""
    return tuple(run_row(run_id)[name] for name in ("candidate_count", "result_count", "snapshot_key"))


def readable(run_id):
    """Count the results of a run through the door that readers use; all that it tells of must be there."""
    run = run_row(run_id)
    [rows] = snapshots.pages(
        run["snapshot_key"], run["written_on"], limit=run["result_count"], page_rows=100, query_id=f"{run_id}-looked"
    )
    return len(rows)


def ranks(client):
    """Read the ranks under each key that is left, whatever became of it."""
    rows = client.query(
        "SELECT snapshot_key, groupArray(rank) FROM (SELECT * FROM audience_results ORDER BY rank) GROUP BY 1"
    )
    return dict(rows.result_rows)


def left_of(client):
    """Count the rows of the person."""
    return client.command(f"SELECT count() FROM audience_results WHERE hashed_email = '{PERSON}'")


def export_of(run_id):
    """Read a run's export."""
    with transaction() as connection:
        return exports.get(connection, ORGANIZATION, run_id)


def files(stores):
    """Read every stored file."""
    return [path.read_text() for path in Path(stores.folder, "exports").rglob("*") if path.is_file()]


def announced():
    """Write what exports are due."""
    return announce.announce("w", seconds=30, stopping=lambda: False)


def asked():
    """Write down that the person is to be erased."""
    hem_hash = erasures.hashed(PERSON)
    with transaction() as connection:
        return erasures.ask(connection, hem_hash), hem_hash


def interrupted(patch, room, about_to):
    """Carry the erasure on until somebody presses Ctrl-C before this step."""

    def ctrl_c(*_, **__):
        raise KeyboardInterrupt

    patch.setattr(room, about_to, ctrl_c)
    erase.erase(*asked())


def status():
    """Read how erasures stand, and how many rewritings are remembered."""
    with transaction() as connection:
        rewrites = connection.execute(select(models.rewrites)).all()
        return [row["status"] for row in erasures.saved(connection)], len(rewrites)


def test_a_person_is_taken_out_of_everything(first, clickhouse, stores):
    """Snapshots, counts, sizes and files lose them, equal runs stay equal, previews end, and no later run finds them."""
    second = again()
    preview = queued(run_row(first)["audience_id"], data_date=DAY)
    materialize(claimed(now=None)[0])
    announced()
    before = told(first)[2]

    said = done("people", "erase", PERSON.upper())

    assert "Erased: 1 snapshots written anew for 2 runs; 2 files and 2 old snapshots deleted.\n" == said
    assert (4, 4) == told(first)[:2] == told(second)[:2]
    assert before != told(first)[2] == told(second)[2]
    assert {told(first)[2]: [1, 2, 3, 4]} == ranks(clickhouse)
    assert (4, 0, []) == (readable(first), left_of(clickhouse), files(stores))
    assert [4, 4] == [audience_row(run_row(run)["audience_id"])["audience_size"] for run in (first, second)]
    assert run_row(preview)["results_expire_at"] <= run_row(first)["updated_at"]

    with transaction() as connection:
        exports.ensure(connection, organization_id=ORGANIZATION, run_id=first)
    later = again(recompute=True)
    assert (2, 4) == (announced()["exports_completed"], export_of(first)["row_count"])
    assert (4, 4) == told(later)[:2]
    assert [False, False] == [PERSON in text for text in files(stores)]


def test_erasing_again_is_harmless(first, clickhouse):
    """Refused while a run does not end, it goes on; again nothing changes; a ClickHouse that has forgotten is told."""
    manual.queue(saved(organization_id=ORGANIZATION, topics=(1,), now=None))
    [slow] = claimed(now=None)
    with pytest.raises(errors.NotAllowed, match="Runs that began before do not end"):
        erase.erase(*asked(), pause=lambda _: None)
    assert (5, "running") == (told(first)[1], status()[0][0])
    assert "completed" == materialize(slow)
    done("people", "erase", PERSON)
    before = told(first)

    assert "Erased: 0 snapshots written anew for 0 runs; 0 files and 0 old snapshots deleted.\n" == done(
        "people", "erase", "--all"
    )
    assert before == told(first)
    clickhouse.command("TRUNCATE TABLE erased_people")
    migrate.migrate()
    migrate.migrate()
    assert 1 == clickhouse.command("SELECT count() FROM erased_people")
    assert "finished" in done("people", "list")
    assert PERSON not in done("people", "list", "--json")


def test_a_run_that_had_read_them_does_not_bring_them_back(first, monkeypatch, clickhouse):
    """What was written before the erasure and is published while it waits is written anew as well."""
    run_id = manual.queue(saved(organization_id=ORGANIZATION, topics=(1, 2), now=None), recompute=True).run_id
    wrote, go = threading.Event(), threading.Event()
    verify = snapshots.verify

    def held(*given):
        wrote.set()
        assert go.wait(30)
        verify(*given)

    monkeypatch.setattr(snapshots, "verify", held)
    with ThreadPoolExecutor(1) as threads:
        [claim] = claimed(now=None)
        working = threads.submit(materialize, claim)
        assert wrote.wait(30)
        before = clickhouse.command(f"SELECT count() FROM audience_results WHERE hashed_email = '{PERSON}'")

        def pause(_seconds):
            go.set()
            assert "completed" == working.result(30)
            assert 5 == told(run_id)[1]

        counts = erase.erase(*asked(), pause=pause)

    assert (2, 2) == (before, counts["snapshots"])
    assert (4, 4) == told(first)[:2] == told(run_id)[:2]
    assert ([1, 2, 3, 4], 0) == (ranks(clickhouse)[told(run_id)[2]], left_of(clickhouse))


def test_an_old_snapshot_that_is_taken_over_meanwhile_is_found(first, clickhouse):
    """A run that looked for an equal one just before the rewriting, and publishes just after it, is led on too."""
    version = attempts(first)[0]
    versions = tuple(version[name] for name in ("data_version", "people_version", "plan_version"))
    waiting = [manual.queue(saved(organization_id=ORGANIZATION, topics=(1, 2), now=None)).run_id for _ in range(2)]
    [early] = claimed(now=None)
    held = [early]

    def pause(_seconds):
        claim = held.pop()
        if claim is early:
            # While the first one is waited for, the second begins and finds the old snapshot.
            held.extend(claimed(now=None))
            with transaction() as connection:
                held.append(runs.shareable(connection, held[0], versions=versions, csv_defused=True))
                runs.release(connection, claim)
        else:
            with transaction() as connection:
                runs.complete(connection, held.pop(), claim)

    counts = erase.erase(*asked(), pause=pause)

    [taken] = [run for run in waiting if run != early.run_id]
    assert (2, []) == (counts["snapshots"], held)
    assert (4, 4) == told(first)[:2] == told(taken)[:2]
    assert ([1, 2, 3, 4], 0) == (ranks(clickhouse)[told(taken)[2]], left_of(clickhouse))


def test_a_file_that_is_being_written_is_not_offered(first, stores):
    """Whoever writes it has lost the claim, what they wrote is gone, and the file is made anew without the person."""
    with transaction() as connection:
        claim = exports.claim(connection, "slow", lease_seconds=60)
    path = Path(stores.folder, "exports", claim.path)
    path.parent.mkdir(parents=True)
    path.write_text(PERSON)

    done("people", "erase", PERSON)

    with transaction() as connection:
        assert not exports.renew(connection, claim, seconds=60)
    for late in (claim, replace(claim, fence=export_of(first)["fence"])):
        with pytest.raises(errors.ClaimLost), transaction() as connection:
            exports.complete(connection, late, storage.Stored("local", None, late.path, 1, "0" * 40), 5, days=30)
    assert [] == files(stores)
    assert (1, 4) == (announced()["exports_completed"], export_of(first)["row_count"])


def test_an_erasure_that_is_cut_short_is_carried_on(first, clickhouse, stores, monkeypatch):
    """Killed before runs are led on, interrupted before files go and before it has looked, it shows whole snapshots, and ends."""
    announced()

    def now():
        return told(first)[:2], ranks(clickhouse)[told(first)[2]], *status()

    words = [sys.executable, "-c", KILLED, *map(str, asked())]
    killed = subprocess.run(words, check=False, env=os.environ)
    cuts = [now()]
    for room, about_to in ((exports, "clear"), (erasures, "remain")):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            interrupted(patch, room, about_to)
        cuts.append(now())

    done("people", "erase", PERSON)

    whole, less = ((5, 5), [1, 2, 3, 4, 5]), ((4, 4), [1, 2, 3, 4])
    assert -signal.SIGKILL == killed.returncode
    assert [(*kept, ["running"], rewrites) for kept, rewrites in ((whole, 1), (less, 2), (less, 2))] == cuts
    assert ({told(first)[2]: [1, 2, 3, 4]}, (4, 4)) == (ranks(clickhouse), told(first)[:2])
    assert (0, [], (["finished"], 0)) == (left_of(clickhouse), files(stores), status())


def test_what_is_no_hash_is_refused(tables):
    """An address, or nothing at all, erases nobody, and the address is not repeated."""
    refusal = sentence(command("people", "erase", "ann@example.com"))

    assert "A hashed e-mail has 64 hexadecimal characters: the SHA-256 of the address in lower case." == refusal
    assert "Give either a HASHED_EMAIL or --all." == sentence(command("people", "erase"))
    assert ([], 0) == status()
