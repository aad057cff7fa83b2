"""Ready emails as they arrive, and where their links lead."""

import re
from collections.abc import Callable
from email.message import EmailMessage
from typing import Any
from uuid import UUID, uuid4

import httpx
import published
from clickhouse_connect.driver.client import Client
from sqlalchemy import Table, update

from worker import announce, audiences
from worker.database import transaction

ANN, BOB = "ann@example.com", "bob@example.com"
LINK = re.compile(r"https://audiences\.example\.com(/v1/intent/(?:downloads|unsubscribe)/\S+)")


def mailed(
    clickhouse: Client, mailbox: Callable[[], list[EmailMessage]], *recipients: str
) -> tuple[UUID, dict[str, list[str]]]:
    """Carry an audience's run to its mails; return its id and, by recipient, the paths of download and unsubscribe."""
    refresh = audiences.Refresh(notify_emails=recipients or (ANN, BOB), notify_on_manual=True)
    audience_id, _ = published.completed(clickhouse, uuid4(), name="Leaders & <others>", refresh=refresh)
    work()
    return audience_id, {str(mail["To"]): paths(mail) for mail in mailbox()}


def paths(mail: EmailMessage) -> list[str]:
    """Return the paths of a mail's links, in the order of its text: download, unsubscribe."""
    body = mail.get_body(("plain",))
    assert body is not None
    found = LINK.findall(body.get_content())
    assert f"<https://audiences.example.com{found[1]}>" == mail["List-Unsubscribe"]
    return found


def work() -> dict[str, Any]:
    """Let a worker write the files and send the mails that are due."""
    return announce.announce("w", seconds=30, stopping=lambda: False)


def change(table: Table, **values: Any) -> None:
    """Change every row of a table behind everybody's back."""
    with transaction() as connection:
        connection.execute(update(table).values(**values))


def heading(answer: httpx.Response) -> str:
    """Return a page's heading, and check that it is a page."""
    assert "text/html; charset=utf-8" == answer.headers["Content-Type"]
    found = re.search(r"<h1[^>]*>(.*?)</h1>", answer.text)
    assert found
    return found[1]
