"""Runs from the command line: queued, looked at, followed to their end, cancelled."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import redis
from builders import (
    MONDAY,
    TUESDAY,
    WEDNESDAY,
    audience_row,
    claimed,
    everything,
    held,
    published,
    queued,
    ready,
    run_row,
    runs_of,
    saved,
)
from commandline import command, done, sentence

from worker import backoff, runs, settings
from worker.database import transaction

PROGRAM = str(Path(sys.executable).with_name("audience-worker"))
POLICY = backoff.Policy(budget=8, base_seconds=15, cap_seconds=900, deadline_seconds=43_200)


def refused(*arguments: object) -> str:
    """Run a command about runs that must be refused, and return its one sentence."""
    return sentence(command("runs", *arguments))


def bells(stores) -> dict[str, int]:
    """Count the messages that wait in Redis."""
    with redis.Redis.from_url(stores.environment["REDIS_URL"]) as broker:
        return {lane: broker.llen(lane) for lane in ("manual", "daily")}


def test_a_queued_run_is_rung_for_in_the_manual_lane(stores):
    """The newest ready date is read, the id is all that is printed, and one bell waits."""
    ready(MONDAY, TUESDAY)
    audience_id = saved()

    run = run_row(UUID(done("runs", "queue", audience_id).strip()))

    told = (run["audience_id"], run["status"], run["run_type"], run["lane"], run["data_date"])
    assert (audience_id, "queued", "manual", "manual", TUESDAY) == told
    assert {"manual": 1, "daily": 0} == bells(stores)


def test_what_is_in_flight_or_has_the_key_answers_again(stores):
    """A second request names the first run, and says that it is not new."""
    ready(MONDAY, TUESDAY)
    audience_id = saved()
    first = json.loads(done("runs", "queue", audience_id, "--date", MONDAY, "--key", "k1", "--json"))

    again = command("runs", "queue", audience_id, "--date", MONDAY)
    done("runs", "cancel", first["run_id"])
    by_key = json.loads(done("runs", "queue", audience_id, "--date", TUESDAY, "--key", "k1", "--json"))

    assert first["created"]
    assert (f"{first['run_id']}\n", "Nothing new was queued: this run answers already.\n") == (
        again.stdout,
        again.stderr,
    )
    assert {"run_id": first["run_id"], "created": False} == by_key


def test_all_active_audiences_are_queued_in_the_daily_lane(stores):
    """A reloaded day is made good by manual runs that nobody waits for; doing it twice does no harm."""
    ready(MONDAY, TUESDAY)
    active = [saved(status="active") for _ in range(3)]
    draft = saved()

    first, second = (done("runs", "queue", "--all", "--date", MONDAY) for _ in range(2))

    assert ["3 queued, 0 in flight already.\n", "0 queued, 3 in flight already.\n"] == [first, second]
    assert [[("manual", "queued", MONDAY)]] * 3 == [runs_of(audience_id) for audience_id in active]
    assert [] == runs_of(draft)
    assert {"daily"} == {row["lane"] for row in latest()}
    assert {"manual": 0, "daily": min(3, settings.current().lane_bells)} == bells(stores)


def test_a_run_in_the_manual_lane_stays_there(stores):
    """Queueing everybody takes nobody the place at the front."""
    ready(MONDAY)
    done("runs", "queue", saved(status="active"))

    done("runs", "queue", "--all")

    assert ["manual"] == [row["lane"] for row in latest()]


def test_a_dead_redis_only_warns(stores, monkeypatch):
    """The run is stored, which is what counts; the scheduler rings later."""
    ready(MONDAY)
    audience_id = saved()
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    settings.current.cache_clear()

    result = command("runs", "queue", audience_id)

    assert (0, "Redis cannot be reached: what is queued starts when it is back.\n") == (
        result.exit_code,
        result.stderr,
    )
    assert "queued" == run_row(UUID(result.stdout.strip()))["status"]


def test_what_cannot_be_queued_is_refused_and_nothing_is_written(stores):
    """Each refusal is one sentence that says why."""
    audience_id, nobody = saved(status="active"), uuid4()
    before = everything()

    unready = [refused("queue", audience_id), refused("queue", "--all")]
    assert ["No day of intent data is ready yet."] * 2 == unready
    assert f"The intent data of {WEDNESDAY} is not ready." == after_ready("queue", audience_id, "--date", WEDNESDAY)
    assert f"There is no audience {nobody}." == refused("queue", nobody)
    assert "'2026-02-30' is not a day as YYYY-MM-DD." == refused("queue", audience_id, "--date", "2026-02-30")
    assert refused("queue", audience_id, "--key", "k" * 121).startswith("Idempotency-Key: ")
    assert "Give either an AUDIENCE_ID or --all." == refused("queue")
    assert "Give either an AUDIENCE_ID or --all." == refused("queue", audience_id, "--all")
    assert refused("queue", "--all", "--key", "k1").startswith("--key: ")
    assert {**before, "data_dates": []} == {**everything(), "data_dates": []}


def test_a_list_is_narrowed(stores):
    """By audience, organization and status, newest first; as JSON or as a line a run."""
    first, second = saved(), saved()
    running = held(second).run_id
    run_id = queued(first)
    organization = audience_row(first)["organization_id"]

    assert [str(run_id)] == listed("--audience", first) == listed("--organization", organization)
    assert [str(run_id)] == listed("--status", "queued")
    assert [str(running)] == listed("--status", "running")
    assert 1 == len(listed("--limit", "1"))
    assert str(run_id) in done("runs", "list", "--audience", first)


def test_a_queued_run_is_cancelled_and_nothing_else(stores):
    """A second cancel is refused in a sentence that names the state."""
    run_id = queued(saved())

    assert "Cancelled.\n" == done("runs", "cancel", run_id)
    assert "cancelled" == run_row(run_id)["status"]
    assert "Only a queued run can be cancelled; this one is cancelled." == refused("cancel", run_id)


def test_an_unknown_run_is_refused(stores):
    """A wrong id is named, a malformed one never reaches the database."""
    run_id = uuid4()

    for verb in ("show", "watch", "cancel", "retry", "release"):
        assert f"There is no run {run_id}." == refused(verb, run_id)
        assert "'nonsense' is not a UUID." == refused(verb, "nonsense")
    assert f"There is no run of audience {run_id}." == refused("watch", "--audience", run_id)
    assert "Give either a RUN_ID or --audience." == refused("watch", run_id, "--audience", run_id)


def test_a_run_is_followed_to_its_end(stores):
    """Without a terminal each change is a line, and completion is exit code 0."""
    run_id = queued(saved(), run_type="manual")
    with followed(stores, run_id) as watching:
        lines = [watching.stdout.readline()]
        [claim] = claimed(worker="manual@host", now=None)
        lines.append(watching.stdout.readline())
        complete(claim)
        lines += watching.stdout.readlines()

    told = [line.rstrip("\n").split("  ", 2)[1:] for line in lines]
    states = ["queued", "running: attempt 1, held by manual@host", "completed: 20 of 50 candidates"]
    assert [[str(run_id), state] for state in states] == told
    assert 0 == watching.returncode


def test_a_watch_ends_with_1_unless_all_are_completed(stores):
    """An audience's runs in flight are followed, or its last one where none is."""
    cancelled, completed = saved(), saved()
    queued(completed)
    complete(*claimed(now=None))
    done("runs", "cancel", queued(cancelled))

    assert (1, "cancelled") == watched(cancelled)
    assert (0, "completed: 20 of 50 candidates") == watched(completed)
    assert "No run is in flight.\n" == done("runs", "watch")


