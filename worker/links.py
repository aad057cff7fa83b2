"""
Signed links that expire: what a mail carries instead of a password.

A token names a thing and a reader of it, and is good for one purpose until its time is over. The purpose is part of
what is signed but not of the token: whoever takes one must know what it asks for.
"""

import binascii
import hmac
import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from hashlib import sha256
from typing import Final
from uuid import UUID

BODY: Final = struct.Struct(">16s16sQ")
NOBODY: Final = UUID(int=0)


class Purpose(StrEnum):
    """
    What a token allows, and whom it names.

    ``DOWNLOAD``: an export, and the row of ``ready_emails`` it was announced in. ``FILE``: an export, and nobody: the
    link was given to whoever asked over HTTP. ``UNSUBSCRIBE``: an audience, and the :func:`reader` of its mails.
    """

    DOWNLOAD = "download"
    FILE = "file"
    UNSUBSCRIBE = "unsubscribe"


@dataclass(frozen=True, slots=True)
class Link:
    """
    What a token says.

    :param thing_id: what it opens
    :param reader_id: whom it was made for
    :param expires_at: whole seconds; from then on it is good for nothing
    """

    thing_id: UUID
    reader_id: UUID
    expires_at: datetime


def sign(purpose: Purpose, link: Link, keys: Sequence[str]) -> str:
    """
    Return a token of about 100 characters that may stand in a URL's path.

    :param keys: the key ring, newest first; the first one signs
    """
    body = BODY.pack(link.thing_id.bytes, link.reader_id.bytes, int(link.expires_at.timestamp()))
    return f"{_text(body)}.{_text(_mac(purpose, body, keys[0]))}"


def verify(purpose: Purpose, token: str, keys: Sequence[str]) -> Link | None:
    """
    Return what a token says, or None where it is not ours or for something else.

    Whether it is over is for the caller to see: the database's clock decides, and a forged token must not cost a look
    at it.

    :param keys: the key ring; any of its keys may have signed
    """
    try:
        body, signature = (_bytes(part) for part in token.split("."))
        thing_id, reader_id, expires = BODY.unpack(body)
        link = Link(UUID(bytes=thing_id), UUID(bytes=reader_id), datetime.fromtimestamp(expires, UTC))
    except (ValueError, struct.error, OverflowError, OSError):
        return None
    ours = any(hmac.compare_digest(signature, _mac(purpose, body, key)) for key in keys)
    return link if ours else None


def reader(audience_id: UUID, address: str, key: str) -> UUID:
    """
    Name a reader of an audience's mails so that only we can tell who it is.

    It outlives the mail: rows of ``ready_emails`` go with their runs, and the wish to read no more does not.
    """
    body = b"reader\0" + audience_id.bytes + address.encode()
    return UUID(bytes=hmac.digest(key.encode(), body, sha256)[:16])


def reads(link: Link, address: str, keys: Sequence[str]) -> bool:
    """
    Return whether this is the address of the reader that a link names.

    :param keys: the key ring; any of its keys may have named the reader
    """
    names = [reader(link.thing_id, address, key).bytes for key in keys]
    return any(hmac.compare_digest(link.reader_id.bytes, name) for name in names)


def _mac(purpose: Purpose, body: bytes, key: str) -> bytes:
    """Sign a body for one purpose."""
    return hmac.digest(key.encode(), purpose.encode() + b"\0" + body, sha256)


def _text(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    """Decode one part; a second spelling of the same bytes is refused."""
    data = urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
    if _text(data) != text:
        raise binascii.Error
    return data
