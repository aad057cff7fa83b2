"""The ready email's story: claim a few, compose, note the hand-over, send, settle."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import timedelta
from email.message import EmailMessage
from typing import Final
from uuid import UUID

from structlog.contextvars import bound_contextvars

from worker import emails, errors, lease, letter, links, log, mailer, settings, snapshots
from worker.database import transaction

logger = log.get(__name__)

MAILS_AT_ONCE: Final = 20
UNSUBSCRIBE_DAYS: Final = 365
REFUSED: Final = "The mail server refused this recipient or message for good."
PUT_OFF: Final = "The mail server put the message off."
NO_SERVER: Final = "The mail server could not be used."


class Unwanted(Exception):
    """The audience was paused or deleted while the server was being talked to."""


@dataclass(slots=True)
class Delivery:
    """One mail on its way: from the hand-over on, nobody may send it again."""

    claim: emails.Claim
    handed_over: bool = False

    def hand_over(self) -> None:
        """
        Commit that the text is about to leave.

        :raises ClaimLost: when somebody else holds the mail by now
        :raises Unwanted: when nobody should get it any more
        """
        with transaction() as connection:
            if not emails.sending(connection, self.claim, seconds=settings.current().lease_seconds):
                raise Unwanted
        self.handed_over = True


@dataclass(slots=True)
class Batch:
    """Mails that share a connection, and what they say about the runs they share."""

    outbox: mailer.Outbox
    held: lease.Held
    summaries: dict[UUID, snapshots.Summary] = field(default_factory=dict)
    closed: bool = False


def next_mails(worker: str, going: Callable[[], bool]) -> tuple[list[str], bool]:
    """
    Send a few mails, the longest due first.

    :param going: asked before each mail
    :returns: an outcome a mail, ``mails_sent`` for example, and whether to go on with mails
    """
    lease_seconds = settings.current().lease_seconds
    with transaction() as connection:
        claims = emails.claim(connection, worker, wanted=MAILS_AT_ONCE, lease_seconds=lease_seconds)
    if not claims:
        return [], True
    outcomes: list[str] = []
    try:
        with mailer.outbox() as outbox, _kept(claims) as held:
            batch = Batch(outbox, held)
            for claim in claims:
                if batch.closed or held.lost or not going():
                    break
                outcomes.append(f"mails_{_delivered(claim, batch)}")
    finally:
        with transaction() as connection:
            emails.release(connection, claims)
    return outcomes, not batch.closed


def _delivered(claim: emails.Claim, batch: Batch) -> str:
    """Send one mail and settle it, whatever happens on the way."""
    delivery = Delivery(claim)
    with bound_contextvars(mail_id=str(claim.mail_id), run_id=str(claim.run_id), fence=claim.fence):
        try:
            outcome = _sent(delivery, batch)
        except errors.ClaimLost:
            outcome = "lost"
        logger.info("mail_settled", outcome=outcome, attempts=claim.attempts)
    return outcome


def _sent(delivery: Delivery, batch: Batch) -> str:
    """Try to send one mail, and write down what came of it."""
    claim = delivery.claim
    try:
        _offer(delivery, batch)
    except Unwanted:
        return _settle(claim, "skipped")
    except mailer.NotSent as refusal:
        batch.closed = refusal.everyone
        return _refused(claim, refusal)
    except mailer.Unanswered:
        return _settle(claim, "unknown", emails.UNKNOWN)
    except errors.AttemptError as error:
        batch.closed = error.retry.closes_lane
        return _set_back(claim, error.sentence)
    except errors.ClaimLost:
        raise
    except Exception:
        logger.exception("mail_broke")
        unforeseen = errors.InternalError().sentence
        return _settle(claim, "unknown", emails.UNKNOWN) if delivery.handed_over else _set_back(claim, unforeseen)
    # Nobody else will ever know.
    lease.insisted(batch.held, lambda connection: emails.settle(connection, claim, "sent"))
    return "sent"


def _offer(delivery: Delivery, batch: Batch) -> None:
    """Hand one mail to the outbox."""
    claim = delivery.claim
    if not claim.wanted:
        raise Unwanted
    batch.outbox.send(_message(claim, batch), claim.recipient, delivery.hand_over)


def _refused(claim: emails.Claim, refusal: mailer.NotSent) -> str:
    """Give a refused mail up, or back."""
    sentence = REFUSED if refusal.permanent else NO_SERVER if refusal.everyone else PUT_OFF
    first = f"{refusal.code} {sentence}" if refusal.code else sentence
    error = f"{first}\n{refusal.reply}"
    return _settle(claim, "failed", error) if refusal.permanent else _set_back(claim, error)


def _settle(claim: emails.Claim, status: str, error: str | None = None) -> str:
    """End a mail."""
    with transaction() as connection:
        emails.settle(connection, claim, status, error=error)
    return status


def _set_back(claim: emails.Claim, error: str) -> str:
    """Try a mail again later, or give it up after too long."""
    with transaction() as connection:
        return emails.set_back(connection, claim, error=error, hours=settings.current().mail_hours)


def _message(claim: emails.Claim, batch: Batch) -> EmailMessage:
    """Compose one mail; its links and its date go by the database's clock."""
    current = settings.current()
    if claim.run_id not in batch.summaries:
        batch.summaries[claim.run_id] = _summary(claim)
    summary = batch.summaries[claim.run_id]
    until, forgotten = (claim.claimed_at + timedelta(days=days) for days in (current.token_days, UNSUBSCRIBE_DAYS))
    reader = links.reader(claim.audience_id, claim.recipient, current.token_ring[0])
    said = letter.Letter(
        audience_name=claim.audience_name,
        data_date=claim.data_date,
        count=claim.result_count,
        seniorities=summary.seniorities,
        industries=summary.industries,
        download=_address("downloads", links.Purpose.DOWNLOAD, links.Link(claim.export_id, claim.mail_id, until)),
        until=until,
        has_file=claim.has_file,
        unsubscribe=_address(
            "unsubscribe", links.Purpose.UNSUBSCRIBE, links.Link(claim.audience_id, reader, forgotten)
        ),
        earlier=_earlier(claim),
    )
    return letter.compose(
        said,
        sender=current.mail_from,
        recipient=claim.recipient,
        message_id=claim.message_id,
        now=claim.claimed_at,
    )


