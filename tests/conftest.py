"""
Real servers, once a session; a fresh database of each kind for every test that asks for ``stores``.

Tests that ask for nothing here need nothing at all.
"""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path
from uuid import uuid4

import clickhouse_connect
import pytest
import redis
from clickhouse_connect.driver.client import Client
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from local.servers import Servers
from worker import clickhouse as door
from worker import database, ddl, migrate, models, settings

BASE = {
    "TOKEN_KEYS": "k" * 32,
    "MAIL_TLS": "none",
    "MAIL_FROM": "Audiences <audiences@example.com>",
    "PUBLIC_URL": "https://audiences.example.com",
    "LOG_FORMAT": "json",
    "RATE_LIMIT_PER_MINUTE": "0",
    "QUERY_THREADS": "2",
    "QUERY_MEMORY_BYTES": "2000000000",
}


@dataclass(frozen=True)
class Stores:
    """One test's own databases, and the environment that leads a process to them."""

    environment: dict[str, str]
    folder: Path

    def settings(self) -> settings.Settings:
        """The settings of this process, as they are read now."""
        return settings.current()


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """The servers of this session, in a short folder because socket paths are short."""
    folder = Path(tempfile.mkdtemp(prefix="aw-"))
    try:
        with Servers(folder, durable=False) as running:
            yield running
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def template(servers: Servers) -> str:
    """A migrated Postgres database that each test's own is copied from."""
    with pytest.MonkeyPatch.context() as patch:
        _point(patch, {**servers.environment(), **BASE})
        _admin(servers, "CREATE DATABASE template_audiences")
        patch.setenv("DATABASE_URL", _database(servers, "template_audiences"))
        _forget()
        migrate.migrate()
        database.engine().dispose()
    _forget()
    return "template_audiences"


@pytest.fixture(scope="session")
def shared(servers: Servers, template: str) -> str:
    """A Postgres database that tests of its tables share, one after the other."""
    _admin(servers, f"CREATE DATABASE shared_tables TEMPLATE {template}")
    return "shared_tables"


@pytest.fixture
def tables(servers: Servers, shared: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Stores]:
    """Empty Postgres tables in less time than a database of its own takes; whoever alters one asks for ``stores``."""
    environment = {**servers.environment(), **BASE, "DATABASE_URL": _database(servers, shared)}
    _point(monkeypatch, environment)
    with database.transaction() as connection:
        names = ", ".join(table.name for table in models.metadata.sorted_tables)
        connection.execute(text(f"TRUNCATE {names}"))
    yield Stores(environment, tmp_path)
    database.engine().dispose()
    _forget()


@pytest.fixture
def stores(servers: Servers, template: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Stores]:
    """Fresh, migrated databases; an empty Redis; an empty mailbox; a folder for files."""
    name = f"t_{uuid4().hex[:12]}"
    _admin(servers, f"CREATE DATABASE {name} TEMPLATE {template}")
    with _client(servers.clickhouse.url) as client:
        client.command(f"CREATE DATABASE {name}")
    environment = {
        **servers.environment(),
        **BASE,
        "DATABASE_URL": _database(servers, name),
        "CLICKHOUSE_URL": servers.clickhouse.url.rsplit("/", 1)[0] + f"/{name}",
        "STORAGE_URL": f"file://{tmp_path}/exports",
    }
    with _client(environment["CLICKHOUSE_URL"]) as client:
        for _, sql in ddl.statements(None, replicated=False, retention_days=90):
            client.command(sql)
    with redis.Redis.from_url(environment["REDIS_URL"]) as broker:
        broker.flushall()
    for message in servers.mailbox.glob("*"):
        message.unlink()
    _point(monkeypatch, environment)
    yield Stores(environment, tmp_path)
    database.engine().dispose()
    _forget()
    _admin(servers, f"DROP DATABASE {name} WITH (FORCE)")
    with _client(servers.clickhouse.url) as client:
        client.command(f"DROP DATABASE {name}")


@pytest.fixture
def clickhouse(stores: Stores) -> Iterator[Client]:
    """A client of this test's own ClickHouse database."""
    with _client(stores.environment["CLICKHOUSE_URL"]) as client:
        yield client


@pytest.fixture
def mailbox(servers: Servers, stores: Stores) -> Callable[[], list[EmailMessage]]:
    """What the mail server received during this test."""
    return servers.messages


def _point(patch: pytest.MonkeyPatch, environment: dict[str, str]) -> None:
    """Lead this process to these servers and to none that the developer's own environment names."""
    for name in settings.Settings.model_fields:
        patch.delenv(name.upper(), raising=False)
    for name, value in environment.items():
        patch.setenv(name, value)
    _forget()


def _forget() -> None:
    """Drop what this process has cached of its environment."""
    settings.current.cache_clear()
    if database.engine.cache_info().currsize:
        database.engine().dispose()
    database.engine.cache_clear()
    door.forget()


def _database(servers: Servers, name: str) -> str:
    """The address of one Postgres database."""
    return make_url(servers.postgres.url).set(database=name).render_as_string(hide_password=False)


def _admin(servers: Servers, statement: str) -> None:
    """Run one statement outside any transaction."""
    engine = create_engine(servers.postgres.url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(statement))
    engine.dispose()


def _client(url: str) -> Client:
    """Connect to ClickHouse as an onlooker."""
    return clickhouse_connect.get_client(dsn=url, autogenerate_session_id=False)
