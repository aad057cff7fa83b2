"""
API keys: create, look up, revoke.

A key is ``sk_``, 8 public characters and 43 secret ones. The public ones find its row; of the rest only a hash is
kept, which is enough: 32 random bytes cannot be guessed.
"""

import hashlib
import hmac
import re
import secrets
import string
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID, uuid4

from sqlalchemy import Connection, RowMapping, insert, or_, select, update

from worker.database import moment
from worker.errors import NotFound, Refusal
from worker.models import api_keys

FORM: Final = re.compile(r"sk_([0-9A-Za-z]{8})[0-9A-Za-z_-]{43}")
PREFIX: Final = re.compile(r"[0-9A-Za-z]{8}")
LONGEST_NAME: Final = 100
# How stale last_used_at may be: a row written at every request would be the busiest of all.
SEEN_EVERY: Final = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Known:
    """Whose key it is."""

    key_id: UUID
    organization_id: UUID


def create(connection: Connection, organization_id: UUID, name: str) -> str:
    """
    Create a key of an organization and return it: the only time it can be read.

    :param name: what it is for, 1 to 100 characters
    :raises Refusal: when the name cannot be kept
    """
    name = name.strip()
    if not 1 <= len(name) <= LONGEST_NAME or not name.isprintable():
        raise Refusal(f"name: must have 1 to {LONGEST_NAME} printable characters.")
    prefix = "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(8))
    key = f"sk_{prefix}{secrets.token_urlsafe(32)}"
    values = {"id": uuid4(), "organization_id": organization_id, "name": name, "prefix": prefix, "hash": _hash(key)}
    connection.execute(insert(api_keys).values(**values))
    return key


def public(key: str) -> str:
    """Return the 8 characters of a key that may be shown."""
    return key[3:11]


def is_formed(key: str) -> bool:
    """Whether this could be a key at all."""
    return FORM.fullmatch(key) is not None


def look_up(connection: Connection, key: str, *, now: datetime | None = None) -> Known | None:
    """Return whose key this is, and note that it was used; None for one that is unknown, revoked or malformed."""
    form = FORM.fullmatch(key)
    if form is None:
        return None
    stale = or_(api_keys.c.last_used_at.is_(None), api_keys.c.last_used_at < moment(now) - SEEN_EVERY)
    query = select(api_keys.c.id, api_keys.c.organization_id, api_keys.c.hash, stale.label("stale")).where(
        api_keys.c.prefix == form[1], api_keys.c.revoked_at.is_(None)
    )
    row = connection.execute(query).one_or_none()
    if row is None or not hmac.compare_digest(row.hash, _hash(key)):
        return None
    if row.stale:
        # Of requests at the same moment one notes it; whoever holds the row for longer holds nobody up.
        free = select(api_keys.c.id).where(api_keys.c.id == row.id, stale).with_for_update(skip_locked=True)
        seen = update(api_keys).where(api_keys.c.id == free.scalar_subquery()).values(last_used_at=moment(now))
        connection.execute(seen)
    return Known(row.id, row.organization_id)


def saved(connection: Connection, organization_id: UUID | None = None, *, limit: int = 100) -> Sequence[RowMapping]:
    """Return keys without their hashes, newest first; of one organization or of all."""
    query = select(*(column for column in api_keys.c if column.name != "hash"))
    if organization_id is not None:
        query = query.where(api_keys.c.organization_id == organization_id)
    query = query.order_by(api_keys.c.created_at.desc(), api_keys.c.id).limit(limit)
    return connection.execute(query).mappings().all()


def revoke(connection: Connection, prefix: str, *, now: datetime | None = None) -> None:
    """
    Revoke a key for good; again is harmless.

    :param prefix: its 8 public characters
    :raises Refusal: when it cannot be those, without repeating what may be a whole key
    :raises NotFound: when there is no such key
    """
    if not PREFIX.fullmatch(prefix):
        raise Refusal("prefix: must be the 8 letters and digits that follow sk_ in a key.")
    known = update(api_keys).where(api_keys.c.prefix == prefix)
    revoked = connection.scalar(
        known.where(api_keys.c.revoked_at.is_(None)).values(revoked_at=moment(now)).returning(api_keys.c.id)
    )
    if revoked is None and connection.scalar(select(api_keys.c.id).where(api_keys.c.prefix == prefix)) is None:
        raise NotFound(f"There is no key {prefix}.")


def _hash(key: str) -> str:
    """Hash a key as it is kept."""
    return hashlib.sha256(key.encode()).hexdigest()
