"""The guards that tests/mutants.py takes out one at a time: where each stands, and which test must notice."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Guard:
    """
    One guard of the project.

    :param path: where it stands
    :param text: how it stands there
    :param without: the same without it
    :param test: the test that must fail then
    """

    name: str
    path: str
    text: str
    without: str
    test: str

    def removed(self, source: str) -> str:
        """Return a file's text without the guard; raises ``ValueError`` unless it stands there exactly once."""
        if source.count(self.text) != 1:
            raise ValueError(f"{self.name}: its text stands {source.count(self.text)} times in {self.path}, not once.")
        return source.replace(self.text, self.without)


HELD = "runs.c.id == held.run_id, runs.c.fence == held.fence, runs.c.status == RUNNING"
UNFENCED = "runs.c.id == held.run_id, runs.c.status == RUNNING"
TESTS = "tests/integration"

GUARDS: Final = (
    Guard(
        "fence in complete, retry, fail and release",
        "worker/runs/finish.py",
        f".where({HELD})",
        f".where({UNFENCED})",
        f"{TESTS}/test_run_finish.py::test_a_stale_claim_changes_nothing",
    ),
    Guard(
        "fence in renew",
        "worker/runs/claim.py",
        "runs.c.id == ours.c.id, runs.c.fence == ours.c.fence, runs.c.status == RUNNING",
        "runs.c.id == ours.c.id, runs.c.status == RUNNING",
        f"{TESTS}/test_run_finish.py::test_a_stale_claim_is_not_renewed",
    ),
    Guard(
        "fence in record",
        "worker/runs/claim.py",
        f"holds = select(runs.c.id).where({HELD})",
        f"holds = select(runs.c.id).where({UNFENCED})",
        f"{TESTS}/test_run_finish.py::test_a_stale_claim_records_nothing",
    ),
    Guard(
        "one manual run in flight",
        "worker/migrations/postgres/0001_tables.sql",
        "CREATE UNIQUE INDEX runs_one_manual_in_flight",
        "CREATE INDEX runs_one_manual_in_flight",
        f"{TESTS}/test_constraints.py::test_a_second_manual_run_in_flight_is_refused",
    ),
    Guard(
        "one daily run a date",
        "worker/migrations/postgres/0001_tables.sql",
        "CREATE UNIQUE INDEX runs_one_daily",
        "CREATE INDEX runs_one_daily",
        f"{TESTS}/test_daily.py::test_a_daily_run_of_the_date_is_not_doubled",
    ),
    Guard(
        "SKIP LOCKED in the claim",
        "worker/runs/claim.py",
        "FOR UPDATE SKIP LOCKED",
        "FOR UPDATE",
        f"{TESTS}/test_run_claim.py::test_a_run_that_somebody_holds_is_passed_over",
    ),
    Guard(
        "lane lock",
        "worker/runs/claim.py",
        '    connection.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(f"lane:{lane}", 0))))\n',
        "",
        f"{TESTS}/test_guards.py::test_a_second_claimer_counts_when_the_first_has_committed",
    ),
    Guard(
        "rescue waits for the lease's end",
        "worker/runs/overdue.py",
        "_running(now).where(runs.c.lease_expires_at < moment(now))",
        "_running(now)",
        f"{TESTS}/test_rescue.py::test_a_healthy_lease_is_left_alone",
    ),
    Guard(
        "kill in rescue",
        "worker/rescue.py",
        "    _kill(abandoned)\n",
        "",
        f"{TESTS}/test_rescue.py::test_the_orphan_s_query_is_killed",
    ),
    Guard(
        "an older daily run gives way when it comes back",
        "worker/runs/finish.py",
        '    _end_attempt(connection, held, {"outcome": "released"}, now)\n    _give_way(connection, held.run_id, now)\n',
        '    _end_attempt(connection, held, {"outcome": "released"}, now)\n',
        f"{TESTS}/test_run_setback.py::test_an_older_daily_run_gives_way_when_it_comes_back",
    ),
    Guard(
        "a snapshot key for every execution",
        "worker/materialize.py",
        "snapshot_key, written_on = uuid4(), ",
        "snapshot_key, written_on = claim.run_id, ",
        f"{TESTS}/test_guards.py::test_a_second_attempt_writes_under_a_key_of_its_own",
    ),
    Guard(
        "a run is handed back however long Postgres takes",
        "worker/lease.py",
        "            if held.lost:\n                raise\n",
        "            raise\n",
        f"{TESTS}/test_hand_back.py::test_a_run_is_handed_back_when_postgres_listens_again",
    ),
    Guard(
        "rows counted against rows written",
        "worker/snapshots.py",
        "    if (written, first, last, distinct) != expected:\n        raise SnapshotMismatch\n",
        "",
        f"{TESTS}/test_materialize.py::test_rows_that_were_not_counted_are_not_published",
    ),
    Guard(
        "versions of the data before publishing",
        "worker/materialize.py",
        "    if loads.versions(claim.data_date) != versions:\n        raise errors.DataChanged\n",
        "",
        f"{TESTS}/test_materialize.py::test_data_replaced_under_a_run_is_read_again",
    ),
    Guard(
        "versions of the data before a batch is published",
        "worker/batch.py",
        "        self._check(found)\n        held.check()\n",
        "",
        f"{TESTS}/test_batch.py::test_data_replaced_under_a_batch_is_read_again",
    ),
    Guard(
        "an index that was given up",
        "worker/batch.py",
        "            if not serving.usable(connection, self.index):\n                raise errors.DataChanged\n",
        "            serving.usable(connection, self.index)\n",
        f"{TESTS}/test_batch.py::test_an_index_that_was_given_up_is_read_by_nobody",
    ),
    Guard(
        "nobody is charged for a batch",
        "worker/runs/setback.py",
        "    if held.batch and error.retry is Retry.TRANSIENT:\n",
        "    if held.batch and error.retry is Retry.PERMANENT:\n",
        f"{TESTS}/test_batch.py::test_a_batch_that_breaks_charges_nobody",
    ),
    Guard(
        "a batch takes one place of its lane",
        "worker/runs/claim.py",
        "(SELECT count(DISTINCT statement) FROM running) < :lane_max",
        "(SELECT count(*) FROM running) < :lane_max",
        f"{TESTS}/test_run_claim_batch.py::test_a_batch_takes_one_place",
    ),
    Guard(
        "runs that must be alone",
        "worker/runs/claim.py",
        "NOT solo AND data_date",
        "data_date",
        f"{TESTS}/test_run_claim_batch.py::test_a_run_that_must_be_alone_is_claimed_alone",
    ),
    Guard(
        "fence in the building of an index",
        "worker/serving.py",
        "indexes.c.id == held.id, indexes.c.fence == held.fence, ",
        "indexes.c.id == held.id, ",
        f"{TESTS}/test_indexing.py::test_a_stale_builder_adds_nothing",
    ),
    Guard(
        "erased people in a pick",
        "worker/queries/matching.sql",
        "            AND hem_hash NOT IN (SELECT hem_hash FROM erased_people)\n",
        "",
        f"{TESTS}/test_batch.py::test_an_erased_person_is_picked_by_nobody",
    ),
    Guard(
        "the least busy organization first",
        "worker/runs/claim.py",
        "ORDER BY turn, rank DESC, chance\n        ) best",
        "ORDER BY turn DESC\n        ) best",
        f"{TESTS}/test_run_claim.py::test_a_small_organization_is_next_beside_a_big_one",
    ),
    Guard(
        "an operator's limit on an organization",
        "worker/runs/claim.py",
        "WHERE waiting.load <= waiting.most\n          AND (waiting.load",
        "WHERE (waiting.load",
        f"{TESTS}/test_organizations.py::test_a_limit_holds_even_where_nobody_else_waits",
    ),
    Guard(
        "who was stopped by an operator keeps nobody at the share",
        "worker/runs/claim.py",
        "other.load <= least(:organization_max, other.most)",
        "other.load <= :organization_max",
        f"{TESTS}/test_organizations.py::test_whom_an_operator_has_stopped_keeps_nobody_at_the_share",
    ),
    Guard(
        "no claim after SIGTERM",
        "worker/drain.py",
        "while not stopping() and ",
        "while ",
        "tests/acceptance/test_recovery.py::test_a_stopped_worker_claims_nothing_more",
    ),
    Guard(
        "`sending` before DATA",
        "worker/mailer.py",
        "            before_data()\n            self._deliver(smtp, text)\n",
        "            self._deliver(smtp, text)\n            before_data()\n",
        f"{TESTS}/announce/test_emails.py::test_sending_is_committed_between_rcpt_and_the_text",
    ),
    Guard(
        "figures only under the export's claim",
        "worker/announce/compare.py",
        "            raise errors.ClaimLost\n",
        "            pass\n",
        f"{TESTS}/announce/test_changes.py::test_whoever_lost_the_export_notes_no_figures",
    ),
    Guard(
        "a held run is nobody's measure",
        "worker/runs/compare.py",
        "AND NOT e.held AND",
        "AND",
        f"{TESTS}/test_compare.py::test_what_is_held_back_is_nobody_s_measure_until_it_is_published",
    ),
    Guard(
        "a held run moves no size and queues no mails",
        "worker/attempt.py",
        '    if runs.compare(connection, run_id, **configuration.current().anomaly_limits):\n        logger.warning("run_held_back")\n        return\n',
        "    runs.compare(connection, run_id, **configuration.current().anomaly_limits)\n",
        f"{TESTS}/announce/test_changes.py::test_an_anomaly_is_held_back_until_it_is_published",
    ),
    Guard(
        "no place is counted for bells",
        "worker/app.py",
        '"worker_prefetch_multiplier": 0',
        '"worker_prefetch_multiplier": 1',
        "tests/chaos/test_half_open.py::test_a_bell_that_could_not_be_acknowledged_takes_no_place",
    ),
)
