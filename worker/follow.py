"""
What a signed link opens when somebody follows it: a stored CSV, or the end of an audience's mails.

Following one changes nothing, for mail scanners follow every link; :func:`unsubscribe` is what a button asks for.
"""

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Final
from uuid import UUID

from sqlalchemy import RowMapping

from worker import audiences, errors, exports, links, log, settings, storage
from worker.database import transaction
from worker.links import Purpose

logger = log.get(__name__)

SHORT: Final = timedelta(minutes=5)
"""How long a link to the bytes themselves works: one click."""


class State(StrEnum):
    """
    What became of a link.

    ``UNKNOWN`` is none of ours; ``OVER`` has lived too long; ``REVOKED`` was sent to somebody who should not see the
    file any more. The rest says how the file is: ``GONE`` with its run, ``PROCESSING``, ``FAILED``, ``EXPIRED``,
    ``MISSING`` from the storage, or ``READY``.
    """

    UNKNOWN = "unknown"
    OVER = "over"
    REVOKED = "revoked"
    GONE = "gone"
    PROCESSING = "processing"
    FAILED = "failed"
    EXPIRED = "expired"
    MISSING = "missing"
    READY = "ready"


@dataclass(frozen=True, slots=True)
class Download:
    """
    A file as the holder of a link may see it.

    :param export: as :func:`worker.exports.linked` returns it; None where the state says that there is none to show
    :param until: when the link or the file ends, whichever comes first
    """

    state: State
    export: RowMapping | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Offer:
    """An address that gives the bytes for a while."""

    url: str
    expires_at: datetime
    seconds: int


@dataclass(frozen=True, slots=True)
class Subscription:
    """
    Whether an audience's mails go to the reader whom a link names.

    :param state: of the link: ``UNKNOWN``, ``OVER`` or ``READY``
    :param audience_name: empty where the audience was deleted
    """

    state: State
    subscribed: bool = False
    audience_name: str = ""


def download(token: str, purpose: Purpose = Purpose.DOWNLOAD, *, now: datetime | None = None) -> Download:
    """
    Look at the file that a link leads to.

    :param purpose: ``DOWNLOAD`` for one that was mailed, ``FILE`` for one that was given to whoever asked over HTTP
    """
    link = links.verify(purpose, token, settings.current().token_ring)
    if link is None:
        return Download(State.UNKNOWN)
    with transaction() as connection:
        export = exports.linked(connection, link.thing_id, link.reader_id)
        at = audiences.clock(connection, now)
    if export is None:
        return Download(State.OVER if link.expires_at <= at else State.GONE)
    if link.expires_at <= at:
        return Download(State.OVER)
    if purpose is Purpose.DOWNLOAD and not export["mailed"]:
        return Download(State.REVOKED)
    return _stored(export, link.expires_at, at)


def place(export: RowMapping) -> Path | str | None:
    """
    Return where the bytes of a file that is ready are: a path in a folder, or an address of a bucket for one click.

    :returns: None where the storage has lost it
    :raises AttemptError: when the storage does not answer, or refuses
    """
    name = export["file_id"]
    if not storage.holds(name):
        logger.error("export_file_missing", export_id=str(export["id"]), run_id=str(export["run_id"]))
        return None
    return storage.located(name) or storage.signed(name, seconds=SHORT.total_seconds())


def offer(export_id: UUID, *, now: datetime | None = None) -> Offer | None:
    """
    Return an address for a stored file, good for five minutes or as long as the file is kept.

    A bucket's is its own; a folder's leads to the HTTP side. The caller has made sure who asks.

    :returns: None where there is no file to give
    """
    with transaction() as connection:
        export = exports.linked(connection, export_id, links.NOBODY)
        at = audiences.clock(connection, now)
    file = _stored(export, at + SHORT, at) if export else Download(State.GONE)
    if file.state is not State.READY or export is None or file.until is None:
        return None
    until = file.until.replace(microsecond=0)  # a token counts whole seconds
    seconds = max(1, math.ceil((until - at).total_seconds()))
    return Offer(storage.signed(export["file_id"], seconds=seconds) or _address(export_id, until), until, seconds)


def subscription(token: str, *, now: datetime | None = None) -> Subscription:
    """Say whether the mails that a link ends still go to its reader; nothing is changed."""
    return _left(token, leaving=False, now=now)


def unsubscribe(token: str, *, now: datetime | None = None) -> Subscription:
    """
    End an audience's mails to the reader whom a link names; again is harmless.

    What waits for them is skipped when its turn comes: the list is looked at until the text of a mail leaves.
    """
    return _left(token, leaving=True, now=now)


def _stored(export: RowMapping, ends_at: datetime, at: datetime) -> Download:
    """Say how a file is."""
    if export["status"] == "completed":
        until = min(ends_at, export["expires_at"])
        return Download(State.READY if export["expires_at"] > at else State.EXPIRED, export, until)
    return Download(State.PROCESSING if export["status"] == "processing" else State.FAILED, export)


def _address(export_id: UUID, expires_at: datetime) -> str:
    """Return where the HTTP side gives a file to whoever holds the address."""
    current = settings.current()
    token = links.sign(Purpose.FILE, links.Link(export_id, links.NOBODY, expires_at), current.token_ring)
    return f"{current.public_url.rstrip('/')}/v1/intent/files/{token}"


def _left(token: str, *, leaving: bool, now: datetime | None) -> Subscription:
    """Find the reader among an audience's recipients, and take them off its list if they are leaving."""
    ring = settings.current().token_ring
    link = links.verify(Purpose.UNSUBSCRIBE, token, ring)
    if link is None:
        return Subscription(State.UNKNOWN)
    with transaction() as connection:
        if link.expires_at <= audiences.clock(connection, now):
            return Subscription(State.OVER)
        try:
            audience = audiences.get(connection, link.thing_id)
        except errors.AudienceNotFound:
            return Subscription(State.READY)
        found = [address for address in audience["notify_emails"] if links.reads(link, address, ring)]
        for address in found if leaving else ():
            audiences.leave(connection, link.thing_id, address, now=now)
    return Subscription(State.READY, bool(found) and not leaving, audience["name"])