def _earlier(claim: emails.Claim) -> letter.Earlier | None:
    """Return the list that the run's readers had before, with what changed since; None where there is none."""
    if claim.earlier_date is None or claim.earlier_count is None:
        return None
    return letter.Earlier(claim.earlier_date, claim.earlier_count, claim.people_new, claim.people_left, claim.anomaly)


def _summary(claim: emails.Claim) -> snapshots.Summary:
    """Count the run's people by group; where there are none, there is nothing to ask."""
    if not claim.result_count:
        return snapshots.Summary((), ())
    # Each claim asks under its own id: ClickHouse refuses one that is still running.
    query_id = f"{claim.mail_id}-{claim.fence}-summary"
    seconds = settings.current().query_seconds
    return snapshots.summary(claim.snapshot_key, claim.written_on, query_id=query_id, most_seconds=seconds)


def _address(page: str, purpose: links.Purpose, link: links.Link) -> str:
    """Return where a link leads: an address that says nothing to whoever reads it."""
    current = settings.current()
    return f"{current.public_url.rstrip('/')}/v1/intent/{page}/{links.sign(purpose, link, current.token_ring)}"


def _kept(claims: Sequence[emails.Claim]) -> AbstractContextManager[lease.Held]:
    """Keep the claims while mails are sent one by one."""
    current = settings.current()

    def renew() -> bool:
        with transaction() as connection:
            return emails.renew(connection, claims, seconds=current.lease_seconds)

    return lease.kept(renew, seconds=current.lease_seconds, margin=current.lease_margin_seconds)
