"""
Saved definitions: add, change status, refreshed.

Dates of the next refresh are kept here too, because they change with the definition: an audience has one exactly
while it is active, refreshed daily and not deleted.
"""

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from itertools import starmap
from typing import Any
from uuid import UUID, uuid4

from email_validator import EmailNotValidError, validate_email
from sqlalchemy import (
    ARRAY,
    Connection,
    DateTime,
    RowMapping,
    Uuid,
    column,
    false,
    func,
    insert,
    literal,
    or_,
    select,
    true,
    tuple_,
    update,
)

from worker import due
from worker.audience import AudienceConfig
from worker.database import moment
from worker.errors import AudienceNotFound, Refusal
from worker.models import audiences, runs

MOST_RECIPIENTS = 20
LONGEST_NAME = 255
LONGEST_WINDOW = 1439

# Categories of characters that break lines, turn text around or cannot be stored; the two joiners are spelling.
UNSEEN, JOINERS = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"}), "\u200c\u200d"


@dataclass(frozen=True, slots=True)
class Refresh:
    """
    When an audience is refreshed and who hears of it.

    :param refresh_cron: five fields, read in ``timezone``
    :param refresh_window_minutes: starts are spread over this many minutes after the slot
    :param timezone: an IANA name
    """

    refresh_cron: str = "0 6 * * *"
    refresh_window_minutes: int = 60
    timezone: str = "UTC"
    daily_refresh_enabled: bool = True
    notify_emails: tuple[str, ...] = ()
    notify_on_manual: bool = False


def add(
    connection: Connection,
    *,
    organization_id: UUID,
    name: str,
    config: AudienceConfig,
    status: str = "draft",
    refresh: Refresh | None = None,
    due_now: bool = False,
    now: datetime | None = None,
) -> UUID:
    """
    Save a new audience.

    :param due_now: make the first refresh due at once instead of at its next slot
    :raises Refusal: naming what is wrong with the name, the schedule or a recipient
    """
    refresh = _checked(refresh or Refresh())
    audience_id = uuid4()
    values: dict[str, Any] = {
        "id": audience_id,
        "organization_id": organization_id,
        "name": checked_name(name),
        "status": status,
        "config": config.normalized,
        "config_hash": config.hash,
        "source_url": config.source_url,
        **asdict(refresh),
        "notify_emails": list(refresh.notify_emails),
    }
    values |= _next(audience_id, {**values, "deleted_at": None}, clock(connection, now), due_now=due_now)
    connection.execute(insert(audiences).values(**values))
    return audience_id


def set_status(
    connection: Connection, audience_id: UUID, status: str, *, due_now: bool = False, now: datetime | None = None
) -> None:
    """
    Make an audience ``active``, ``paused`` or ``draft``.

    One that is so already keeps its dates: a refresh that waits for late data must not be put off.

    :raises AudienceNotFound: when it does not exist or was deleted
    """
    row = locked(connection, audience_id)
    if row["status"] == status and not due_now:
        return
    values = {"status": status}
    values |= _next(audience_id, {**row, **values}, clock(connection, now), due_now=due_now)
    _write(connection, audience_id, values, now)


def delete(connection: Connection, audience_id: UUID, *, now: datetime | None = None) -> None:
    """
    Mark an audience as deleted; its finished runs stay readable.

    :raises AudienceNotFound: when it does not exist or was deleted before
    """
    locked(connection, audience_id)
    _write(connection, audience_id, {"deleted_at": moment(now), "next_slot_at": None, "next_due_at": None}, now)


def get(connection: Connection, audience_id: UUID, organization_id: UUID | None = None) -> RowMapping:
    """
    Return one audience.

    :param organization_id: the only organization to look in; None for an operator
    :raises AudienceNotFound: when it does not exist there, or was deleted
    """
    return _one(connection, audience_id, organization_id, lock=False)


def locked(connection: Connection, audience_id: UUID, organization_id: UUID | None = None) -> RowMapping:
    """
    Return one audience and hold its row until the transaction ends; requests for one audience stand in line.

    :raises AudienceNotFound: when it does not exist there, or was deleted
    """
    return _one(connection, audience_id, organization_id, lock=True)


def saved(
    connection: Connection, *, organization_id: UUID | None = None, status: str | None = None, limit: int | None = 100
) -> Sequence[RowMapping]:
    """Return audiences that are not deleted, newest first, narrowed by what is given; all for a limit of None."""
    query = select(audiences).where(audiences.c.deleted_at.is_(None))
    if organization_id is not None:
        query = query.where(audiences.c.organization_id == organization_id)
    if status is not None:
        query = query.where(audiences.c.status == status)
    query = query.order_by(audiences.c.created_at.desc(), audiences.c.id).limit(limit)
    return connection.execute(query).mappings().all()


def waiting(
    connection: Connection, data_date: date, *, limit: int, now: datetime | None = None
) -> Sequence[RowMapping]:
    """
    Hold the audiences that are due and have no daily run of this data date yet.

    Rows that another scheduler holds are left to it.
    """
    query = (
        select(audiences.c.id, audiences.c.refresh_cron, audiences.c.timezone, audiences.c.refresh_window_minutes)
        .where(
            audiences.c.next_due_at <= moment(now),
            or_(audiences.c.last_daily_date.is_(None), audiences.c.last_daily_date < data_date),
        )
        .order_by(audiences.c.next_due_at)
        .limit(limit)
        .with_for_update(skip_locked=True, key_share=True)
    )
    return connection.execute(query).mappings().all()


