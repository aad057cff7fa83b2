"""What Postgres itself refuses: rows that contradict themselves, or point into another tenant."""

from uuid import uuid4

import pytest
from builders import NOON, held, published, queued, run_row, saved
from sqlalchemy import insert, text
from sqlalchemy.exc import IntegrityError

from worker import models, runs
from worker.database import transaction


@pytest.fixture(autouse=True)
def _tables(tables):
    """Every test here begins with empty tables."""


def refused(act, *arguments):
    """Name the rule that an act breaks: a constraint's name, or what the trigger said."""
    with pytest.raises(IntegrityError) as caught:
        act(*arguments)
    found = caught.value.orig.diag
    return found.constraint_name or found.message_primary


@pytest.mark.parametrize(
    ("rule", "values"),
    [
        ("runs_run_type_known", {"run_type": "weekly"}),
        ("runs_lane_known", {"lane": "fast"}),
        ("runs_priority_bounds", {"priority": 10}),
        ("runs_priority_bounds", {"priority": -1}),
        ("runs_counts_sane", {"candidate_count": 1, "result_count": 2}),
        ("runs_counts_sane", {"result_count": -1}),
        ("runs_counts_sane", {"attempts": -1}),
        ("runs_counts_sane", {"failures": -1}),
        ("runs_idempotency_key_length", {"idempotency_key": ""}),
        ("runs_idempotency_key_length", {"idempotency_key": "k" * 121}),
        ("runs_leased_when_running", {"claimed_by": "w"}),
        ("runs_leased_when_running", {"claimed_by": "w", "lease_expires_at": NOON}),
        ("runs_published_when_completed", {"completed_at": NOON, "snapshot_key": uuid4(), "written_on": NOON.date()}
         | {"results_expire_at": NOON, "csv_defused": True}),
        ("runs_cancelled_with_time", {"cancelled_at": NOON}),
        ("runs_finished", {"finished_at": NOON}),
        ("runs_code_with_sentence", {"error_code": "X"}),
        ("runs_changes_sane", {"people_new": 1}),
        ("runs_anomaly_known", {"anomaly": "odd"}),
        ("runs_compared_when_completed", {"people_new": 1, "people_left": 1}),
        ("runs_held_when_anomalous", {"held": True}),
    ],
)  # fmt: skip
def test_a_queued_run_that_contradicts_itself_is_refused(rule, values):
    """Each rule about a run's columns bites."""
    assert rule == refused(lambda: queued(saved(), **values))


@pytest.mark.parametrize(
    ("rule", "values"),
    [
        ("audiences_name_length", {"name": ""}),
        ("audiences_name_length", {"name": "x" * 256}),
        ("audiences_status_known", {"status": "on"}),
        ("audiences_config_hash_hex", {"config_hash": "f" * 63}),
        ("audiences_config_hash_hex", {"config_hash": "F" * 64}),
        ("audiences_notify_emails_few", {"notify_emails": ["a@b.example"] * 21}),
        ("audiences_refresh_window_bounds", {"refresh_window_minutes": -1}),
        ("audiences_refresh_window_bounds", {"refresh_window_minutes": 1440}),
        ("audiences_slot_with_due", {"next_slot_at": NOON}),
        ("audiences_due_when_refreshed", {"status": "active"}),
        ("audiences_due_when_refreshed", {"next_slot_at": NOON, "next_due_at": NOON}),
    ],
)
def test_an_audience_that_contradicts_itself_is_refused(rule, values):
    """Each rule about an audience's columns bites."""
    row = {"id": uuid4(), "organization_id": uuid4(), "name": "Buyers", "status": "draft", "config": {}}

    assert rule == refused(write, models.audiences, row | {"config_hash": "0" * 64} | values)


@pytest.mark.parametrize(
    ("rule", "values"),
    [
        ("run_attempts_outcome_when_ended", {"outcome": "failed"}),
        ("run_attempts_outcome_when_ended", {"ended_at": NOON}),
        ("run_attempts_outcome_known", {"outcome": "won", "ended_at": NOON}),
        ("run_attempts_pkey", {"fence": 1}),
    ],
)
def test_an_attempt_that_contradicts_itself_is_refused(rule, values):
    """An attempt has an outcome exactly when it has ended, and a fence of its own."""
    row = {"run_id": held().run_id, "fence": 2, "attempt": 1, "worker": "w1"}

    assert rule == refused(write, models.run_attempts, row | values)


STORED = {"completed_at": NOON, "expires_at": NOON, "file_id": "f", "byte_size": 1, "row_count": 1, "content_sha1": "0"}


LEASED = {"claimed_by": "w", "lease_expires_at": NOON}