def test_in_a_terminal_a_table_is_drawn_in_place(stores):
    """What ends shows its counts in the table, and the number of each status below."""
    ours, theirs = os.openpty()
    run_id = queued(saved())
    done("runs", "cancel", run_id)
    environment = {**os.environ, **stores.environment, "TERM": "xterm", "COLUMNS": "140"}
    with subprocess.Popen([PROGRAM, "runs", "watch", str(run_id)], stdout=theirs, env=environment) as watching:
        os.close(theirs)
        drawn = drained(ours)

    assert 1 == watching.returncode
    assert str(run_id) in drawn
    assert "1 cancelled" in drawn


def latest() -> list[Any]:
    """Return every run."""
    with transaction() as connection:
        return list(runs.latest(connection))


def listed(*arguments: object) -> list[str]:
    """Return the ids of the runs listed as JSON."""
    return [run["id"] for run in json.loads(done("runs", "list", *arguments, "--json"))]


def after_ready(*arguments: object) -> str:
    """Make Monday ready, then run a command that must be refused."""
    ready(MONDAY)
    return refused(*arguments)


def complete(claim: runs.Claim) -> None:
    """Complete a claimed run."""
    with transaction() as connection:
        runs.complete(connection, claim, published())


def watched(audience_id: UUID) -> tuple[int, str]:
    """Watch an audience whose runs have ended, and return the exit code and how the last one stands."""
    result = command("runs", "watch", "--audience", audience_id)
    [line] = result.stdout.splitlines()
    return result.exit_code, line.split("  ", 2)[2]


def followed(stores, run_id: UUID) -> "subprocess.Popen[str]":
    """Start following a run."""
    environment = {**os.environ, **stores.environment}
    return subprocess.Popen([PROGRAM, "runs", "watch", str(run_id)], stdout=subprocess.PIPE, env=environment, text=True)


def drained(terminal: int) -> str:
    """Read a terminal until its other side is closed."""
    drawn = b""
    try:
        while part := os.read(terminal, 65_536):
            drawn += part
    except OSError:
        # What Linux says when the last program has left.
        pass
    finally:
        os.close(terminal)
    return drawn.decode()
