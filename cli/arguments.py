"""What commands take: ids, days, limits, who acts, and whether to answer in JSON."""

import os
import pwd
import re
from datetime import date
from typing import Annotated
from uuid import UUID

import typer

from worker import audit
from worker.errors import Refusal

LONGEST_SHOWN = 80


def an_id(text: str | UUID) -> UUID:
    """
    Read an id.

    :raises Refusal: when it is none
    """
    try:
        return UUID(str(text))
    except ValueError:
        raise Refusal(f"{str(text)[:LONGEST_SHOWN]!r} is not a UUID.") from None


def a_day(text: str | date) -> date:
    """
    Read a day as YYYY-MM-DD.

    :raises Refusal: when it is none
    """
    try:
        return date.fromisoformat(str(text))
    except ValueError:
        raise Refusal(f"{str(text)[:LONGEST_SHOWN]!r} is not a day as YYYY-MM-DD.") from None


def login() -> str:
    """Return the name that the operating system knows the operator by."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"


def a_hash(text: str) -> str:
    """
    Read a hashed e-mail, lower case; a refusal does not repeat it, for it may be an address.

    :raises Refusal: when it is none
    """
    if not re.fullmatch("[0-9a-f]{64}", text.lower()):
        raise Refusal("A hashed e-mail has 64 hexadecimal characters: the SHA-256 of the address in lower case.")
    return text.lower()


AudienceId = Annotated[UUID, typer.Argument(metavar="AUDIENCE_ID", parser=an_id, help="Id of the audience.")]
RunId = Annotated[UUID, typer.Argument(metavar="RUN_ID", parser=an_id, help="Id of the run.")]
OfOrganization = Annotated[
    UUID | None, typer.Option("--organization", metavar="UUID", parser=an_id, help="Only this organization's.")
]
OfAudience = Annotated[
    UUID | None, typer.Option("--audience", metavar="UUID", parser=an_id, help="Only this audience's.")
]
OfRun = Annotated[UUID | None, typer.Option("--run", metavar="UUID", parser=an_id, help="Only this run's.")]
Limit = Annotated[int, typer.Option("--limit", metavar="N", min=1, max=10_000, help="At most so many.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
By = Annotated[
    str,
    typer.Option(
        "--by",
        metavar="NAME",
        default_factory=login,
        parser=audit.name_of,
        show_default="your login",
        help="Who does this, for the audit.",
    ),
]
