"""Ready emails from the command line."""

import json
from uuid import UUID, uuid4

from builders import audience_row, queued, run_row, saved
from commandline import command, done, sentence
from sqlalchemy import func, update

from worker import emails, models
from worker.database import transaction


def listed(*arguments: object) -> str:
    """List mails, and return what was printed."""
    return done("emails", "list", *arguments)


def recipients(*arguments: object) -> list[str]:
    """Return the recipients of the mails listed as JSON."""
    return [mail["recipient"] for mail in json.loads(listed(*arguments, "--json"))]


def announced(*recipients: str) -> UUID:
    """Queue mails about a run of a new audience."""
    run = run_row(queued(saved()))
    with transaction() as connection:
        emails.queue(
            connection, organization_id=run["organization_id"], run_id=run["id"], recipients=recipients, now=None
        )
    return run["id"]


def sent(run_id: UUID) -> None:
    """Say that a run's mails were sent."""
    with transaction() as connection:
        mails = update(models.ready_emails).where(models.ready_emails.c.run_id == run_id)
        connection.execute(mails.values(status="sent", sent_at=func.now()))


def test_mails_are_listed_for_people(stores):
    """A line a mail tells whom it goes to and how it stands."""
    run_id = announced("ann@example.com")

    [line] = [line for line in listed().splitlines() if "ann@example.com" in line]

    assert str(run_id) in line
    assert "pending" in line


def test_a_list_is_narrowed_by_run_organization_and_status(stores):
    """Only what was asked for is listed, and newer mails that were not asked for hide nothing."""
    second, first = announced("bob@example.com"), announced("ann@example.com")
    sent(second)
    organization = audience_row(run_row(first)["audience_id"])["organization_id"]

    assert ["ann@example.com"] == recipients("--run", first)
    assert ["ann@example.com"] == recipients("--organization", organization)
    assert ["bob@example.com"] == recipients("--status", "sent", "--limit", "1")
    assert [] == recipients("--run", first, "--status", "sent")


def test_a_malformed_id_is_refused_in_one_sentence():
    """What is no UUID never reaches the database."""
    assert sentence(command("emails", "list", "--run", f"{uuid4()}x")).endswith("x' is not a UUID.")
