"""
What must be true when it is over, whatever was done: every promise of docs/run-lifecycle.md that a store can tell.

A check returns violations; a clean run returns none.
"""

import csv
import hashlib
import io
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import oracle
from chaos.journal import Event, Journal
from chaos.state import Row, State

# At most one run in a hundred may have spent its budget on faults.
MOST_FAILED = 0.01
# Faults that take a claim away from whoever holds it: done to the worker itself, or to the store that keeps claims.
OF_WORKERS = frozenset({"kill", "kill child", "stop"})
OF_POSTGRES = frozenset(
    {
        *("restart", "half-open", "deaf", "cut", "clock", "answer lost", "message lost"),
        *("terminated", "exhausted", "idle transaction"),
    }
)
# What else may leave open whether a mail arrived.
OF_MAIL = frozenset({"restart", "half-open", "deaf", "cut", "answer lost", "message lost"})


@dataclass(frozen=True, slots=True)
class Violation:
    """A promise that was not kept, and the run it concerns where it is one run's."""

    sentence: str
    run_id: UUID | None = None


Check = Callable[[State, Journal], Iterator[Violation]]


def check(state: State, journal: Journal) -> list[Violation]:
    """Judge a run of the suite."""
    return [violation for one in CHECKS for violation in one(state, journal)]


def one_run_a_day(state: State, _: Journal) -> Iterator[Violation]:
    """Exactly one daily run per active audience and day, ended well or with its budget spent; none for the others."""
    runs = Counter((run["audience_id"], run["data_date"]) for run in state.runs if run["run_type"] == "daily")
    for audience in state.audiences:
        for day in state.days:
            wanted, found = int(audience["status"] == "active"), runs.pop((audience["id"], day), 0)
            if found != wanted:
                yield Violation(f"audience {audience['id']} has {found} daily runs of {day} instead of {wanted}")
    for (audience_id, day), count in runs.items():
        yield Violation(f"audience {audience_id} has {count} daily runs of {day}, which nobody made ready")
    for run in state.runs:
        if run["status"] not in ("completed", "failed"):
            yield Violation(f"the run is {run['status']}", run["id"])


def failures(state: State, journal: Journal) -> Iterator[Violation]:
    """Whoever failed has spent the budget, and every charged attempt has a fault of its own that explains it."""
    failed = [run for run in state.runs if run["status"] == "failed"]
    if len(failed) > MOST_FAILED * len(state.runs):
        yield Violation(f"{len(failed)} of {len(state.runs)} runs failed, more than {MOST_FAILED:.0%}")
    for run in failed:
        charged = sum(attempt["charged"] for attempt in state.attempts[run["id"]])
        if (charged, run["attempts"]) != (8, 8):
            yield Violation(f"the run failed with {charged} charged attempts and {run['attempts']} counted", run["id"])
    for run_id, attempts in state.attempts.items():
        for attempt in attempts:
            if attempt["charged"] and not explained(attempt, journal):
                code = attempt["error_code"]
                yield Violation(f"attempt {attempt['fence']} was charged with {code} and no fault explains it", run_id)


def explained(attempt: Row, journal: Journal) -> bool:
    """Whether the attempt was lost with its worker, and a fault hit that, or PostgreSQL, while it lasted; no other is."""
    if attempt["error_code"] != "WORKER_LOST":
        return False
    worker = attempt["worker"].split("@")[0]
    return any(
        (event.kind in OF_WORKERS and event.target == worker)
        or (event.kind in OF_POSTGRES and event.target == "postgres")
        for event in journal.during(attempt["started_at"], attempt["ended_at"])
    )


def counts(state: State, _: Journal) -> Iterator[Violation]:
    """Counts and rows are those that an independent implementation finds, and ranks go from 1 without a gap."""
    configs = {audience["id"]: audience["config"] for audience in state.audiences}
    for run in _completed(state):
        candidates, results, _matches = oracle.select(
            configs[run["audience_id"]], run["data_date"], state.people, state.signals
        )
        wanted = results.rows()
        if (candidates, len(wanted)) != (run["candidate_count"], run["result_count"]):
            yield Violation(
                f"the run counted {run['candidate_count']} candidates and {run['result_count']} results,"
                f" the oracle {candidates} and {len(wanted)}",
                run["id"],
            )
        rows, days = state.snapshots.get(run["snapshot_key"], ([], []))
        if list(rows) != wanted:
            yield Violation(f"the snapshot's {len(rows)} rows are not the oracle's {len(wanted)}", run["id"])
        if set(days) - {run["data_date"]} or len(days) > 1:
            yield Violation("the snapshot holds rows of another day", run["id"])


def snapshots(state: State, _: Journal) -> Iterator[Violation]:
    """A snapshot key answers one question of one organization, and stands on the attempt that completed the run."""
    questions = defaultdict(set)
    for run in _completed(state):
        questions[run["snapshot_key"]].add((run["organization_id"], run["config_hash"], run["data_date"]))
    for run in _completed(state):
        if len(questions[run["snapshot_key"]]) != 1:
            yield Violation("the snapshot is published for another question too", run["id"])
        ours = [attempt["snapshot_key"] for attempt in state.attempts[run["id"]] if attempt["outcome"] == "completed"]
        if ours != [run["snapshot_key"]]:
            yield Violation("the published snapshot is not the one of the attempt that completed", run["id"])


