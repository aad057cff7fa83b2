"""A completed run with its snapshot, and a mail server that answers as it is told."""

import os
import socketserver
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from clickhouse_connect.driver.client import Client
from sqlalchemy import insert, select, update

from worker import announce, emails, exports, models, settings
from worker.database import transaction

DAY = date(2026, 5, 4)
NOWHERE = {
    "DATABASE_URL": "postgresql+psycopg://nowhere",
    "REDIS_URL": "redis://nowhere",
    "CLICKHOUSE_URL": "http://nowhere",
    "TOKEN_KEYS": "k" * 32,
    "MAIL_FROM": "Audiences <audiences@example.com>",
    "MAIL_TLS": "none",
}


@dataclass(frozen=True)
class Run:
    """What tests need to know of a completed run."""

    organization_id: UUID
    audience_id: UUID
    run_id: UUID

    def row(self) -> Mapping[str, Any]:
        """The run as it is now."""
        with transaction() as connection:
            return connection.execute(select(models.runs).where(models.runs.c.id == self.run_id)).mappings().one()

    def export(self) -> Mapping[str, Any]:
        """Its export as it is now."""
        with transaction() as connection:
            return exports.get(connection, self.organization_id, self.run_id)

    def mails(self) -> list[Mapping[str, Any]]:
        """Its mails as they are now, by recipient."""
        with transaction() as connection:
            return sorted(emails.latest(connection, run_id=self.run_id), key=lambda mail: str(mail["recipient"]))

    def statuses(self) -> list[str]:
        """Its mails by status, in the order of recipients."""
        return [str(mail["status"]) for mail in self.mails()]

    def told(self) -> tuple[Any, Any, Any]:
        """What it says about its mails: when sent, which export was linked, what went wrong."""
        row = self.row()
        return row["ready_email_sent_at"], row["ready_email_export_id"], row["ready_email_error"]

    def change_mails(self, **values: object) -> None:
        """Change its mails behind the story's back."""
        mails = update(models.ready_emails).where(models.ready_emails.c.run_id == self.run_id)
        with transaction() as connection:
            connection.execute(mails.values(**values))

    def give_file_up(self) -> "Run":
        """Settle its export, so that its mails are due."""
        export = update(models.exports).where(models.exports.c.run_id == self.run_id)
        with transaction() as connection:
            connection.execute(export.values(status="failed", error_code="STORAGE_UNAVAILABLE"))
        return self

    def change_audience(self, **values: object) -> None:
        """Change the audience behind the story's back."""
        with transaction() as connection:
            connection.execute(
                update(models.audiences).where(models.audiences.c.id == self.audience_id).values(**values)
            )


@pytest.fixture
def completed(clickhouse: Client) -> Callable[..., Run]:
    """Build a completed run, its snapshot, its export and its mails, all queued as at completion."""

    def build(
        results: int = 3, *, recipients: tuple[str, ...] = (), name: str = "Leaders", rows: int | None = None
    ) -> Run:
        run, snapshot_key, today = Run(uuid4(), uuid4(), uuid4()), uuid4(), datetime.now(UTC).date()
        _freeze(clickhouse, snapshot_key, today, results if rows is None else rows)
        with transaction() as connection:
            connection.execute(insert(models.audiences).values(_audience(run, name, recipients)))
            connection.execute(insert(models.runs).values(_queued(run)))
            runs = update(models.runs).where(models.runs.c.id == run.run_id)
            connection.execute(runs.values(status="running", claimed_by="w", lease_expires_at=datetime.now(UTC)))
            connection.execute(runs.values(_completed(snapshot_key, today, results)))
            names = {"organization_id": run.organization_id, "run_id": run.run_id}
            exports.queue(connection, audience_id=run.audience_id, **names)
            emails.queue(connection, recipients=recipients, **names)
        return run

    return build


@pytest.fixture
def work(stores: object) -> Callable[..., dict[str, Any]]:
    """Ring the bell once; nobody asks the process to leave unless the test does."""

    def ring(*, seconds: float = 30, stopping: Callable[[], bool] = lambda: False) -> dict[str, Any]:
        return announce.announce("w", seconds=seconds, stopping=stopping)

    return ring


@pytest.fixture
def rescue_later(stores: object) -> Callable[[], dict[str, int]]:
    """Let a rescuer pass when every lease is over."""
    return lambda: announce.rescue(now=datetime.now(UTC) + timedelta(hours=1))


