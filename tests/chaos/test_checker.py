"""The checker finds what it is there to find: each promise is broken once, and its sentence must come."""

import dataclasses
import hashlib
import time
from collections import Counter, defaultdict
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

import polars as pl
import pytest
from chaos import checker
from chaos.journal import Journal
from chaos.state import State

DAY = date(2026, 5, 4)
RUN, AUDIENCE, PAUSED, KEY, OTHER = (UUID(int=number) for number in range(1, 6))
NOW = datetime.now(UTC)
FILE = b"hashedEmail\r\na\r\n"
SENT = {"message_id": "<m>", "recipient": "ann@example.com", "status": "sent", "created_at": NOW, "updated_at": NOW}
ATTEMPT = {
    "fence": 1,
    "worker": "daily-1@here",
    "started_at": NOW,
    "ended_at": NOW + timedelta(seconds=1),
    "outcome": "completed",
    "error_code": None,
    "charged": False,
    "snapshot_key": KEY,
}
LOST = {**ATTEMPT, "outcome": "rescued", "error_code": "WORKER_LOST", "charged": True, "snapshot_key": None}


def _audience(audience_id, **values):
    return {
        "id": audience_id,
        "status": "active",
        "config": {"topicIds": [1]},
        "notify_emails": ["ann@example.com"],
        "refreshed_by_run_id": RUN,
        "audience_size": 1,
        **values,
    }


def _run(**values):
    return {
        "id": RUN,
        "audience_id": AUDIENCE,
        "organization_id": AUDIENCE,
        "config_hash": "a",
        "data_date": DAY,
        "run_type": "daily",
        "status": "completed",
        "candidate_count": 1,
        "result_count": 1,
        "snapshot_key": KEY,
        "fence": 1,
        "attempts": 1,
        "failures": 0,
        "created_at": NOW,
        **values,
    }


@pytest.fixture
def clean():
    """One audience with one completed run, its snapshot, file and mail, and a paused one."""
    sha1 = hashlib.sha1(FILE, usedforsecurity=False).hexdigest()
    export = {"status": "completed", "file_id": "1/1.csv", "row_count": 1, "content_sha1": sha1, "failures": 0}
    export |= {"created_at": NOW, "updated_at": NOW}
    return State(
        days=[DAY],
        audiences=[_audience(AUDIENCE), _audience(PAUSED, status="paused")],
        runs=[_run()],
        attempts=defaultdict(list, {RUN: [ATTEMPT]}),
        exports=defaultdict(list, {RUN: [export]}),
        emails=defaultdict(list, {RUN: [SENT]}),
        leases=[],
        snapshots={KEY: ([(1, "a", 90, 1)], [DAY])},
        mails=Counter({("<m>", "ann@example.com"): 1}),
        files=defaultdict(dict, {RUN: {"1/1.csv": FILE}}),
        queries=[],
        people=pl.DataFrame({"hem_hash": [1], "hashed_email": ["a"]}),
        signals=pl.DataFrame({"data_date": [DAY], "topic_id": [1], "hem_hash": [1], "score": [90]}),
    )


def _said(state, journal=None):
    return [violation.sentence for violation in checker.check(state, journal or Journal())]


def test_a_clean_state_has_no_violations(clean):
    """What is as it should be is not complained of."""
    assert [] == _said(clean)


