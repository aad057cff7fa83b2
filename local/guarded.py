"""
One process under a guard: it ends when it is stopped, and also when its owner is killed.

local/guard.py runs between this process and the guarded one. Subclasses say the command, where it works and what it
finds in its environment.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import psutil

GUARD = Path(__file__).with_name("guard.py")
ROOT = Path(__file__).parent.parent
TAIL_LINES = 15


class StartFailed(Exception):
    """A local process cannot start; the sentence says which and why, with the end of its log."""


class Guarded(ABC):
    """
    A process with a folder, a log and a lock of its own.

    :param folder: where its log and its lock lie; made when missing
    """

    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM
    grace_seconds: ClassVar[float] = 10.0
    # Longer than the grace: the guard of an owner that was killed lets go of the lock within it.
    lock_seconds: ClassVar[float] = 15.0

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.pid = 0
        self._guard: subprocess.Popen[bytes] | None = None
        self._family: list[psutil.Process] = []

    @property
    @abstractmethod
    def name(self) -> str:
        """What it is called in sentences."""

    @abstractmethod
    def command(self) -> list[str]:
        """The command line."""

    @abstractmethod
    def variables(self) -> Mapping[str, str]:
        """The environment of the process, whole."""

    @property
    @abstractmethod
    def log(self) -> Path:
        """The file that holds what the process printed."""

    @property
    @abstractmethod
    def lock(self) -> Path:
        """The file that is locked as long as the process lives."""

    @property
    def place(self) -> Path:
        """The working directory."""
        return self.folder

    def account(self) -> int | None:
        """The user id the process runs as; this process's own when None."""
        return None

    @property
    def running(self) -> bool:
        """Whether the process is alive."""
        return self._guard is not None and self._guard.poll() is None

    def launch(self) -> None:
        """Start the process without waiting for anything it does; raises :class:`StartFailed`."""
        if self.running:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._guard = subprocess.Popen(
                [sys.executable, "-I", "-S", str(GUARD), json.dumps(self._order())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=self.variables(),
                start_new_session=True,
            )
        self.pid = self._told_pid(self._guard)

    def stop(self) -> None:
        """Ask the process to end, insist after its grace, and return once nothing of it is left."""
        self.let_go()
        self.gone()

    def let_go(self) -> None:
        """Ask the process to end without waiting; several can end side by side so."""
        if self._guard is not None and self._guard.stdin:
            self._family = _family(self._guard.pid)
            self._guard.stdin.close()

    def gone(self) -> None:
        """Wait until nothing is left of a process that was asked to end."""
        self._ended(self._family, self.grace_seconds + 5)

    def kill(self) -> None:
        """Kill the process with SIGKILL, as a crash would, and return once nothing of it is left."""
        if self._guard is None:
            return
        family = _family(self._guard.pid)
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        self._ended(family, self.grace_seconds + 5)

    def tail(self, lines: int = TAIL_LINES) -> str:
        """The last lines of the log."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:]) or "(empty)"

    def _order(self) -> dict[str, object]:
        """What the guard is told, as JSON."""
        return {
            "command": self.command(),
            "folder": str(self.place),
            "log": str(self.log),
            "lock": str(self.lock),
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
        raise StartFailed(f"{self.name} cannot start. The end of {self.log}:\n{self.tail()}")

    def _ended(self, family: list[psutil.Process], seconds: float) -> None:
        """Wait until every process of the family is gone, killing those that outstay their time."""
        for process in _left(family, seconds):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        _left(family, 5)
        if self._guard is not None:
            with self._guard:
                self._guard = None


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
