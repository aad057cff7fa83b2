"""
Signed links that expire: what a mail carries instead of a password.

A token names an export and the mail it was sent in, and is good for one purpose until its time is over. The purpose is
part of what is signed but not of the token: the reader must know what it asks for.
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


class Purpose(StrEnum):
    """What a token allows."""

    DOWNLOAD = "download"
    UNSUBSCRIBE = "unsubscribe"


@dataclass(frozen=True, slots=True)
class Link:
    """
    What a token says.

    :param mail_id: row of ``ready_emails`` that the link was sent in
    :param expires_at: whole seconds; later than this the token is refused
    """

    export_id: UUID
    mail_id: UUID
    expires_at: datetime


def sign(purpose: Purpose, link: Link, keys: Sequence[str]) -> str:
    """
    Return a token of about 100 characters that may stand in a URL's path.

    :param keys: the key ring, newest first; the first one signs
    """
    body = BODY.pack(link.export_id.bytes, link.mail_id.bytes, int(link.expires_at.timestamp()))
    return f"{_text(body)}.{_text(_mac(purpose, body, keys[0]))}"


def verify(purpose: Purpose, token: str, keys: Sequence[str], now: datetime) -> Link | None:
    """
    Return what a token says, or None where it is not ours, for something else, or over.

    :param keys: the key ring; any of its keys may have signed
    :param now: aware
    """
    try:
        body, signature = (_bytes(part) for part in token.split("."))
        export_id, mail_id, expires = BODY.unpack(body)
        link = Link(UUID(bytes=export_id), UUID(bytes=mail_id), datetime.fromtimestamp(expires, UTC))
    except (ValueError, struct.error, OverflowError, OSError):
        return None
    ours = any(hmac.compare_digest(signature, _mac(purpose, body, key)) for key in keys)
    return link if ours and now < link.expires_at else None


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
