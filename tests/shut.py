"""A PostgreSQL that lets nobody in for a while."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from sqlalchemy.engine import URL, make_url

from worker import settings

AWAY_SECONDS = 5
TERMINATE = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()"


@contextmanager
def shut_after(patch: pytest.MonkeyPatch, owner: object, name: str) -> Iterator[None]:
    """Let one function, when it has done its work for the first time, shut this test's database; it is opened again five seconds later."""
    url = make_url(settings.current().database_url.get_secret_value())
    act, opened = getattr(owner, name), threading.Timer(AWAY_SECONDS, lambda: _door(url, "true"))

    def shutting(*given: Any, **named: Any) -> Any:
        done = act(*given, **named)
        if opened.ident is None:
            _door(url, "false")
            opened.start()
        return done

    patch.setattr(owner, name, shutting)
    try:
        yield
    finally:
        opened.join()


def _door(url: URL, is_open: str) -> None:
    """Let sessions of a database begin or not; those that have begun are ended."""
    with psycopg.connect(host=url.host, port=url.port, user=url.username, autocommit=True) as session:
        session.execute(f"ALTER DATABASE {url.database} ALLOW_CONNECTIONS {is_open}")
        session.execute(TERMINATE, [url.database])
