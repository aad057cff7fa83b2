"""
All local servers together, and the environment that leads the project's programs to them.

    with Servers(folder) as servers:
        subprocess.run([...], env=os.environ | servers.environment())
"""

import contextlib
import secrets
from collections.abc import Collection, Mapping
from email.message import EmailMessage
from pathlib import Path
from typing import Self

from local.clickhouse import ClickHouse
from local.mail import Mail
from local.postgres import Postgres
from local.process import Server
from local.redis import Redis
from local.storage import Storage

# The variable that names a server somebody else runs, and what goes with it.
VARIABLES = {
    "postgres": ("DATABASE_URL",),
    "redis": ("REDIS_URL",),
    "clickhouse": ("CLICKHOUSE_URL",),
    "mail": ("MAIL_URL", "MAIL_TLS"),
    "storage": ("STORAGE_URL", "STORAGE_ENDPOINT", "STORAGE_REGION", "STORAGE_ACCESS_KEY", "STORAGE_SECRET_KEY"),
}
USUAL = frozenset({"postgres", "redis", "clickhouse", "mail"})


class Servers:
    """
    The servers the project needs, each in its own folder below one folder.

    :param folder: where their data lies; made when missing, reused when not
    :param only: names of those to start: ``postgres``, ``redis``, ``clickhouse``, ``mail``, ``storage`` (S3);
        without ``storage`` files go to the folder ``exports``
    :param durable: whether PostgreSQL's commits wait for the disk; tests need not
    :param given: variables of servers that somebody else runs, ``os.environ`` for example: a server whose variable is
        in here is not started, and its variable is passed on. Empty by default, so that nobody's servers are touched
        unasked
    """

    def __init__(
        self,
        folder: Path,
        *,
        only: Collection[str] = USUAL,
        durable: bool = True,
        given: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder.resolve()
        self.postgres = Postgres(self.folder / "postgres", durable=durable)
        self.redis = Redis(self.folder / "redis")
        self.clickhouse = ClickHouse(self.folder / "clickhouse")
        self.mail = Mail(self.folder / "mail")
        self.storage = Storage(self.folder / "storage")
        self.given = {name: value for name, value in (given or {}).items() if value}
        self.started = {name: server for name, server in self._all().items() if self._ours(name, only)}

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start them side by side and wait until all answer; stops them and raises ``StartFailed`` otherwise."""
        try:
            for server in self.started.values():
                server.launch()
            for server in self.started.values():
                server.wait()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop every server, also when one of them makes trouble."""
        with contextlib.ExitStack() as stack:
            for server in self.started.values():
                stack.callback(server.stop)

    def environment(self) -> dict[str, str]:
        """Every variable that a program of this project needs to work with these servers."""
        passed = {name: self.given[name] for names in VARIABLES.values() for name in names if name in self.given}
        ours = [server.environment() for server in self.started.values()]
        files = {"STORAGE_URL": (self.folder / "exports").as_uri(), "TOKEN_KEYS": self._token_key()}
        return {name: value for part in (files, passed, *ours) for name, value in part.items()}

    @property
    def mailbox(self) -> Path:
        """The folder that holds one .eml file a received message."""
        return self.mail.mailbox

    def messages(self) -> list[EmailMessage]:
        """Every message received so far, oldest first."""
        return self.mail.messages()

    def _all(self) -> dict[str, Server]:
        """The slowest first, so that the others come up beside it."""
        return {
            "clickhouse": self.clickhouse,
            "storage": self.storage,
            "mail": self.mail,
            "redis": self.redis,
            "postgres": self.postgres,
        }

    def _ours(self, name: str, only: Collection[str]) -> bool:
        """Whether this server is asked for and nobody else runs it."""
        return name in only and VARIABLES[name][0] not in self.given

    def _token_key(self) -> str:
        """The key that signs links, made once and kept with the data."""
        file = self.folder / "token.key"
        if not file.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            file.touch(mode=0o600)
            file.write_text(secrets.token_hex(32))
        return file.read_text()
