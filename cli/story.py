"""One run's whole story: how it stands, why it waits, what was tried, what became of its file and its mails."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, RowMapping

from cli import output, watch
from worker import audiences, clickhouse, emails, exports, presence, runs, settings
from worker.database import transaction
from worker.errors import AttemptError, NotFound


@dataclass(frozen=True, slots=True)
class Story:
    """
    What there is to tell of a run.

    :param waits: why a run that has not ended is not further, as a sentence; None where nothing holds it up
    :param attempts: oldest first
    :param export: None where it has none
    """

    run: RowMapping
    waits: str | None
    attempts: Sequence[RowMapping]
    export: Mapping[str, Any] | None
    mails: Sequence[RowMapping]


def read(run_id: UUID) -> Story:
    """
    Read a run's story.

    :raises RunNotFound: when there is no such run
    """
    with transaction() as connection:
        run = runs.get(connection, run_id)
        now = audiences.clock(connection, None)
        is_due = run["status"] == "queued" and run["due_at"] <= now
        line = runs.line(connection, run_id) if is_due else None
        seen = presence.alive(connection, within_seconds=settings.current().task_hard_seconds)
        attempts = runs.attempts(connection, run_id)
        export = _export(connection, run)
        mails = emails.latest(connection, run_id=run_id)
    served = any(worker["lane"] == run["lane"] for worker in seen)
    waits = _waits(run, now) if line is None else f"due; {_held_up(run['lane'], line, served=served)}"
    return Story(run, waits, attempts, export, mails)


def show_json(story: Story) -> None:
    """Print a story as JSON."""
    attempts, mails = [dict(one) for one in story.attempts], [dict(one) for one in story.mails]
    more = {"waits": story.waits, "attempt_history": attempts, "emails": mails, "export": story.export}
    output.show_json({**story.run, **more})


def show(story: Story) -> None:
    """Print a story for people."""
    output.show_facts(_facts(story))
    _show_attempts(story.attempts)
    if story.export is not None:
        columns = ("status", "row_count", "byte_size", "file_id", "due_at", "error_code", "expires_at")
        headings = ("status", "rows", "bytes", "file", "due", "error", "expires")
        output.show_table(headings, [[story.export[column] for column in columns]], title="export")
    if story.mails:
        columns = ("recipient", "generation", "status", "attempts", "due_at", "sent_at", "error")
        headings = ("recipient", "generation", "status", "attempts", "due", "sent", "error")
        rows = [[mail[column] for column in columns] for mail in story.mails]
        output.show_table(headings, rows, title="ready emails")


def _export(connection: Connection, run: RowMapping) -> Mapping[str, Any] | None:
    """Return a run's export, if it has one."""
    try:
        return dict(exports.get(connection, run["organization_id"], run["id"]))
    except NotFound:
        return None


def _waits(run: RowMapping, now: datetime) -> str | None:
    """Say why a run that is not due is not further."""
    if run["status"] == "running" and run["lease_expires_at"] < now:
        return f"its lease ended at {output.text(run['lease_expires_at'])}; the rescue takes it over"
    if run["status"] != "queued":
        return None
    after = f" after {run['error_code']}: {run['error_message']}" if run["error_code"] else ""
    return f"tried again at {output.text(run['due_at'])}{after}"


def _held_up(lane: str, line: runs.Line, *, served: bool) -> str:
    """Say what keeps a due run from being claimed: the brake, the workers, ClickHouse, or those before it."""
    if line.most == 0:
        return "an operator has paused its organization: audience-worker organizations list"
    if not served:
        return f"no worker of the {lane} lane was seen lately"
    if closed := _closed():
        return f"the {lane} lane is closed: {closed}"
    others = {0: "no other organization waits", 1: "1 other organization waits"}
    place = f"number {line.before + 1:,} of its organization"
    return f"{_ceiling(lane, line)}; {place}, {others.get(line.others, f'{line.others:,} other organizations wait')}"


