"""Mails that an operator has sent once more."""

import pytest
from sqlalchemy import update

from worker import audit, errors, models, redo
from worker.database import transaction

BOTH = ("ada@example.com", "bob@example.com")


def told(mail):
    """Return what a test needs to know of a mail."""
    return mail["recipient"], mail["generation"], mail["status"]


def change_run(run, **values):
    """Change a run behind everybody's back."""
    with transaction() as connection:
        connection.execute(update(models.runs).where(models.runs.c.id == run.run_id).values(**values))


def test_a_mail_is_sent_once_more_to_whoever_is_still_on_the_list(completed, mailbox, work):
    """A second generation with a Message-ID of its own goes out, its file is made anew, and the run tells the last sending."""
    run = completed(3, recipients=BOTH)
    run.give_file_up()
    work()
    first = run.told()
    run.change_audience(notify_emails=["ada@example.com", "eve@example.com"])

    assert 1 == redo.resend(run.run_id, by="ann")
    counts = work()
    assert (1, 1) == (counts.get("exports_completed"), counts.get("mails_sent")), counts

    ada, bob = BOTH
    assert [(ada, 1, "sent"), (ada, 2, "sent"), (bob, 1, "sent")] == sorted(told(mail) for mail in run.mails())
    assert 3 == len({str(message["Message-ID"]) for message in mailbox()}) == len(mailbox())
    assert run.told()[0] > first[0]
    with transaction() as connection:
        [line] = audit.latest(connection)
    assert ("ann", "emails resend", str(run.run_id)) == (line["who"], line["verb"], line["object"])


def test_one_recipient_may_be_named(completed, work):
    """Only that one is told, also when it came onto the list after the run."""
    run = completed(3, recipients=BOTH[:1])
    work()
    run.change_audience(notify_emails=list(BOTH))

    assert 1 == redo.resend(run.run_id, BOTH[1], by="ann")

    assert [(BOTH[0], 1, "sent"), (BOTH[1], 1, "pending")] == [told(mail) for mail in run.mails()]


def test_what_cannot_be_sent_again_is_refused(completed, work):
    """A mail on its way, a stranger, an empty list, a paused audience, a preview and a run that failed each say why."""
    run = completed(3, recipients=BOTH)
    on_its_way = refusal(run)
    work()
    stranger = refusal(run, "eve@example.com")
    run.change_audience(notify_emails=["eve@example.com"])
    nobody = refusal(run)
    run.change_audience(status="paused")
    paused = refusal(run)
    change_run(run, run_type="preview")
    preview = refusal(run)

    codes = ["EMAIL_ON_ITS_WAY", "NOBODY_TO_TELL", "NOBODY_TO_TELL", "AUDIENCE_PAUSED", "RUN_IS_PREVIEW"]
    assert codes == [one.code for one in (on_its_way, stranger, nobody, paused, preview)]
    assert "eve" not in str(stranger)
    assert [(BOTH[0], 1, "sent"), (BOTH[1], 1, "sent")] == [told(mail) for mail in run.mails()]
    with transaction() as connection:
        assert [] == audit.latest(connection)


def refusal(run, recipient=None):
    """Ask for mails that must not be sent, and return the refusal."""
    with pytest.raises(errors.NotAllowed) as refused:
        redo.resend(run.run_id, recipient, by="ann")
    return refused.value