def scheduled(
    connection: Connection,
    data_date: date,
    slots: Mapping[UUID, tuple[datetime, datetime]],
    *,
    now: datetime | None = None,
) -> None:
    """
    Note that these audiences have their daily run of a data date, and when the next is due.

    :param slots: audience id to its next slot and the moment it is due
    """
    ids, starts, dues = list(slots), [one[0] for one in slots.values()], [one[1] for one in slots.values()]
    upcoming = (
        func.unnest(
            literal(ids, ARRAY(Uuid)),
            literal(starts, ARRAY(DateTime(timezone=True))),
            literal(dues, ARRAY(DateTime(timezone=True))),
        )
        .table_valued(column("id", Uuid), column("slot"), column("due"))
        .render_derived()
    )
    connection.execute(
        update(audiences)
        .where(audiences.c.id == upcoming.c.id)
        .values(
            last_daily_date=data_date,
            next_slot_at=upcoming.c.slot,
            next_due_at=upcoming.c.due,
            updated_at=moment(now),
        )
    )


def refreshed(connection: Connection, run_id: UUID, *, now: datetime | None = None) -> None:
    """
    Take over a completed run's count, if it is the newest of the audience's present config.

    An older data date, an older run of the same date, a run of a former config and a preview change nothing.
    """
    former = runs.alias("former")
    # A value, not NOT EXISTS: whoever waited for the audience's row looks at the former run again. One that is not
    # there, or no more, stands in nobody's way.
    newer = func.coalesce(
        select(tuple_(former.c.data_date, former.c.created_at) < tuple_(runs.c.data_date, runs.c.created_at))
        .where(former.c.id == audiences.c.refreshed_by_run_id)
        .scalar_subquery(),
        true(),
    )
    connection.execute(
        update(audiences)
        .where(
            runs.c.id == run_id,
            audiences.c.id == runs.c.audience_id,
            audiences.c.config_hash == runs.c.config_hash,
            runs.c.run_type != "preview",
            newer,
        )
        .values(
            audience_size=runs.c.result_count,
            last_refreshed_at=moment(now),
            refreshed_by_run_id=runs.c.id,
            updated_at=moment(now),
        )
    )


def recipients(connection: Connection, audience_id: UUID, run_type: str) -> Sequence[str]:
    """Return who hears of a completed run of this type."""
    wanted = true() if run_type == "daily" else audiences.c.notify_on_manual if run_type == "manual" else false()
    query = select(audiences.c.notify_emails).where(
        audiences.c.id == audience_id, audiences.c.deleted_at.is_(None), wanted
    )
    return connection.scalar(query) or ()


def clock(connection: Connection, now: datetime | None) -> datetime:
    """Return the database's time, or the one a test goes by."""
    return now or connection.execute(select(func.now())).scalar_one()


def checked_name(name: str) -> str:
    """
    Return an audience's name, fit for a mail's subject.

    :raises Refusal: when it is empty, too long or holds control characters
    """
    name = unicodedata.normalize("NFC", name).strip()
    if not 1 <= len(name) <= LONGEST_NAME:
        raise Refusal(f"name: must have 1 to {LONGEST_NAME} characters.")
    if any(unicodedata.category(character) in UNSEEN and character not in JOINERS for character in name):
        raise Refusal("name: must not hold control characters.")
    return name


def _checked(refresh: Refresh) -> Refresh:
    """Refuse a schedule or recipients that cannot work; recipients come back normalised and once each."""
    due.check(refresh.refresh_cron, refresh.timezone)
    if not 0 <= refresh.refresh_window_minutes <= LONGEST_WINDOW:
        raise Refusal(f"refresh_window_minutes: must be 0 to {LONGEST_WINDOW}.")
    recipients = tuple(dict.fromkeys(starmap(_recipient, enumerate(refresh.notify_emails, start=1))))
    if len(recipients) > MOST_RECIPIENTS:
        raise Refusal(f"notify_emails: must be at most {MOST_RECIPIENTS} addresses.")
    return Refresh(**{**asdict(refresh), "notify_emails": recipients})


def _recipient(place: int, address: str) -> str:
    """Return one address as it is written in mail; a refusal names its place, for addresses are personal data."""
    try:
        return validate_email(address, check_deliverability=False).normalized
    except EmailNotValidError:
        raise Refusal(f"notify_emails: number {place} is not an e-mail address.") from None


def _next(audience_id: UUID, row: Mapping[str, Any], now: datetime, *, due_now: bool) -> dict[str, Any]:
    """Compute when an audience is refreshed next, if ever."""
    if row["status"] != "active" or not row["daily_refresh_enabled"] or row["deleted_at"] is not None:
        return {"next_slot_at": None, "next_due_at": None}
    if due_now:
        return {"next_slot_at": now, "next_due_at": now}
    slot = due.next_slot(row["refresh_cron"], row["timezone"], now)
    return {"next_slot_at": slot, "next_due_at": slot + due.offset(audience_id, row["refresh_window_minutes"])}


def _one(connection: Connection, audience_id: UUID, organization_id: UUID | None, *, lock: bool) -> RowMapping:
    """Read one audience, holding its row if asked to."""
    query = select(audiences).where(audiences.c.id == audience_id, audiences.c.deleted_at.is_(None))
    if organization_id is not None:
        query = query.where(audiences.c.organization_id == organization_id)
    row = connection.execute(query.with_for_update(key_share=True) if lock else query).mappings().one_or_none()
    if row is None:
        raise AudienceNotFound(f"There is no audience {audience_id}.")
    return row


def _write(connection: Connection, audience_id: UUID, values: Mapping[str, Any], now: datetime | None) -> None:
    """Change one audience."""
    connection.execute(update(audiences).where(audiences.c.id == audience_id).values(updated_at=moment(now), **values))
