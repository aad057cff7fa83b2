"""
The ready email: what there is to say -> one message.

It carries counts and links, never a person. Names come from customers: they are escaped in HTML, kept on one line in
the subject, and never taken as a template.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import Policy
from email.utils import format_datetime
from functools import cache
from typing import Final, Self

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

SPELLED: Final = {"": "Not known", "vp": "VP", "c_suite": "C-suite"}
CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\s]+")

UNUSUAL: Final = {
    "fell_to_zero": "This is unusual: the list of {day} had {people}.",
    "jumped": "This list is unusually long: that of {day} had {people}. Please check it before you rely on it.",
    "dropped": "This list is unusually short: that of {day} had {people}. Please check it before you rely on it.",
}

Groups = Sequence[tuple[str, int]]


@dataclass(frozen=True, slots=True)
class Earlier:
    """
    The list before this one, and what changed since.

    :param count: people on it
    :param new: people who were not on it; None where that is not known
    :param left: people on it who are gone; None likewise
    :param anomaly: one of :data:`UNUSUAL`, or None
    """

    data_date: date
    count: int
    new: int | None
    left: int | None
    anomaly: str | None


@dataclass(frozen=True, slots=True)
class Letter:
    """
    What one ready email says.

    :param count: people in the results
    :param seniorities: the largest groups, as (name, people); an empty name stands for people without one
    :param download: link to the download page, good until ``until``
    :param has_file: whether there is a file to download
    :param unsubscribe: link that stops these mails to this recipient
    :param earlier: the list that this one is compared with; None for a first one
    """

    audience_name: str
    data_date: date
    count: int
    seniorities: Groups
    industries: Groups
    download: str
    until: datetime
    has_file: bool
    unsubscribe: str
    earlier: Earlier | None = None


@dataclass(frozen=True, slots=True)
class Bar:
    """One line of a breakdown: its label, its people in words, and its share of the largest line in percent."""

    label: str
    people: str
    percent: int


class Whole(str):
    """A header that stays on one line: the library breaks a long link by encoding it, and nobody reads it then."""

    __slots__ = ("name",)
    name: str

    def __new__(cls, name: str, value: str) -> Self:
        """Keep the name, which folding repeats."""
        header = super().__new__(cls, _one_line(value))
        header.name = name
        return header

    def fold(self, *, policy: "Policy[EmailMessage]") -> str:
        """Return the header's one line."""
        return f"{self.name}: {self}{policy.linesep}"


def compose(letter: Letter, *, sender: str, recipient: str, message_id: str, now: datetime) -> EmailMessage:
    """
    Write one message to one recipient.

    :param sender: as in ``Audiences <audiences@example.com>``
    :param now: aware; the message's date
    """
    said = _said(letter)
    message = EmailMessage()
    message["From"] = sender
    message["To"] = Address(addr_spec=recipient)
    message["Subject"] = _one_line(_render("subject.txt", said))
    message["Date"] = format_datetime(now.astimezone(UTC))
    message["Message-ID"] = message_id
    message["Auto-Submitted"] = "auto-generated"
    message["List-Unsubscribe"] = Whole("List-Unsubscribe", f"<{letter.unsubscribe}>")
    message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    # Quoted-printable travels through servers that do not take eight bits.
    message.set_content(_render("body.txt", said), cte="quoted-printable")
    message.add_alternative(_render("body.html", said), subtype="html", cte="quoted-printable")
    return message


def _said(letter: Letter) -> dict[str, object]:
    """Turn a letter into what the templates show."""
    named = (("By seniority", letter.seniorities), ("By industry", letter.industries))
    return {
        "name": _one_line(letter.audience_name),
        "day": _day(letter.data_date),
        "count": letter.count,
        "people": f"{letter.count:,}",
        "groups": [(title, _bars(groups)) for title, groups in named if groups],
        "download": letter.download,
        "until": _day(letter.until.astimezone(UTC).date()),
        "has_file": letter.has_file,
        "unsubscribe": letter.unsubscribe,
        "changes": _changes(letter.earlier),
        "unusual": _unusual(letter.earlier),
    }


def _changes(earlier: Earlier | None) -> str | None:
    """Say in a sentence what changed, where that is known."""
    if earlier is None or earlier.new is None or earlier.left is None:
        return None
    new = {0: "Nobody is new", 1: "1 person is new"}.get(earlier.new, f"{earlier.new:,} people are new")
    left = {0: "nobody has left", 1: "1 has left"}.get(earlier.left, f"{earlier.left:,} have left")
    return f"{new} and {left} since the list of {_day(earlier.data_date)}."


def _unusual(earlier: Earlier | None) -> str | None:
    """Say in plain words that this list differs strangely from the one before, where it does."""
    if earlier is None or earlier.anomaly is None:
        return None
    people = "1 person" if earlier.count == 1 else f"{earlier.count:,} people"
    return UNUSUAL[earlier.anomaly].format(day=_day(earlier.data_date), people=people)


def _bars(groups: Groups) -> list[Bar]:
    """Draw a breakdown."""
    largest = max(people for _, people in groups)
    return [Bar(_label(name), f"{people:,}", max(1, round(100 * people / largest))) for name, people in groups]


def _label(name: str) -> str:
    """Spell a value of the data for readers."""
    words = _one_line(name).replace("_", " ")
    return SPELLED.get(name) or words[:1].upper() + words[1:]


def _day(day: date) -> str:
    """Spell a day, ``4 May 2026`` for example."""
    return f"{day.day} {day:%B %Y}"


def _one_line(text: str) -> str:
    """Return text without line breaks or control characters."""
    return CONTROL.sub(" ", text).strip()


def _render(template: str, said: dict[str, object]) -> str:
    """Fill one template."""
    return _environment().get_template(template).render(said)


@cache
def _environment() -> Environment:
    """Return the templates; only HTML is escaped."""
    return Environment(
        loader=PackageLoader("worker", "templates/ready"),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