@pytest.mark.parametrize(
    ("table", "rule", "values"),
    [
        (models.exports, "exports_status_known", {"status": "gone"}),
        *(
            (models.exports, "exports_stored_when_completed", {"status": "completed", **STORED, name: None})
            for name in STORED
        ),
        (models.exports, "exports_failed_with_code", {"status": "failed"}),
        (models.exports, "exports_leased_when_claimed", {"claimed_by": "w"}),
        (models.exports, "exports_free_when_settled", {"status": "failed", "error_code": "X", **LEASED}),
        (models.ready_emails, "ready_emails_status_known", {"status": "lost"}),
        (models.ready_emails, "ready_emails_sent_with_time", {"status": "sent"}),
        (models.ready_emails, "ready_emails_sent_with_time", {"sent_at": NOON}),
        (models.ready_emails, "ready_emails_leased_when_claimed", {"lease_expires_at": NOON}),
        (models.ready_emails, "ready_emails_claimed_when_sending", {"status": "sending"}),
        (models.ready_emails, "ready_emails_free_when_settled", {"status": "skipped", **LEASED}),
        (models.idempotency_keys, "idempotency_keys_key_length", {"key": ""}),
        (models.idempotency_keys, "idempotency_keys_key_length", {"key": "k" * 121}),
    ],
)
def test_what_follows_from_a_run_may_not_contradict_itself(table, rule, values):
    """Each rule about exports, mails and keys bites."""
    audience_id = saved()
    run_id = queued(audience_id)

    assert rule == refused(write, table, following(audience_id, run_id) | values)


def following(audience_id, run_id):
    """Make up the columns of whatever follows from a run."""
    row = {"id": uuid4(), "organization_id": run_row(run_id)["organization_id"], "audience_id": audience_id}
    row |= {"run_id": run_id, "key": "k", "file_name": "f.csv", "due_at": NOON}
    return row | {"recipient": "a@b.example", "message_id": "m"}


def write(table, row):
    """Insert a row, leaving out what the table has no column for."""
    with transaction() as connection:
        connection.execute(insert(table).values({name: row[name] for name in row if name in table.c}))


def test_a_ready_date_has_rows():
    """A day without rows is not ready."""
    with pytest.raises(IntegrityError, match="data_dates_rows_some"), transaction() as connection:
        connection.execute(
            insert(models.data_dates).values(data_date=NOON.date(), data_version=1, people_version=1, rows=0)
        )


def test_a_second_manual_run_in_flight_is_refused():
    """One audience, config and data date have one manual run in flight, queued or running."""
    audience_id = saved()
    held(audience_id, run_type="manual")

    assert "runs_one_manual_in_flight" == refused(lambda: queued(audience_id, run_type="manual"))


def test_a_second_daily_run_of_a_date_is_refused():
    """A completed daily run is the date's only one."""
    audience_id = saved()
    claim = held(audience_id, run_type="daily")
    with transaction() as connection:
        runs.complete(connection, claim, published())

    assert "runs_one_daily" == refused(lambda: queued(audience_id, run_type="daily"))


def strangers():
    """Make a run of one organization, and an audience and a run of another."""
    mine, theirs = saved(), saved()
    return mine, queued(mine), theirs, queued(theirs)


def test_a_run_belongs_to_its_audience_s_organization():
    """A run cannot name an audience of another organization."""
    assert "runs_organization_id_fkey" == refused(lambda: queued(saved(), organization_id=uuid4()))


def test_a_run_retries_none_of_another_organization():
    """A run cannot name another tenant's run as the one that it repeats."""
    mine, _, _, theirs = strangers()

    assert "runs_retry_of_fkey" == refused(lambda: queued(mine, retry_of=theirs))


def test_a_repeated_run_may_go_away():
    """Removing an old run unties the one that repeated it, and changes nothing else of it."""
    audience_id = saved()
    old = queued(audience_id)
    new = queued(audience_id, retry_of=old)

    with transaction() as connection:
        connection.execute(text("DELETE FROM runs WHERE id = :id"), {"id": old})

    assert (None, audience_id) == tuple(run_row(new)[name] for name in ("retry_of", "audience_id"))


@pytest.mark.parametrize(
    ("table", "rule", "theirs"),
    [
        (models.idempotency_keys, "idempotency_keys_audience_id_fkey", "audience_id"),
        (models.idempotency_keys, "idempotency_keys_run_id_fkey", "run_id"),
        (models.exports, "exports_audience_id_fkey", "audience_id"),
        (models.exports, "exports_organization_id_fkey", "run_id"),
        (models.ready_emails, "ready_emails_organization_id_fkey", "run_id"),
    ],
)
def test_no_row_points_into_another_tenant(table, rule, theirs):
    """A key, an export or a mail cannot name an audience or a run of another organization."""
    mine, my_run, their_audience, their_run = strangers()
    row = following(mine, my_run) | {theirs: their_audience if theirs == "audience_id" else their_run}

    assert rule == refused(write, table, row)
