"""How far every audience of the demo is: its daily run, its CSV, and its mails in the mailbox."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from email import message_from_binary_file
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from sqlalchemy import RowMapping, and_, extract, select

from local.sample import Definition
from worker.database import transaction
from worker.models import audiences, exports, ready_emails, runs

ENDED_BADLY: Final = ("failed", "cancelled")
NOT_SENT: Final = ("failed", "unknown", "skipped")


@dataclass(frozen=True, slots=True)
class Line:
    """
    One audience.

    :param state: ``waiting`` before its daily run is queued, then the run's status
    :param csv_rows: None until the export is stored
    :param mails: how often each of its mails lies in the mailbox, and what Postgres says of it
    :param error: the last thing that went wrong, if anything did
    """

    definition: Definition
    state: str
    candidates: int
    results: int
    seconds: float | None
    csv_rows: int | None
    mails: Sequence[tuple[str, int]]
    error: str | None

    @property
    def delivered(self) -> int:
        """How many of its mails lie in the mailbox."""
        return sum(1 for _, times in self.mails if times)

    @property
    def done(self) -> bool:
        """Whether the run is completed, its CSV holds every result, and each reader has the mail exactly once."""
        mails = [("sent", 1)] * len(self.definition.recipients)
        return self.state == "completed" and self.csv_rows == self.results and list(self.mails) == mails

    @property
    def lost(self) -> bool:
        """Whether waiting longer cannot help."""
        return self.state in ENDED_BADLY or any(status in NOT_SENT or times > 1 for status, times in self.mails)

    @property
    def why(self) -> str:
        """What is missing, in words."""
        if self.state != "completed":
            missing = f"its daily run is {self.state}" if self.state != "waiting" else "it has no daily run"
        elif self.csv_rows != self.results:
            missing = f"its CSV holds {self.csv_rows or 'no'} of {self.results} rows"
        else:
            missing = f"{self.delivered} of {len(self.definition.recipients)} mails lie in the mailbox once each"
        return f"{missing} ({self.error})" if self.error else missing


class Mailbox:
    """
    The Message-IDs of received mails; each file is read once.

    :param folder: one .eml file a mail
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._seen: dict[str, str] = {}

    def received(self) -> Counter[str]:
        """How often each Message-ID has arrived."""
        for file in self.folder.glob("*.eml"):
            if file.name not in self._seen:
                with file.open("rb") as mail:
                    self._seen[file.name] = str(message_from_binary_file(mail)["Message-ID"]).strip()
        return Counter(self._seen.values())


def read(saved: Mapping[UUID, Definition], data_date: date, mailbox: Mailbox) -> list[Line]:
    """
    Tell how every audience stands, in the order they were saved in.

    :param saved: the audiences by id
    :param data_date: the day whose runs count
    """
    with transaction() as connection:
        rows = {row["id"]: row for row in connection.execute(_standing(data_date)).mappings()}
        mails = connection.execute(_mails(data_date)).mappings().all()
    received = mailbox.received()
    return [_line(definition, rows[key], _of(key, mails), received) for key, definition in saved.items()]


def _standing(data_date: date) -> Any:
    """Select each audience beside its daily run of the day and that run's export."""
    of_the_day = and_(runs.c.audience_id == audiences.c.id, runs.c.run_type == "daily", runs.c.data_date == data_date)
    return (
        select(
            audiences.c.id,
            runs.c.status,
            runs.c.candidate_count,
            runs.c.result_count,
            runs.c.error_code,
            runs.c.error_message,
            extract("epoch", runs.c.completed_at - runs.c.started_at).label("seconds"),
            exports.c.row_count,
            exports.c.error_message.label("export_error"),
        )
        .outerjoin(runs, of_the_day)
        .outerjoin(exports, exports.c.run_id == runs.c.id)
        .order_by(runs.c.created_at)
    )


def _mails(data_date: date) -> Any:
    """Select the mails of the day's daily runs."""
    return (
        select(runs.c.audience_id, ready_emails.c.status, ready_emails.c.message_id, ready_emails.c.error)
        .join(runs, runs.c.id == ready_emails.c.run_id)
        .where(runs.c.run_type == "daily", runs.c.data_date == data_date)
        .order_by(ready_emails.c.recipient)
    )


def _of(audience_id: UUID, mails: Sequence[RowMapping]) -> list[RowMapping]:
    """Pick one audience's mails."""
    return [mail for mail in mails if mail["audience_id"] == audience_id]


def _line(definition: Definition, row: RowMapping, mails: Sequence[RowMapping], received: Counter[str]) -> Line:
    """Put together what is known of one audience."""
    said = [mail["error"] for mail in mails if mail["error"]]
    problems = [row["error_message"] and f"{row['error_code']}: {row['error_message']}", row["export_error"], *said]
    return Line(
        definition=definition,
        state=row["status"] or "waiting",
        candidates=row["candidate_count"] or 0,
        results=row["result_count"] or 0,
        seconds=None if row["seconds"] is None else float(row["seconds"]),
        csv_rows=row["row_count"],
        mails=[(mail["status"], received[mail["message_id"]]) for mail in mails],
        error=next((problem for problem in problems if problem), None),
    )
