"""What an audience may be called, when it may be refreshed, and who may hear of it."""

import unicodedata
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import starmap
from typing import Final, TypedDict

from email_validator import EmailNotValidError, validate_email

from worker import due
from worker.audience import AudienceConfig
from worker.errors import InvalidField

STATUSES: Final = ("draft", "active", "paused")
MOST_RECIPIENTS: Final = 20
LONGEST_NAME: Final = 255
LONGEST_WINDOW: Final = 1439

# Categories of characters that break lines, turn text around or cannot be stored; the two joiners are spelling.
UNSEEN: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
JOINERS: Final = "\u200c\u200d"


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


class Changes(TypedDict, total=False):
    """What is to be different about an audience; what is left out stays as it is."""

    name: str
    status: str
    config: AudienceConfig
    refresh_cron: str
    refresh_window_minutes: int
    timezone: str
    daily_refresh_enabled: bool
    notify_emails: Sequence[str]
    notify_on_manual: bool


def checked_name(name: str) -> str:
    """
    Return an audience's name, fit for a mail's subject.

    :raises InvalidField: when it is empty, too long or holds control characters
    """
    tidy = unicodedata.normalize("NFC", name).strip()
    if not tidy or max(len(name), len(tidy)) > LONGEST_NAME:
        raise InvalidField("name", f"must have 1 to {LONGEST_NAME} characters.")
    if any(map(unseen, name)):
        raise InvalidField("name", "must not hold control characters.")
    return tidy


def unseen(character: str) -> bool:
    """Whether a character has no place in a name."""
    return unicodedata.category(character) in UNSEEN and character not in JOINERS


def checked_status(status: str) -> str:
    """Return a status that there is."""
    if status not in STATUSES:
        raise InvalidField("status", "must be draft, active or paused.")
    return status


def checked_refresh(refresh: Refresh) -> Refresh:
    """Refuse a schedule or recipients that cannot work; recipients come back normalised and once each."""
    due.check(refresh.refresh_cron, refresh.timezone)
    if not 0 <= refresh.refresh_window_minutes <= LONGEST_WINDOW:
        raise InvalidField("refresh_window_minutes", f"must be 0 to {LONGEST_WINDOW}.")
    recipients = tuple(dict.fromkeys(starmap(_recipient, enumerate(refresh.notify_emails, start=1))))
    if len(recipients) > MOST_RECIPIENTS:
        raise InvalidField("notify_emails", f"must be at most {MOST_RECIPIENTS} addresses.")
    return Refresh(**{**asdict(refresh), "notify_emails": recipients})


def _recipient(place: int, address: str) -> str:
    """Return one address as it is written in mail; a refusal names its place, for addresses are personal data."""
    try:
        return validate_email(address, check_deliverability=False).normalized
    except EmailNotValidError:
        raise InvalidField("notify_emails", f"number {place} is not an e-mail address.") from None