@pytest.fixture
def configured(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """
    Change settings for one test.

    Tests of one outside thing need no databases; those that do ask for theirs first, and what they set stays.
    """

    def change(**values: object) -> None:
        for name, value in values.items():
            monkeypatch.setenv(name, str(value))
        settings.current.cache_clear()

    change(**{name: value for name, value in NOWHERE.items() if name not in os.environ})
    yield change
    settings.current.cache_clear()


@dataclass
class Script:
    """
    What a mail server says to each verb; None hangs up instead.

    ``TEXT`` answers the text after DATA; ``before`` is called before a verb is answered. ``heard`` holds the command
    lines, ``texts`` what was accepted.
    """

    replies: dict[str, str | None] = field(default_factory=dict)
    heard: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    before: dict[str, Callable[[], None]] = field(default_factory=dict)
    port: int = 0

    def accepts(self, verb: str, digit: str) -> bool:
        """Whether the reply to a verb begins with a digit; the usual one does."""
        reply = self.replies.get(verb, digit)
        return reply is not None and reply.startswith(digit)


class Conversation(socketserver.StreamRequestHandler):
    """One connection to the scripted mail server."""

    def handle(self) -> None:
        """Answer line by line until either side hangs up."""
        goes_on = self.say("CONNECT", "220 ready")
        while goes_on and (line := self.rfile.readline()):
            command = line.decode(errors="replace").strip() or "?"
            self.script.heard.append(command)
            goes_on = self.answer(command.split()[0].upper())

    @property
    def script(self) -> Script:
        """What to say."""
        return self.server.script

    def answer(self, verb: str) -> bool:
        """Answer one command and return whether to go on."""
        usual = {"DATA": "354 go ahead", "QUIT": "221 bye", "EHLO": "250 localhost"}.get(verb, "250 ok")
        goes_on = self.say(verb, usual) and verb != "QUIT"
        return self.text() if goes_on and verb == "DATA" and self.script.accepts("DATA", "3") else goes_on

    def text(self) -> bool:
        """Take the text of a message."""
        lines = list(iter(self.rfile.readline, b".\r\n"))
        if self.script.accepts("TEXT", "2"):
            self.script.texts.append(b"".join(lines).decode())
        return self.say("TEXT", "250 queued")

    def say(self, verb: str, usual: str) -> bool:
        """Say what the script says, and return whether to go on."""
        self.script.before.get(verb, lambda: None)()
        said = self.script.replies.get(verb, usual)
        if said is not None:
            self.wfile.write(f"{said}\r\n".encode())
        return said is not None


@pytest.fixture
def script(configured: Callable[..., None]) -> Iterator[Script]:
    """A mail server on a port of its own that follows a script; the settings lead to it."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Conversation) as server:
        server.daemon_threads = True
        server.script = Script(port=server.server_address[1])
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        configured(MAIL_URL=f"smtp://127.0.0.1:{server.script.port}", MAIL_TLS="none", MAIL_SECONDS=5)
        yield server.script
        server.shutdown()
        thread.join()


def _freeze(client: Client, snapshot_key: UUID, written_on: date, rows: int) -> None:
    """Write result rows whose values follow from their rank."""
    client.command(
        """
        INSERT INTO audience_results
            (snapshot_key, written_on, rank, data_date, hem_hash, score, topic_overlap, matched_topics, hashed_email,
             first_name, job_title, seniority, company_industry, role_is_ceo, phone, source_last_seen_on)
        SELECT
            {key:UUID}, {day:Date}, number + 1, {day:Date}, number, 84, 1, [(7, 'Topic, "seven"', 'b2b', NULL, NULL)],
            lower(hex(SHA256(toString(number)))), concat('person ', toString(number)), '=HYPERLINK("x")',
            ['vp', 'director', NULL][1 + number % 3], if(number % 2 = 0, 'software', NULL), number % 2,
            '+1 (800) 555-1212', toDate('2026-05-01')
        FROM numbers({rows:UInt32})
        """,
        parameters={"key": str(snapshot_key), "day": written_on, "rows": rows},
    )


def _audience(run: Run, name: str, recipients: tuple[str, ...]) -> dict[str, Any]:
    """Build an active audience that is not refreshed by itself."""
    who = {"id": run.audience_id, "organization_id": run.organization_id, "name": name, "status": "active"}
    who |= {"notify_emails": list(recipients)}
    return who | {"config": {}, "config_hash": "0" * 64, "daily_refresh_enabled": False}


def _queued(run: Run) -> dict[str, Any]:
    """Build a run as it is born."""
    who = {"id": run.run_id, "organization_id": run.organization_id, "audience_id": run.audience_id}
    what = {"status": "queued", "run_type": "daily", "lane": "daily", "config": {}, "config_hash": "0" * 64}
    return who | what | {"data_date": DAY, "due_at": datetime.now(UTC)}


def _completed(snapshot_key: UUID, written_on: date, results: int) -> dict[str, Any]:
    """Build what completion writes."""
    now = datetime.now(UTC)
    counts = {"candidate_count": results, "result_count": results, "csv_defused": True, "status": "completed"}
    shown = {"snapshot_key": snapshot_key, "written_on": written_on, "results_expire_at": now + timedelta(days=90)}
    return counts | shown | {"completed_at": now, "finished_at": now, "claimed_by": None, "lease_expires_at": None}
