"""The six tasks of the runbook, their commands run exactly as docs/operations.md has them, in one day that goes wrong."""

import re
import subprocess
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from builders import queued, run_row, saved
from clickhouse_connect.driver.client import Client
from scenarios import awaited
from sqlalchemy import select, text

from local.programs import Programs
from local.servers import Servers
from worker import loads, models
from worker.database import transaction

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
DAY = datetime.now(UTC).date() - timedelta(days=1)
PEOPLE = 50
POPULAR, BROKEN, SLOW = 7, 13, 666
HOG = UUID(int=13)
HOUR = timedelta(hours=1)
SETTINGS = {
    "RING_SECONDS": "1",
    "QUEUE_SECONDS": "1",
    "WATCH_SECONDS": "1",
    "RESCUE_SECONDS": "1",
    "DAILY_CONCURRENCY": "1",
    "ANNOUNCE_CONCURRENCY": "1",
    # The first failure is the last, and every run reads the day for itself.
    "CHARGED_BUDGET": "1",
    "INDEX_WAIT_SECONDS": "0",
}
PATIENCE_SECONDS = 60
BLOCK_SECONDS = 120


@dataclass
class Night:
    """The servers, the programs, and the shell of whoever is on call."""

    servers: Servers
    programs: Programs
    clickhouse: Client

    def follow(self, heading: str, block: int = 0, **ids: object) -> str:
        """Run one block under a heading of the page, the words in capitals replaced, and return what it printed."""
        commands = _blocks(heading)[block]
        for word, value in ids.items():
            commands = re.sub(rf"\b{word}\b", str(value), commands)
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", commands],
            cwd=ROOT,
            env=self.programs.environment,
            capture_output=True,
            text=True,
            timeout=BLOCK_SECONDS,
            check=False,
        )
        assert done.returncode == 0, f"{heading}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def mar(self, *topics: int) -> None:
        """Let the scores of these topics be broken, or slow to read, and those of no others."""
        what = {BROKEN: f"throwIf(topic_id = {BROKEN})", SLOW: f"if(topic_id = {SLOW}, sleepEachRow(0.3), 0)"}
        marred = " + ".join(["score", *(what[topic] for topic in topics)])
        self.clickhouse.command(
            "CREATE OR REPLACE VIEW intent_signals AS"
            f" SELECT data_date, topic_id, hem_hash, toUInt8({marred}) AS score FROM signals_kept"
            " SETTINGS short_circuit_function_evaluation = 'force_enable'"
        )


def _blocks(heading: str) -> list[str]:
    """Cut the commands under a heading out of the page."""
    section = PAGE.split(f"\n### {heading}\n")[1]
    return re.findall(r"^```bash\n(.*?)^```$", re.split(r"\n##+ ", section)[0], re.DOTALL | re.MULTILINE)


@pytest.fixture
def night(stores, servers, clickhouse, tmp_path):
    """Fifty people of one topic, a topic that cannot be read, a slow one; the daily road's programs at work."""
    clickhouse.command(
        "INSERT INTO people (hem_hash, hashed_email) SELECT number, lower(hex(SHA256(toString(number))))"
        f" FROM numbers({PEOPLE})"
    )
    topics = f"arrayJoin([{POPULAR}, {BROKEN}])"
    clickhouse.command(f"INSERT INTO intent_signals SELECT '{DAY}', {topics}, number, 80 FROM numbers({PEOPLE})")
    clickhouse.command(f"INSERT INTO intent_signals SELECT '{DAY}', {SLOW}, number, 80 FROM numbers(2)")
    loads.make_ready(DAY)
    clickhouse.command("RENAME TABLE intent_signals TO signals_kept")
    with Programs(tmp_path / "logs", {**stores.environment, **SETTINGS}) as programs:
        begun = Night(servers, programs, clickhouse)
        begun.mar(BROKEN, SLOW)
        programs.start(["beat", "control", "worker", "announce"])
        yield begun


def test_the_six_tasks_of_the_runbook(night, mailbox):
    """Each task ends as the runbook says, from an audience that was not refreshed to an outage that cost nothing."""
    audience = saved(topics=(BROKEN,), status="active", due_now=True, now=None, notify_emails=["ann@example.com"])
    failed = awaited(lambda: _ended(audience, "failed"), PATIENCE_SECONDS, "the failure")
    retried = _found_and_retried(night, audience, failed)
    _resent(night, retried, mailbox)
    waiting = [_hogging(number) for number in range(16)]
    _stopped_hogging(night, waiting)
    _taken_out(night)
    _restored(night, waiting)


def _found_and_retried(night: Night, audience: UUID, failed: UUID) -> UUID:
    """Find the cause, mend it, retry."""
    found = night.follow("Find why an audience was not refreshed", AUDIENCE_ID=audience, RUN_ID=failed)
    night.mar(SLOW)
    done = night.follow("Retry a run", AUDIENCE_ID=audience, RUN_ID=failed)

    [retried] = _ids(models.runs.c.retry_of == failed)
    assert "failed: INTERNAL_ERROR, Something unforeseen went wrong" in found
    assert found.count(str(failed)) >= 3, found
    assert done.startswith(str(retried))
    assert (run_row(retried)["status"], run_row(retried)["result_count"]) == ("completed", PEOPLE)
    assert re.search(rf"^size +{PEOPLE}$", done, re.MULTILINE), done
    return retried


