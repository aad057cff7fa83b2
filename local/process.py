"""
One local server: started, waited for, stopped, killed, started again on the same port and the same data.

Every server of this folder is a subclass that says its command, how to ask whether it answers, and the environment
variables that lead the project's programs to it.
"""

import os
import random
import socket
import time
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Self

from local.guarded import ROOT, Guarded, StartFailed

__all__ = ["HOST", "ROOT", "Server", "StartFailed", "free_port", "taken"]

HOST = "127.0.0.1"

# Below what operating systems hand out to outgoing connections, so that a port is still free after a restart.
PORTS = range(20_000, 32_000)


class Server(Guarded):
    """
    A server that listens on 127.0.0.1 and keeps its data in a folder of its own.

    :param folder: where data, log and lock lie; made when missing, reused when not
    :param port: the port to listen on; a free one by default
    """

    name: ClassVar[str]
    ready_seconds: ClassVar[float] = 60.0

    def __init__(self, folder: Path, *, port: int | None = None) -> None:
        super().__init__(folder)
        self.port = port or free_port()

    @abstractmethod
    def answers(self) -> bool:
        """Whether the server answers a real request now."""

    @abstractmethod
    def environment(self) -> dict[str, str]:
        """The environment variables that lead a program of this project here."""

    @abstractmethod
    def prepare(self) -> None:
        """Make what the server needs before it starts; a second call keeps its data."""

    @property
    def log(self) -> Path:
        """The file that holds what the server printed."""
        return self.folder / "server.log"

    @property
    def lock(self) -> Path:
        """The file whose lock says that the data is in use."""
        return self.folder / "server.lock"

    def variables(self) -> Mapping[str, str]:
        """The environment of this process, with this project's modules in it, and one meaning of today."""
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
        return os.environ | {"PYTHONPATH": path, "PYTHONUNBUFFERED": "1", "TZ": "UTC"}

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start the server and wait until it answers; raises :class:`StartFailed`."""
        self.launch()
        self.wait()

    def launch(self) -> None:
        """Start the server without waiting; several can come up side by side so."""
        if self.running:
            return
        if taken(self.port):
            raise StartFailed(f"{self.name} cannot start: port {self.port} on {HOST} is taken.")
        self.folder.mkdir(parents=True, exist_ok=True)
        self.prepare()
        super().launch()

    def wait(self) -> None:
        """Wait until the server answers; stops it and raises :class:`StartFailed` when it does not."""
        deadline = time.monotonic() + self.ready_seconds
        while self.running and time.monotonic() < deadline:
            if self.answers():
                return
            time.sleep(0.05)
        why = f"it did not answer within {self.ready_seconds:g} s" if self.running else "it ended at once"
        self.stop()
        raise StartFailed(f"{self.name} cannot start: {why}. The end of {self.log}:\n{self.tail()}")

    def restart(self) -> None:
        """Stop and start again on the same port and data."""
        self.stop()
        self.start()


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    return next(port for port in random.SystemRandom().sample(PORTS, 500) if not taken(port))


def taken(port: int) -> bool:
    """Whether somebody listens on this port of 127.0.0.1."""
    with socket.socket() as attempt:
        # Connections of a server that has just ended may linger; only a listener counts.
        attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            attempt.bind((HOST, port))
        except OSError:
            return True
    return False