def _ceiling(lane: str, line: runs.Line) -> str:
    """Say which ceiling is reached, if any; among organizations with equally much under way chance decides."""
    current = settings.current()
    if line.most is not None and line.organization_running >= line.most:
        return f"an operator has limited its organization to {line.most} under way (audience-worker organizations list)"
    if line.lane_running >= current.lane_max_statements:
        return f"the {lane} lane is full, LANE_MAX_STATEMENTS is {current.lane_max_statements}"
    if line.others and line.organization_running >= current.organization_max_statements:
        return f"its organization has its share, ORGANIZATION_MAX_STATEMENTS is {current.organization_max_statements}"
    return f"waits for a free worker of the {lane} lane"


def _closed() -> str:
    """Say why ClickHouse would close a lane; nothing where it answers."""
    try:
        clickhouse.ping()
    except AttemptError as error:
        return error.sentence
    return ""


def _facts(story: Story) -> list[tuple[str, object]]:
    """Return what there is to say about a run."""
    run = story.run
    dates = ("created_at", "due_at", "started_at", "finished_at", "results_expire_at")
    budget = settings.current().charged_budget
    return [
        ("id", run["id"]),
        ("audience", run["audience_id"]),
        ("organization", run["organization_id"]),
        ("status", watch.told(run)),
        ("waits", story.waits),
        *_under_way(story),
        ("type", f"{run['run_type']}, {run['lane']} lane, priority {run['priority']}"),
        ("data date", run["data_date"]),
        ("candidates", run["candidate_count"]),
        ("results", run["result_count"]),
        ("changes", _changes(run)),
        ("anomaly", run["anomaly"]),
        ("held back", f"until: audience-worker runs publish {run['id']}" if run["held"] else None),
        ("attempts", f"{run['attempts']} of at most {budget}, {run['failures']} failed"),
        *((date.removesuffix("_at").replace("_", " "), run[date]) for date in dates),
        ("retry of", run["retry_of"]),
        ("idempotency key", run["idempotency_key"]),
        ("config hash", run["config_hash"]),
        ("ready email sent", run["ready_email_sent_at"]),
        ("ready email error", run["ready_email_error"]),
    ]


def _under_way(story: Story) -> list[tuple[str, object]]:
    """Return what there is to say about a run that has begun and not ended."""
    run = story.run
    if run["finished_at"] is not None or run["first_claimed_at"] is None:
        return []
    deadline = run["first_claimed_at"] + timedelta(seconds=settings.current().deadline_seconds)
    facts: list[tuple[str, object]] = [("given up after", deadline)]
    if run["status"] == "running":
        sent = [query_id for attempt in story.attempts[-1:] for query_id in attempt["query_ids"]]
        facts += [("held until", run["lease_expires_at"]), ("ClickHouse queries", "\n".join(sent) or None)]
    return facts


def _show_attempts(attempts: Sequence[RowMapping]) -> None:
    """Show what each attempt came to, and what its query cost."""
    columns = ("attempt", "started_at", "ended_at", "outcome", "charged", "error_code", "worker", "strategy")
    figures = ("read_rows", "read_bytes", "written_rows", "memory_bytes", "elapsed_ms")
    headings = ("attempt", "started", "ended", "outcome", "charged", "error", "worker", "strategy")
    costs = ("rows read", "bytes read", "rows written", "peak bytes", "ms")
    cells = [[one[column] for column in (*columns, *figures)] for one in attempts]
    output.show_table((*headings, *costs), cells, title="attempts")


def _changes(run: RowMapping) -> str | None:
    """Say what changed since the run that this one is compared with."""
    if run["compared_with"] is None:
        return None
    known = run["people_new"] is not None
    counted = f"{run['people_new']:,} new, {run['people_left']:,} left" if known else "not counted"
    return f"{counted}, compared with run {run['compared_with']}"
