"""An organization, its key, and clients of the HTTP side."""

from collections.abc import Callable, Iterator
from uuid import UUID, uuid4

import httpx
import mails
import pytest
import web

from api.app import create


@pytest.fixture
def organization() -> UUID:
    """Whose key the client shows."""
    return uuid4()


@pytest.fixture
def address(tables) -> Iterator[str]:
    """The HTTP side over empty Postgres tables."""
    with web.served(create()) as address:
        yield address


@pytest.fixture
def client(address: str, organization: UUID) -> Iterator[httpx.Client]:
    """A client of the organization."""
    with web.client(address, web.key_of(organization)) as client:
        yield client


@pytest.fixture
def stranger(address: str) -> Iterator[httpx.Client]:
    """A client of another organization."""
    with web.client(address, web.key_of()) as client:
        yield client


@pytest.fixture
def site(stores) -> Iterator[httpx.Client]:
    """The HTTP side over stores that can hold results, and a stranger's browser."""
    with web.served(create()) as address, httpx.Client(base_url=address, timeout=30) as browser:
        yield browser


@pytest.fixture
def mailed(clickhouse, mailbox, site) -> Callable[..., tuple[UUID, dict[str, list[str]]]]:
    """Carry an audience's run to its mails: its id and, by recipient, the paths of download and unsubscribe."""
    return lambda *recipients: mails.mailed(clickhouse, mailbox, *recipients)
