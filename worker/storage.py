"""
Where files go: a folder or an S3-compatible bucket, through one object-store library.

A file appears whole or not at all: a folder gets it by a rename, a bucket by the last step of a multipart upload, and
whatever breaks the stream of chunks removes what was sent so far.
"""

import contextlib
import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import (
    BaseError,
    InvalidPathError,
    PermissionDeniedError,
    UnauthenticatedError,
    UnknownConfigurationKeyError,
)
from obstore.store import LocalStore, S3Store

from worker import errors, log, settings

if TYPE_CHECKING:
    from obstore import Attributes
    from obstore.store import S3Config

logger = log.get(__name__)

Result = TypeVar("Result")

PART_BYTES: Final = 8 * 1024 * 1024
PARTS_AT_ONCE: Final = 2
MISCONFIGURED: Final = (
    PermissionDeniedError,
    UnauthenticatedError,
    UnknownConfigurationKeyError,
    InvalidPathError,
    PermissionError,
    FileNotFoundError,  # writing: there is no such bucket
)


@dataclass(frozen=True, slots=True)
class Stored:
    """
    One stored file, in the words of the export record.

    :param provider: ``local`` or ``s3``
    :param bucket: None for a folder
    :param path: relative, made of ids only
    :param sha1: 40 hex characters
    """

    provider: str
    bucket: str | None
    path: str
    size: int
    sha1: str


def put(path: str, chunks: Iterable[bytes], content_type: str, file_name: str = "") -> Stored:
    """
    Store chunks as one file, counting and hashing them as they go by.

    An exception of ``chunks`` comes out as it is, and leaves no file behind.

    :param file_name: what a bucket calls the file to whoever downloads it; ASCII without quotes
    :raises StorageUnavailable: when the storage does not answer
    :raises StorageMisconfigured: when it refuses
    """
    store, digest, size = _named(_store), hashlib.sha1(usedforsecurity=False), 0

    def seen() -> Iterator[bytes]:
        nonlocal size
        for chunk in chunks:
            digest.update(chunk)
            size += len(chunk)
            yield chunk

    # A folder keeps no content types and refuses to be told one.
    attributes: Attributes | None = {"Content-Type": content_type} if isinstance(store, S3Store) else None
    if attributes and file_name:
        attributes["Content-Disposition"] = f'attachment; filename="{file_name}"'
    _named(
        lambda: obstore.put(
            store, path, seen(), attributes=attributes, chunk_size=PART_BYTES, max_concurrency=PARTS_AT_ONCE
        )
    )
    provider, bucket = _place()
    return Stored(provider, bucket, path, size, digest.hexdigest())


def read(path: str) -> Iterator[bytes]:
    """
    Yield a stored file in chunks.

    :raises StorageMisconfigured: when there is no such file
    """
    found = _named(lambda: obstore.get(_store(), path))
    for chunk in found.stream(min_chunk_size=1024 * 1024):
        yield bytes(chunk)


def signed(path: str, *, seconds: float) -> str | None:
    """Return a link that a bucket serves the file under for a while; None where a folder holds it."""
    store = _named(_store)
    return (
        _named(lambda: obstore.sign(store, "GET", path, timedelta(seconds=seconds)))
        if isinstance(store, S3Store)
        else None
    )


def holds(path: str) -> bool:
    """
    Return whether there is such a file.

    :raises StorageUnavailable: when the storage does not answer
    :raises StorageMisconfigured: when it refuses
    """
    try:
        _named(lambda: obstore.head(_store(), path))
    except errors.StorageMisconfigured as error:
        if not isinstance(error.__cause__, FileNotFoundError):
            raise
        return False
    return True


def located(path: str) -> Path | None:
    """Return where a folder keeps the file; None where a bucket does."""
    store = _named(_store)
    return Path(store.prefix or "/", path) if isinstance(store, LocalStore) else None


def delete(path: str) -> None:
    """Remove a file; one that is not there is fine."""
    try:
        _named(lambda: obstore.delete(_store(), path))
    except errors.StorageMisconfigured as error:
        if not isinstance(error.__cause__, FileNotFoundError):
            raise


def clear(folder: str, unwanted: Callable[[str], bool]) -> int:
    """
    Remove files of one folder, those included that somebody began and never ended, and return how many there were.

    :param folder: the part of their paths before the only slash
    :param unwanted: told a file's name, whether it goes
    :raises StorageUnavailable: when the storage does not answer
    :raises StorageMisconfigured: when it refuses
    """
    place = located(folder)
    return _named(lambda: _clear_bucket(folder, unwanted) if place is None else _clear_place(place, unwanted))


def forget() -> None:
    """Drop the client inherited from the parent process."""
    _opened.cache_clear()


def _store() -> LocalStore | S3Store:
    """Return this process's store; nothing connects before the first file."""
    return _opened(settings.current())


@lru_cache(maxsize=1)
def _opened(current: settings.Settings) -> LocalStore | S3Store:
    """Open the folder or bucket of these settings."""
    url = urlsplit(current.storage_url)
    if url.scheme == "file":
        folder = Path(unquote(url.path))
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return LocalStore(folder)
    return S3Store(
        config=_bucket(url.netloc, current),
        prefix=url.path.strip("/") or None,
        client_options={
            "allow_http": current.storage_endpoint.startswith("http://"),
            "connect_timeout": timedelta(seconds=5),
            "timeout": timedelta(seconds=60),
        },
        retry_config={"max_retries": 3, "retry_timeout": timedelta(seconds=30)},
    )


def _clear_bucket(folder: str, unwanted: Callable[[str], bool]) -> int:
    """Remove objects; what a bucket keeps of an upload that never ended is its own lifecycle's to remove."""
    found = [one["path"] for some in obstore.list(_store(), prefix=folder) for one in some]
    paths = [path for path in found if unwanted(path.rpartition("/")[2])]
    for path in paths:
        obstore.delete(_store(), path)
    return len(paths)


def _clear_place(place: Path, unwanted: Callable[[str], bool]) -> int:
    """Remove files, and the place itself where it is empty then; the library lists no file that is half written."""
    files = [file for file in place.glob("*") if unwanted(file.name)]
    for file in files:
        file.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        place.rmdir()
    return len(files)


def _bucket(name: str, current: settings.Settings) -> "S3Config":
    """Say which bucket and how to get in; without keys of ours the library looks for the machine's own role."""
    config: S3Config = {"bucket": name, "region": current.storage_region}
    if current.storage_endpoint:
        config |= {"endpoint": current.storage_endpoint, "virtual_hosted_style_request": False}
    if access_key := current.storage_access_key.get_secret_value():
        config |= {"access_key_id": access_key, "secret_access_key": current.storage_secret_key.get_secret_value()}
    return config


def _place() -> tuple[str, str | None]:
    """Return provider and bucket of the settings."""
    url = urlsplit(settings.current().storage_url)
    return ("local", None) if url.scheme == "file" else ("s3", url.netloc)


def _named(act: Callable[[], Result]) -> Result:
    """Act on the store and translate what goes wrong."""
    try:
        return act()
    except MISCONFIGURED as error:
        raise _noted(errors.StorageMisconfigured(), error) from error
    except (BaseError, OSError) as error:
        raise _noted(errors.StorageUnavailable(), error) from error


def _noted(named: errors.AttemptError, error: Exception) -> errors.AttemptError:
    """Log a refusal; its text carries addresses and stays at the debug level."""
    logger.warning("storage_refused", code=named.code, kind=type(error).__name__)
    logger.debug("storage_said", text=str(error))
    return named