@pytest.mark.parametrize(
    ("part", "values", "sentence"),
    [
        ("runs", [], "has 0 daily runs"),
        ("runs", [_run(), _run(id=OTHER, status="failed")], "has 2 daily runs"),
        ("runs", [_run(audience_id=PAUSED)], "1 daily runs of 2026-05-04 instead of 0"),
        ("runs", [_run(data_date=date(2026, 5, 3))], "which nobody made ready"),
        ("runs", [_run(status="queued")], "the run is queued"),
        ("runs", [_run(candidate_count=2)], "the oracle 1 and 1"),
        ("runs", [_run(attempts=2)], "the run tells of 2 attempts"),
        ("runs", [_run(fence=2)], "another fence"),
        ("runs", [_run(), _run(id=OTHER, run_type="manual", config_hash="b")], "published for another question too"),
        (
            "runs",
            [_run(), _run(id=OTHER, run_type="manual", organization_id=OTHER)],
            "published for another question too",
        ),
        ("snapshots", {}, "0 rows are not the oracle's 1"),
        ("snapshots", {KEY: ([(2, "a", 90, 1)], [DAY])}, "1 rows are not the oracle's 1"),
        ("snapshots", {KEY: ([(1, "a", 90, 1)], [DAY, date(2026, 5, 3)])}, "rows of another day"),
        ("attempts", {RUN: [{**ATTEMPT, "outcome": None}]}, "never ended"),
        ("attempts", {RUN: [ATTEMPT, {**ATTEMPT, "outcome": "retried"}]}, "the run is completed after attempts"),
        ("attempts", {RUN: [{**ATTEMPT, "snapshot_key": OTHER}]}, "not the one of the attempt"),
        ("attempts", {RUN: [LOST, ATTEMPT]}, "charged with WORKER_LOST and no fault explains it"),
        ("attempts", {RUN: [{**LOST, "error_code": "INTERNAL_ERROR"}, ATTEMPT]}, "charged with INTERNAL_ERROR"),
        ("emails", {RUN: []}, "0 mails for 1 recipients"),
        ("emails", {RUN: [{**SENT, "status": "pending"}]}, "a mail is pending"),
        ("emails", {RUN: [{**SENT, "status": "unknown"}]}, "unknown and no fault explains it"),
        ("mails", Counter(), "a mail is sent and arrived 0 times"),
        ("mails", Counter({("<m>", "ann@example.com"): 2}), "a mail is sent and arrived 2 times"),
        ("mails", Counter({("<m>", "ann@example.com"): 1, ("<n>", "bo@example.com"): 1}), "that no completed run has"),
        ("exports", {RUN: [{"status": "failed"}]}, "the run's exports are ['failed']"),
        ("files", {RUN: {"1/1.csv": b"hashedEmail\r\n"}}, "0 rows of 1"),
        ("audiences", [_audience(AUDIENCE, audience_size=0)], "does not show the size"),
        ("leases", [{"what": "mail", "id": RUN}], "a mail is still claimed"),
        ("queries", [f"{RUN}-1-write"], "ClickHouse still runs"),
    ],
)
def test_each_check_bites(clean, part, values, sentence):
    """A promise that was broken is named by its sentence."""
    said = _said(dataclasses.replace(clean, **{part: values}))

    assert any(sentence in one for one in said), said


def test_a_run_that_failed_too_early_is_named(clean):
    """A budget that was not spent on kills is no reason to fail."""
    failed = _run(status="failed", attempts=1, failures=1, snapshot_key=None)
    said = _said(dataclasses.replace(clean, runs=[failed], attempts={RUN: [{**LOST, "outcome": "failed"}]}))

    assert any("failed with 1 charged attempts" in one for one in said), said
    assert any("1 of 1 runs failed" in one for one in said), said


@pytest.mark.parametrize(
    ("kind", "target", "explains"),
    [
        ("kill", "daily-1", True),
        ("kill", "daily-2", False),
        ("term", "daily-1", False),
        ("restart", "postgres", True),
        ("restart", "redis", False),
    ],
)
def test_a_charged_attempt_is_explained_by_its_own_faults_alone(clean, kind, target, explains):
    """A fault done to another worker, or one that costs no attempt, excuses nothing."""
    journal = Journal()
    with journal.event(kind, target):
        pass
    moment = datetime.fromtimestamp(time.time(), UTC)
    lost = {**LOST, "started_at": moment, "ended_at": moment}

    said = _said(dataclasses.replace(clean, attempts={RUN: [lost, {**ATTEMPT, "fence": 2}]}), journal)

    assert explains != any("no fault explains it" in one for one in said), said


def test_a_clock_that_was_set_back_confuses_no_explanation():
    """What PostgreSQL tells by a wrong clock is found among the faults of the true time."""
    journal = Journal()
    with journal.event("kill", "daily-1"):
        pass
    told = datetime.fromtimestamp(time.time() - 300, UTC)

    assert [] == journal.during(told, told)
    journal.clock_set(-300)
    assert ["kill daily-1"] == [str(event) for event in journal.during(told, told)]


@pytest.mark.parametrize("code", ["INTERNAL_ERROR", "QUERY_CANCELLED"])
def test_no_fault_excuses_a_charge_that_no_fault_may_bring(clean, code):
    """Whatever was done to the worker and to PostgreSQL, the loss of a worker alone spends an attempt."""
    journal = Journal()
    for kind, target in (("kill", "daily-1"), ("restart", "postgres")):
        with journal.event(kind, target):
            pass
    moment = datetime.fromtimestamp(time.time(), UTC)
    charged = {**LOST, "error_code": code, "started_at": moment, "ended_at": moment}

    said = _said(dataclasses.replace(clean, attempts={RUN: [charged, {**ATTEMPT, "fence": 2}]}), journal)

    assert any(f"charged with {code} and no fault explains it" in one for one in said), said


def test_an_export_that_was_charged_for_nothing_is_named(clean):
    """A file that took more than one try needs a lost announcer to explain it."""
    [export] = clean.exports[RUN]
    said = _said(dataclasses.replace(clean, exports=defaultdict(list, {RUN: [{**export, "failures": 1}]})))

    assert ["the run's export was charged 1 times and no fault explains it"] == said
