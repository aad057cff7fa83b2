"""What an operator mends from the command line, and the audit of it."""

import json
import os
import pwd
from datetime import timedelta
from uuid import UUID, uuid4

import redis
from builders import (
    NOON,
    before_each_statement,
    everything,
    held,
    published,
    queued,
    run_row,
    saved,
)
from commandline import command, done, pointed, sentence
from sqlalchemy import func, update

from worker import emails, exports, keys, models, runs, storage
from worker.database import transaction

LOGIN = pwd.getpwuid(os.getuid()).pw_name


def acts():
    """Set the scene for each dangerous verb, and return what is typed and what the audit calls it and its object."""
    organization, audience_id = uuid4(), saved(status="active")
    running, finished = held().run_id, announced()
    waiting, ended = queued(saved()), queued(saved(), run_type="manual")
    with transaction() as connection:
        prefix = keys.public(keys.create(connection, organization, "old"))
        runs.cancel(connection, run_row(ended)["organization_id"], ended)
    hog = run_row(waiting)["organization_id"]
    return [
        (("runs", "cancel", waiting), "runs cancel", waiting),
        (("runs", "retry", ended), "runs retry", ended),
        (("runs", "release", running), "runs release", running),
        (("audiences", "pause", audience_id), "audiences pause", audience_id),
        (("emails", "resend", finished), "emails resend", finished),
        (("keys", "create", "--organization", organization, "--name", "new"), "keys create", None),
        (("keys", "revoke", prefix), "keys revoke", prefix),
        (("organizations", "limit", hog, "--pause"), "organizations limit --pause", hog),
    ]


def listed(*arguments):
    """List the audit as JSON."""
    return json.loads(done("audit", "list", *arguments, "--json"))


def test_each_dangerous_verb_is_noted_with_who_did_it(tables):
    """The login, or whoever --by names; a new key is noted by what may be shown of it."""
    for number, (typed, verb, thing) in enumerate(acts()):
        by = ("--by", "Ann B.") if number % 2 else ()

        result = command(*typed, *by)

        assert 0 == result.exit_code, result.output
        [line, *_] = listed()
        expected = str(thing) if thing else keys.public(result.stdout)
        assert ("Ann B." if by else LOGIN, verb, expected) == (line["who"], line["verb"], line["object"])
    assert 8 == len(listed())
    assert {"Ann B."} == {line["who"] for line in listed("--by", "Ann B.")}
    [line] = [line for line in done("audit", "list", "--object", expected).splitlines() if expected in line]
    assert ["Ann", "B.", "organizations", "limit", "--pause", expected] == line.split()[2:]


def test_what_cannot_be_noted_is_not_done(tables):
    """An act and its line in the audit are one transaction; a name that cannot be kept is refused before."""
    scene = acts()
    before = everything()

    def without_audit(statement):
        if statement.startswith("INSERT INTO audit"):
            raise RuntimeError

    with before_each_statement(without_audit):
        codes = [command(*typed).exit_code for typed, *_ in scene]
    unnamed = [sentence(command(*typed, "--by", "x" * 101)) for typed, *_ in scene]

    assert [1] * 8 == codes
    assert {"by: must have 1 to 100 printable characters."} == set(unnamed)
    assert before == everything()


def test_a_failed_run_is_retried_and_rung_for(stores):
    """The new id is printed and a bell waits in its lane; asked again, the same run answers and says so."""
    run_id = queued(saved(), run_type="manual")
    done("runs", "cancel", run_id)

    new = done("runs", "retry", run_id).strip()
    again = command("runs", "retry", run_id)

    assert run_id == run_row(UUID(new))["retry_of"]
    assert (f"{new}\n", "Nothing new was queued: this run answers already.\n") == (again.stdout, again.stderr)
    assert {"manual": 1, "daily": 0} == bells(stores)


def test_a_running_run_is_released_and_rung_for(stores, monkeypatch):
    """It is queued again at once; queries that cannot be stopped are told."""
    first, second = held(lane="daily"), held(lane="daily")

    told = done("runs", "release", first.run_id)
    pointed(monkeypatch, CLICKHOUSE_URL="http://127.0.0.1:1/audiences")
    with transaction() as connection:
        runs.record(connection, second, strategy="s", query_ids=["q"], snapshot_key=uuid4(), versions=(1, 1, 1))
    alive = command("runs", "release", second.run_id)

    assert "Released: it is queued again and due now.\n" == told == alive.stdout
    left = "What it left running in ClickHouse could not be stopped; nothing of that is ever shown.\n"
    assert (0, left) == (alive.exit_code, alive.stderr)
    assert ["queued", "queued"] == [run_row(claim.run_id)["status"] for claim in (first, second)]
    assert {"manual": 0, "daily": 1} == bells(stores)


def test_a_completed_run_s_file_is_asked_for(stores):
    """Where there is none it is queued; where it stands its place is told; a run without results has none."""
    claim = held(now=None)
    waiting = sentence(command("exports", "create", claim.run_id))
    complete(claim)
    queued_now = done("exports", "create", claim.run_id)
    with transaction() as connection:
        stored = exports.claim(connection, "announce@host", lease_seconds=60)
        file = storage.Stored("local", None, "a/1.csv", 10, "0" * 40)
        exports.complete(connection, stored, file, 20, days=30)

    assert "Only a completed run can be exported." == waiting
    assert f"It is being written: audience-worker runs show {claim.run_id}\n" == queued_now
    assert done("exports", "create", claim.run_id).startswith("It is stored, 20 rows, until ")


def bells(stores) -> dict[str, int]:
    """Count the messages that wait in Redis."""
    with redis.Redis.from_url(stores.environment["REDIS_URL"]) as broker:
        return {lane: broker.llen(lane) for lane in ("manual", "daily")}


def complete(claim: runs.Claim) -> None:
    """Complete a claimed run, whose results are kept for long."""
    with transaction() as connection:
        runs.complete(connection, claim, published())
        mine = update(models.runs).where(models.runs.c.id == claim.run_id)
        connection.execute(mine.values(run_type="manual", results_expire_at=NOON + timedelta(days=36_500)))


def announced() -> UUID:
    """Complete a run whose one mail was sent, and return its id."""
    claim = held(saved(notify_emails=("ann@example.com",)))
    complete(claim)
    with transaction() as connection:
        run = {"organization_id": claim.organization_id, "run_id": claim.run_id}
        emails.queue(connection, **run, recipients=["ann@example.com"])
        connection.execute(update(models.ready_emails).values(status="sent", sent_at=func.now()))
    return claim.run_id
