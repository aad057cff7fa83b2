"""
Add, change and delete definitions.

Dates of the next refresh are kept here too, because they change with the definition: an audience has one exactly
while it is active, refreshed daily and not deleted.
"""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any, Final
from uuid import UUID, uuid4

from sqlalchemy import Connection, RowMapping, insert, update

from worker import due
from worker.audience import AudienceConfig
from worker.audiences.definition import Changes, Refresh, checked_name, checked_refresh, checked_status
from worker.audiences.read import clock, locked
from worker.database import moment
from worker.models import audiences

# What an audience's next dates follow from.
DATED: Final = frozenset({"status", "daily_refresh_enabled", "refresh_cron", "refresh_window_minutes", "timezone"})


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
    :raises InvalidField: naming what is wrong with the name, the status, the schedule or a recipient
    """
    audience_id = uuid4()
    values: dict[str, Any] = {
        "id": audience_id,
        "organization_id": organization_id,
        "name": checked_name(name),
        "status": checked_status(status),
        **_config(config),
        **_refresh(asdict(refresh or Refresh())),
    }
    values |= _next(audience_id, {**values, "next_slot_at": None}, clock(connection, now), due_now=due_now)
    connection.execute(insert(audiences).values(**values))
    return audience_id


def change(
    connection: Connection,
    audience_id: UUID,
    changes: Changes,
    *,
    organization_id: UUID | None = None,
    due_now: bool = False,
    now: datetime | None = None,
) -> None:
    """
    Change what is given, and the next dates if they follow from it.

    What is so already changes nothing. A slot that has come keeps its refresh, whatever becomes of the schedule: one
    that waits for late data must not be put off. Size and time of the last refresh stay until a run of the present
    config completes.

    :param organization_id: the only organization to look in; None for an operator
    :param due_now: make the next refresh due at once instead of at its next slot
    :raises AudienceNotFound: when it does not exist there, or was deleted
    :raises InvalidField: naming what cannot work; nothing was changed then
    """
    row = locked(connection, audience_id, organization_id)
    values = {name: value for name, value in _checked(changes).items() if value != row[name]}
    if due_now or not DATED.isdisjoint(values):
        values |= _next(audience_id, {**row, **values}, clock(connection, now), due_now=due_now)
    if values:
        _write(connection, row, values, now)


def set_status(
    connection: Connection,
    audience_id: UUID,
    status: str,
    *,
    organization_id: UUID | None = None,
    due_now: bool = False,
    now: datetime | None = None,
) -> None:
    """
    Make an audience ``active``, ``paused`` or ``draft``, as :func:`change` does.

    :raises AudienceNotFound: when it does not exist or was deleted
    :raises InvalidField: for any other status
    """
    change(connection, audience_id, {"status": status}, organization_id=organization_id, due_now=due_now, now=now)


def delete(
    connection: Connection, audience_id: UUID, *, organization_id: UUID | None = None, now: datetime | None = None
) -> None:
    """
    Mark an audience as deleted; its finished runs stay readable.

    :raises AudienceNotFound: when it does not exist or was deleted before
    """
    row = locked(connection, audience_id, organization_id)
    _write(connection, row, {"deleted_at": moment(now), "next_slot_at": None, "next_due_at": None}, now)


def _checked(changes: Changes) -> dict[str, Any]:
    """Return the columns that these changes are about, each fit to be stored."""
    values = _refresh({name: value for name, value in changes.items() if name in Refresh.__dataclass_fields__})
    if "name" in changes:
        values["name"] = checked_name(changes["name"])
    if "status" in changes:
        values["status"] = checked_status(changes["status"])
    return values | (_config(changes["config"]) if "config" in changes else {})


def _refresh(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns of what is given of a refresh; what is not given is not looked at."""
    checked = asdict(checked_refresh(Refresh(**given)))
    return {name: list(checked[name]) if name == "notify_emails" else checked[name] for name in given}


def _config(config: AudienceConfig) -> dict[str, Any]:
    """Return the columns of a config."""
    return {"config": config.normalized, "config_hash": config.hash, "source_url": config.source_url}


def _next(audience_id: UUID, row: Mapping[str, Any], now: datetime, *, due_now: bool) -> dict[str, Any]:
    """Compute when an audience is refreshed next, if ever."""
    if row["status"] != "active" or not row["daily_refresh_enabled"]:
        return {"next_slot_at": None, "next_due_at": None}
    if due_now:
        return {"next_slot_at": now, "next_due_at": now}
    offset = due.offset(audience_id, row["refresh_window_minutes"])
    if row["next_slot_at"] is not None and row["next_slot_at"] <= now:
        return {"next_due_at": min(row["next_due_at"], row["next_slot_at"] + offset)}
    slot = due.next_slot(row["refresh_cron"], row["timezone"], now)
    return {"next_slot_at": slot, "next_due_at": slot + offset}


def _write(connection: Connection, row: RowMapping, values: Mapping[str, Any], now: datetime | None) -> None:
    """Change one audience whose row is held."""
    mine = (audiences.c.id == row["id"], audiences.c.organization_id == row["organization_id"])
    connection.execute(update(audiences).where(*mine).values(updated_at=moment(now), **values))
