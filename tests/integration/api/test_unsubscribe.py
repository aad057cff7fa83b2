"""Leaving an audience's mails, by the page's button and by a mail program's one click."""

import builders
import mails
import pytest
from sqlalchemy import delete

from worker import manual, models
from worker.database import transaction


def test_a_button_takes_exactly_one_recipient_off(site, mailed):
    """The page asks, the button does, and a second press says the same; the mail's download goes with it."""
    audience_id, sent = mailed("Ann@example.com", mails.ANN, mails.BOB)
    asked = site.get(sent[mails.ANN][1])
    assert ("Leaders &amp; &lt;others&gt;", True) == (mails.heading(asked), '<form method="post">' in asked.text)
    assert 3 == len(builders.audience_row(audience_id)["notify_emails"])

    first, second = site.post(sent[mails.ANN][1]), site.post(sent[mails.ANN][1])

    assert [(200, "No more messages")] * 2 == [
        (answer.status_code, mails.heading(answer)) for answer in (first, second)
    ]
    assert "No more messages" == mails.heading(site.get(sent[mails.ANN][1]))
    assert ["Ann@example.com", mails.BOB] == builders.audience_row(audience_id)["notify_emails"]
    assert [410, 200] == [site.get(sent[who][0]).status_code for who in (mails.ANN, mails.BOB)]


@pytest.mark.parametrize(
    "body",
    [
        {"data": {"List-Unsubscribe": "One-Click"}},
        {"files": {"List-Unsubscribe": (None, "One-Click")}},
        {"content": b""},
    ],
    ids=["urlencoded", "multipart", "empty"],
)
def test_a_mail_program_s_one_click_is_enough(site, mailed, body):
    """RFC 8058 in either form of body, without a cookie and without a redirect."""
    audience_id, sent = mailed()

    answer = site.post(sent[mails.BOB][1], **body)

    assert (200, [mails.ANN]) == (answer.status_code, builders.audience_row(audience_id)["notify_emails"])


def test_leaving_works_whatever_became_of_audience_and_run(site, mailed):
    """A paused audience is left, a mail may be older than its run, and a deleted audience is left already."""
    audience_id, sent = mailed()
    manual.pause(audience_id)
    paused = site.post(sent[mails.ANN][1])
    with transaction() as connection:
        connection.execute(delete(models.runs))
    pruned = site.post(sent[mails.BOB][1])
    manual.delete(audience_id)
    deleted = site.get(sent[mails.BOB][1]), site.post(sent[mails.BOB][1])

    assert ["No more messages"] * 4 == [mails.heading(answer) for answer in (paused, pruned, *deleted)]
    assert [] == builders.audience_row(audience_id)["notify_emails"]


def test_what_waits_for_whoever_left_is_not_sent(site, mailed, mailbox):
    """A mail that was queued before is skipped when its turn comes."""
    _, sent = mailed()
    mails.change(models.ready_emails, status="pending", sent_at=None)
    site.post(sent[mails.ANN][1])

    done = mails.work()

    assert (1, 1, 3) == (done["mails_skipped"], done["mails_sent"], len(mailbox()))
    assert [mails.ANN, mails.BOB, mails.BOB] == sorted(str(mail["To"]) for mail in mailbox())
