"""
One local server: started, waited for, stopped, killed, started again on the same port and the same data.

Every server of this folder is a subclass that says its command, how to ask whether it answers, and the environment
variables that lead the project's programs to it. local/guard.py runs between this process and the server.
"""

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar, Self

import psutil

HOST = "127.0.0.1"
GUARD = Path(__file__).with_name("guard.py")
ROOT = Path(__file__).parent.parent

# Below what operating systems hand out to outgoing connections, so that a port is still free after a restart.
PORTS = range(20_000, 32_000)
TAIL_LINES = 15


class StartFailed(Exception):
    """A local server cannot start; the sentence says which and why, with the end of its log."""


class Server(ABC):
    """
    A server that listens on 127.0.0.1 and keeps its data in a folder of its own.

    :param folder: where data, log and lock lie; made when missing, reused when not
    :param port: the port to listen on; a free one by default
    """

    name: ClassVar[str]
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM
    grace_seconds: ClassVar[float] = 10.0
    ready_seconds: ClassVar[float] = 60.0
    # Longer than the grace: the guard of an owner that was killed lets go of the folder within it.
    lock_seconds: ClassVar[float] = 15.0

    def __init__(self, folder: Path, *, port: int | None = None) -> None:
        self.folder = folder.resolve()
        self.port = port or free_port()
        self.pid = 0
        self._guard: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def command(self) -> list[str]:
        """The server's command line."""

    @abstractmethod
    def answers(self) -> bool:
        """Whether the server answers a real request now."""

    @abstractmethod
    def environment(self) -> dict[str, str]:
        """The environment variables that lead a program of this project here."""

    @abstractmethod
    def prepare(self) -> None:
        """Make what the server needs before it starts; a second call keeps its data."""

    def account(self) -> int | None:
        """The user id the server runs as; this process's own when None."""
        return None

    @property
    def log(self) -> Path:
        """The file that holds what the server printed."""
        return self.folder / "server.log"

    @property
    def running(self) -> bool:
        """Whether the server's process is alive."""
        return self._guard is not None and self._guard.poll() is None

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
        with self.log.open("ab") as log:
            self._guard = subprocess.Popen(
                [sys.executable, "-I", "-S", str(GUARD), json.dumps(self._order())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=os.environ | _variables(),
                start_new_session=True,
            )
        self.pid = self._told_pid(self._guard)

    def wait(self) -> None:
        """Wait until the server answers; stops it and raises :class:`StartFailed` when it does not."""
        deadline = time.monotonic() + self.ready_seconds
        while self.running and time.monotonic() < deadline:
            if self.answers():
                return
            time.sleep(0.05)
        why = f"it did not answer within {self.ready_seconds:g} s" if self.running else "it ended at once"
        self.stop()
        raise StartFailed(f"{self.name} cannot start: {why}. The end of {self.log}:\n{self._tail()}")

    def stop(self) -> None:
        """Ask the server to end, insist after its grace, and return once no process of it is left."""
        if self._guard is None:
            return
        family = _family(self._guard.pid)
        if self._guard.stdin:
            self._guard.stdin.close()
        self._ended(family, self.grace_seconds + 5)

    def kill(self) -> None:
        """Kill the server with SIGKILL, as a crash would, and return once no process of it is left."""
        if self._guard is None:
            return
        family = _family(self._guard.pid)
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        self._ended(family, self.grace_seconds + 5)

    def restart(self) -> None:
        """Stop and start again on the same port and data."""
        self.stop()
        self.start()

    def _order(self) -> dict[str, object]:
        """What the guard is told, as JSON."""
        return {
            "command": self.command(),
            "folder": str(self.folder),
            "log": str(self.log),
            "lock": str(self.folder / "server.lock"),
            "signal": int(self.stop_signal),
            "grace": self.grace_seconds,
            "patience": self.lock_seconds,
            "user": self.account(),
        }

    def _told_pid(self, guard: "subprocess.Popen[bytes]") -> int:
        """The process id that the guard says first."""
        line = guard.stdout.readline().decode().strip() if guard.stdout else ""
        if line.isdigit():
            return int(line)
        self._ended([], self.grace_seconds)
        if line == "locked":
            raise StartFailed(f"{self.name} cannot start: another one is running in {self.folder}.")
        raise StartFailed(f"{self.name} cannot start. The end of {self.log}:\n{self._tail()}")

    def _ended(self, family: list[psutil.Process], seconds: float) -> None:
        """Wait until every process of the family is gone, killing those that outstay their time."""
        for process in _left(family, seconds):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        _left(family, 5)
        if self._guard is not None:
            with self._guard:
                self._guard = None

    def _tail(self) -> str:
        """The last lines of the server's log."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-TAIL_LINES:]) or "(empty)"


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


def _variables() -> dict[str, str]:
    """What every server finds in its environment: this project's modules, and one meaning of today."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    return {"PYTHONPATH": path, "PYTHONUNBUFFERED": "1", "TZ": "UTC"}


def _family(pid: int) -> list[psutil.Process]:
    """The process and everything that descends from it, as far as it is alive."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    return []


def _left(family: list[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Those still alive once this time is over; returns as soon as there are none."""
    deadline = time.monotonic() + seconds
    while (family := [process for process in family if _alive(process)]) and time.monotonic() < deadline:
        time.sleep(0.02)
    return family


def _alive(process: psutil.Process) -> bool:
    """Whether a process still runs; one that has ended but was not yet collected by its parent does not."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
