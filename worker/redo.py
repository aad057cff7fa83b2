"""What an operator asks for once more: a run that failed, a mail that did not arrive."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, RowMapping

from worker import audiences, audit, emails, exports, runs
from worker.database import transaction
from worker.errors import NotAllowed


def retry(run_id: UUID, *, by: str, now: datetime | None = None) -> runs.Queued:
    """
    Queue a run like one that failed or was cancelled, or return the one that stands in its place already.

    :param by: the operator whose act it is, for the audit
    :raises NotFound: when there is no such run, or its audience was deleted
    :raises NotAllowed: when it neither failed nor was cancelled, or nobody wants it any more
    """
    with transaction() as connection:
        run = runs.get(connection, run_id)
        audience = audiences.locked(connection, run["audience_id"])
        if run["run_type"] == "daily" and audience["next_due_at"] is None:
            sentence = "The audience is not refreshed daily any more; queue a manual run instead."
            raise NotAllowed("AUDIENCE_NOT_REFRESHED", sentence)
        queued = runs.repeat(connection, run_id, now=now)
        if queued.created:
            audit.note(connection, by, "runs retry", run_id, now=now)
    return queued


def resend(run_id: UUID, recipient: str | None = None, *, by: str, now: datetime | None = None) -> int:
    """
    Queue a run's mails once more and return how many; a file that failed or expired is made anew for them.

    They go to those who were told before and still are on the audience's list. Mails on their way are left alone.

    :param recipient: the only one to tell, told before or not, as spelled on the list
    :param by: the operator whose act it is, for the audit
    :raises NotFound: when there is no such run, or its audience was deleted
    :raises NotAllowed: when there is nothing to tell, or nobody to tell it to
    """
    with transaction() as connection:
        run = runs.get(connection, run_id)
        audience = audiences.locked(connection, run["audience_id"])
        _announceable(run, audience)
        owner = {"organization_id": run["organization_id"], "run_id": run_id}
        exports.ensure(connection, **owner, now=now)
        queued = emails.again(
            connection, **owner, recipients=_recipients(connection, run, audience, recipient), now=now
        )
        if not queued:
            raise NotAllowed("EMAIL_ON_ITS_WAY", "Nothing was queued: a mail of this run is on its way already.")
        audit.note(connection, by, "emails resend", run_id, now=now)
    return queued


def _announceable(run: RowMapping, audience: RowMapping) -> None:
    """Refuse what mails would say nothing about, or would not leave for."""
    if run["status"] != "completed":
        raise NotAllowed("RUN_NOT_COMPLETED", "Only a completed run is announced.")
    if run["run_type"] == "preview":
        raise NotAllowed("RUN_IS_PREVIEW", "A preview is announced to nobody.")
    if audience["status"] == "paused":
        raise NotAllowed("AUDIENCE_PAUSED", "The audience is paused: its mails would be skipped.")


def _recipients(connection: Connection, run: RowMapping, audience: RowMapping, recipient: str | None) -> list[str]:
    """Return whom to tell, in the order of the audience's list."""
    listed = audience["notify_emails"]
    if recipient is None:
        before = emails.told(connection, run["id"])
        found = [one for one in listed if one in before]
        if not found:
            sentence = "Nobody on the audience's list was told of this run before; name a recipient."
            raise NotAllowed("NOBODY_TO_TELL", sentence)
        return found
    if recipient not in listed:
        raise NotAllowed("NOBODY_TO_TELL", "This recipient is not on the audience's list.")
    return [recipient]
