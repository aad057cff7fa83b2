"""What there is to say of a day."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final
from uuid import UUID

SLOT_SECONDS: Final = 1800
SLOTS: Final = 48


@dataclass(frozen=True, slots=True)
class Slot:
    """Half an hour: how many runs ended in it, by status."""

    begins: datetime
    runs: Counter[str]


@dataclass(frozen=True, slots=True)
class Notable:
    """An audience by its slowest or largest completed run of the day; people are its results."""

    name: str
    run_id: UUID
    run_type: str
    seconds: float
    people: int


@dataclass(frozen=True, slots=True)
class Trouble:
    """How often a code led to another attempt, to a rescue, or to the end of a run."""

    code: str
    retried: int
    rescued: int
    failed: int


@dataclass(frozen=True, slots=True)
class Day:
    """
    One day.

    :param until: the moment it is told as of: its end, or now while it lasts
    :param lasts: whether the day is not over yet
    :param ready: newest ready date while it lasts; afterwards, the newest that daily runs of the day have read
    :param active: audiences refreshed daily; ``fresh`` of them had a completed daily run of that date by then
    :param runs: how many were over, by type and status
    :param under_way: how many are queued and running, while the day lasts
    :param seconds: half and 95 of 100 completed runs took no longer; None without any
    :param mails: settled ones, and while the day lasts those that wait, by status
    """

    day: date
    until: datetime
    lasts: bool
    ready: date | None
    active: int
    fresh: int
    runs: Counter[tuple[str, str]]
    under_way: Counter[str]
    slots: Sequence[Slot]
    seconds: tuple[float, float] | None
    slowest: Sequence[Notable]
    largest: Sequence[Notable]
    troubles: Sequence[Trouble]
    mails: Counter[str]