def attempts(state: State, _: Journal) -> Iterator[Violation]:
    """Each attempt has ended once, the last one as its run did, and the run's numbers are those of its attempts."""
    for run in state.runs:
        rows = state.attempts[run["id"]]
        outcomes = [row["outcome"] for row in rows]
        if None in outcomes:
            yield Violation("an attempt never ended", run["id"])
        if "completed" in outcomes[:-1] or (run["status"] == "completed") != (outcomes[-1:] == ["completed"]):
            yield Violation(f"the run is {run['status']} after attempts that ended {outcomes}", run["id"])
        told = (
            sum(row["charged"] or row["outcome"] == "completed" for row in rows),
            sum(row["outcome"] in ("retried", "rescued", "failed") for row in rows),
        )
        if told != (run["attempts"], run["failures"]):
            yield Violation(
                f"the run tells of {run['attempts']} attempts and {run['failures']} failures, its attempts of {told}",
                run["id"],
            )
        if rows and run["status"] == "completed" and rows[-1]["fence"] != run["fence"]:
            yield Violation("the run was completed under another fence than its last attempt's", run["id"])


def mails(state: State, journal: Journal) -> Iterator[Violation]:
    """One mail a recipient and run: arrived once where it was sent, at most once where nobody knows."""
    wanted = {audience["id"]: sorted(audience["notify_emails"]) for audience in state.audiences}
    known = Counter()
    for run in _completed(state):
        rows = state.emails[run["id"]]
        if wanted[run["audience_id"]] != sorted(row["recipient"] for row in rows):
            yield Violation(
                f"the run has {len(rows)} mails for {len(wanted[run['audience_id']])} recipients", run["id"]
            )
        for row in rows:
            place = (row["message_id"], row["recipient"])
            known[place] += 1
            if state.mails[place] not in {"sent": (1,), "unknown": (0, 1)}.get(row["status"], ()):
                yield Violation(f"a mail is {row['status']} and arrived {state.mails[place]} times", run["id"])
            if row["status"] == "unknown" and not _left_open(row, journal):
                yield Violation("a mail is unknown and no fault explains it", run["id"])
    for place in state.mails.keys() - known.keys():
        yield Violation(f"a mail arrived {state.mails[place]} times that no completed run has")


def exports(state: State, journal: Journal) -> Iterator[Violation]:
    """Every completed run offers one stored file, with the rows and the hash that it tells."""
    for run in _completed(state):
        rows = state.exports[run["id"]]
        if [row["status"] for row in rows] != ["completed"]:
            yield Violation(f"the run's exports are {[row['status'] for row in rows]}", run["id"])
            continue
        [export] = rows
        if export["failures"] and not _announcer_hit(export, journal):
            yield Violation(
                f"the run's export was charged {export['failures']} times and no fault explains it", run["id"]
            )
        file = state.files[run["id"]].get(export["file_id"], b"")
        lines = max(0, sum(1 for _ in csv.reader(io.StringIO(file.decode(), newline=""))) - 1)
        told = (export["row_count"], export["content_sha1"])
        if told != (lines, hashlib.sha1(file, usedforsecurity=False).hexdigest()) or lines != run["result_count"]:
            yield Violation(f"the stored file has {lines} rows of {run['result_count']}", run["id"])


def audiences(state: State, _: Journal) -> Iterator[Violation]:
    """An audience shows the size of its newest completed run."""
    newest: dict[UUID, Mapping[str, Any]] = {}
    for run in sorted(_completed(state), key=lambda run: (run["data_date"], run["created_at"])):
        newest[run["audience_id"]] = run
    for audience in state.audiences:
        run = newest.get(audience["id"])
        if run and (audience["refreshed_by_run_id"], audience["audience_size"]) != (run["id"], run["result_count"]):
            yield Violation("the audience does not show the size of its newest run", run["id"])


def nothing_left(state: State, _: Journal) -> Iterator[Violation]:
    """No lease is held and no statement runs."""
    for lease in state.leases:
        yield Violation(f"a {lease['what']} is still claimed", lease["id"])
    for query_id in state.queries:
        yield Violation(f"ClickHouse still runs {query_id}", UUID(query_id[:36]))


CHECKS: Sequence[Check] = (
    *(one_run_a_day, failures, counts, snapshots, attempts),
    *(mails, exports, audiences, nothing_left),
)


def _completed(state: State) -> list[Row]:
    """The runs that ended well."""
    return [run for run in state.runs if run["status"] == "completed"]


def _announcer_hit(export: Row, journal: Journal) -> bool:
    """Whether a fault may have lost whoever wrote an export, which is the one thing that charges it."""
    return any(
        (event.kind in OF_WORKERS and event.target == "announce")
        or (event.kind in OF_POSTGRES and event.target == "postgres")
        for event in journal.during(export["created_at"], export["updated_at"])
    )


def _left_open(mail: Row, journal: Journal) -> bool:
    """Whether a fault may have left open if a mail arrived."""
    return any(_breaks_mail(event) for event in journal.during(mail["created_at"], mail["updated_at"]))


def _breaks_mail(event: Event) -> bool:
    """Whether a fault hit the announcer, the mail server, or the store that a hand-over is noted in."""
    return (
        (event.kind in OF_WORKERS and event.target == "announce")
        or (event.kind in OF_MAIL and event.target == "mail")
        or (event.kind in OF_POSTGRES and event.target == "postgres")
    )