def _resent(night: Night, run: UUID, mailbox) -> None:
    """Send the mail again, once it was sent."""
    awaited(lambda: len(mailbox()) == 1, PATIENCE_SECONDS, "the mail")
    said = night.follow("Resend a mail", RUN_ID=run)
    awaited(lambda: len(mailbox()) == 2, PATIENCE_SECONDS, "the mail again")

    mails: list[EmailMessage] = mailbox()
    assert "1 mail was queued." in said
    assert len({mail["Message-ID"] for mail in mails}) == 2


def _stopped_hogging(night: Night, waiting: list[UUID]) -> None:
    """While an organization is paused another one is served; afterwards it goes on."""
    awaited(lambda: _statuses(waiting)["running"], PATIENCE_SECONDS, "the hog's first run")
    said = night.follow("Stop an organization from hogging the lanes", ORGANIZATION_ID=HOG)
    awaited(lambda: not _statuses(waiting)["running"], PATIENCE_SECONDS, "the end of what ran")
    left = _statuses(waiting)["queued"]
    other = _daily(UUID(int=1), POPULAR)
    awaited(lambda: run_row(other)["status"] == "completed", PATIENCE_SECONDS, "the other's run")
    still = _statuses(waiting)["queued"]
    lifted = night.follow("Stop an organization from hogging the lanes", 1, ORGANIZATION_ID=HOG)
    awaited(lambda: _statuses(waiting)["queued"] < left, PATIENCE_SECONDS, "the hog's next run")

    assert "Paused." in said
    assert 0 < left == still
    assert "Its limit is gone." in lifted


def _taken_out(night: Night) -> None:
    """The worker ends, and holds nothing any more."""
    with transaction() as connection:
        name = connection.scalar(select(models.workers.c.name).where(models.workers.c.lane == "daily"))
    said = night.follow("Take a worker out", WORKER=name)
    awaited(lambda: not night.programs.running("worker"), PATIENCE_SECONDS, "the worker's end")
    night.programs.stop(["worker"])

    assert str(name) in said
    assert [] == _ids(models.runs.c.status == "running")


def _restored(night: Night, waiting: list[UUID]) -> None:
    """ClickHouse goes away in the midst of a run; an hour later all are completed, and the run has paid nothing."""
    night.programs.start(["worker"])
    awaited(lambda: _statuses(waiting)["running"], PATIENCE_SECONDS, "a run to interrupt")
    night.servers.clickhouse.kill()
    met = models.runs.c.error_code == "CLICKHOUSE_UNAVAILABLE"
    [interrupted] = awaited(lambda: _ids(met, models.runs.c.status == "queued"), PATIENCE_SECONDS, "the outage")
    _an_hour_passes()
    night.servers.clickhouse.start()
    night.mar()
    said = night.follow("Restore after ClickHouse was down for an hour")

    assert {"completed": len(waiting)} == _statuses(waiting)
    assert (run_row(interrupted)["attempts"], run_row(interrupted)["failures"]) == (1, 1)
    assert "ok       clickhouse" in said.lower(), said
    assert str(DAY) in said


def _an_hour_passes() -> None:
    """Move what was noted of the runs an hour back."""
    moments = ("created_at", "due_at", "next_attempt_at", "first_claimed_at", "started_at", "updated_at")
    moved = ", ".join(f"{name} = {name} - interval '1 hour'" for name in moments)
    with transaction() as connection:
        connection.execute(text(f"UPDATE runs SET {moved} WHERE status = 'queued'"))


def _hogging(number: int) -> UUID:
    """Queue one of the many runs of the organization that hogs the lane; each asks something else, slowly."""
    return _daily(HOG, SLOW, 1000 + number)


def _daily(organization_id: UUID, *topics: int) -> UUID:
    """Queue a daily run that is due now."""
    audience = saved(organization_id=organization_id, topics=topics, now=None)
    now = datetime.now(UTC)
    born: dict[str, Any] = {"run_type": "daily", "lane": "daily", "data_date": DAY, "due_at": now, "created_at": now}
    return queued(audience, **born)


def _ended(audience: UUID, status: str) -> UUID | None:
    """Return the audience's run that has come to this status."""
    return next(iter(_ids(models.runs.c.audience_id == audience, models.runs.c.status == status)), None)


def _ids(*which) -> list[UUID]:
    """Return the ids of these runs."""
    with transaction() as connection:
        return list(connection.scalars(select(models.runs.c.id).where(*which)))


def _statuses(ids: list[UUID]) -> Counter[str]:
    """Count these runs by status."""
    with transaction() as connection:
        return Counter(connection.scalars(select(models.runs.c.status).where(models.runs.c.id.in_(ids))))
