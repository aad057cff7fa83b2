"""Saved definitions: add, change, delete, look at; their dates move with them."""

from worker.audiences.definition import (
    LONGEST_NAME,
    LONGEST_WINDOW,
    MOST_RECIPIENTS,
    STATUSES,
    Changes,
    Refresh,
    checked_name,
    unseen,
)
from worker.audiences.leave import leave
from worker.audiences.read import clock, get, locked, recipients, saved
from worker.audiences.refresh import refreshed, resized, scheduled, unserved, waiting
from worker.audiences.save import add, change, delete, set_status

__all__ = [
    "LONGEST_NAME",
    "LONGEST_WINDOW",
    "MOST_RECIPIENTS",
    "STATUSES",
    "Changes",
    "Refresh",
    "add",
    "change",
    "checked_name",
    "clock",
    "delete",
    "get",
    "leave",
    "locked",
    "recipients",
    "refreshed",
    "resized",
    "saved",
    "scheduled",
    "set_status",
    "unseen",
    "unserved",
    "waiting",
]
