"""What becomes of a file and of mails when PostgreSQL lets nobody in for a moment: nothing."""

from shut import shut_after
from sqlalchemy import select

from worker import mailer, models, storage
from worker.announce import export
from worker.database import transaction

BOTH = ("ann@example.com", "bob@example.com")


def test_an_export_is_handed_back_uncharged(completed, monkeypatch):
    """The moment after the file was stored costs no failure and waits for no lease's end."""
    run = completed(3)
    with shut_after(monkeypatch, storage, "put"):
        export.next_export("w", lambda: False)

    with transaction() as connection:
        row = connection.execute(select(models.exports).where(models.exports.c.run_id == run.run_id)).mappings().one()
    assert ("processing", None, 0) == (row["status"], row["claimed_by"], row["failures"])


def test_a_mail_known_to_be_sent_is_written_down_as_sent(completed, mailbox, work, monkeypatch):
    """The mail server's yes is kept until PostgreSQL can be told, and the other mail goes out as well."""
    run = completed(3, recipients=BOTH).give_file_up()

    with shut_after(monkeypatch, mailer.Server, "send"):
        work()

    assert (["sent", "sent"], 2) == (run.statuses(), len(mailbox()))
