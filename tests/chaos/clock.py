"""
Clocks that are wrong: libfaketime between a process and the system's clock, moved while the process runs.

Everything in the process sees it, C libraries and PostgreSQL included, and a child inherits it; the monotonic clock
stays true, as on a machine whose wall clock is set. No setting of the project takes part.
"""

import subprocess
import sys
import time
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import psutil

from local.guarded import StartFailed


class Clock:
    """
    The wall clock of some processes, as far ahead of this one's as was last said.

    :param file: where libfaketime looks, at most a second after a change; readable by whoever the process runs as
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.ahead = 0
        self.set(0)

    def set(self, seconds: int) -> None:
        """Set the clock so far ahead of true time; behind it when negative."""
        aside = self.file.with_suffix(".new")
        aside.write_text(f"{seconds:+d}\n")
        aside.chmod(0o644)
        aside.replace(self.file)
        self.ahead = seconds

    def environment(self) -> Mapping[str, str]:
        """What a process must find in its environment to live by this clock."""
        return {
            "LD_PRELOAD": str(_library()),
            "FAKETIME_TIMESTAMP_FILE": str(self.file),
            "FAKETIME_CACHE_DURATION": "1",
            "DONT_FAKE_MONOTONIC": "1",
            # Without it a killed process could take a semaphore along that its siblings wait for.
            "NO_FAKE_STAT": "1",
        }

    def check(self) -> None:
        """Make sure that a process sees this clock; raises :class:`StartFailed` where the library does not load."""
        told = subprocess.run(
            [sys.executable, "-c", "import time; print(time.time())"],
            env=self.environment(),
            capture_output=True,
            text=True,
            check=True,
        )
        if abs(float(told.stdout) - time.time() - self.ahead) > 30:
            raise StartFailed(f"Clocks cannot be set wrong here: {_library()} does not load.")


def sweep() -> None:
    """Remove what killed processes left in shared memory."""
    for file in Path("/dev/shm").glob("*faketime_s*_*"):
        if not psutil.pid_exists(int(file.name.rpartition("_")[2])):
            file.unlink(missing_ok=True)


def _library() -> Path:
    """The system's libfaketime where it is installed, else the wheel's; the wheel is only looked at."""
    for path in sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1")):
        return path
    wheel = find_spec("libfaketime")
    if wheel is None or wheel.origin is None:
        raise StartFailed("Clocks cannot be set wrong here: libfaketime is not installed.")
    return Path(wheel.origin).parent / "vendor" / "libfaketime" / "src" / "libfaketime.so.1"
