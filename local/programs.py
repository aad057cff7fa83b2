"""
The project's programs as real processes, each a line of the Procfile.

    with Programs(folder, environment) as programs:
        programs.start(["beat", "worker"])
        programs.kill("worker")
        programs.start(["worker"])
"""

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import ClassVar, Self

from honcho.environ import parse_procfile

from local.environment import whole
from local.guarded import ROOT, Guarded, StartFailed

PROCFILE = ROOT / "Procfile"


class Program(Guarded):
    """
    One line of the Procfile, run by a shell as a platform would run it.

    :param name: the word before the colon
    :param line: what stands after it
    """

    name: str = ""
    # What a platform grants between SIGTERM and SIGKILL, a little more than SHUTDOWN_GRACE_SECONDS.
    grace_seconds: ClassVar[float] = 40.0
    lock_seconds: ClassVar[float] = 45.0

    def __init__(self, name: str, line: str, folder: Path, environment: Mapping[str, str]) -> None:
        super().__init__(folder)
        self.name = name
        self.line = line
        self.environment = dict(environment)

    def command(self) -> list[str]:
        """A shell that gives way to the program."""
        return ["/bin/sh", "-c", self.line]

    def variables(self) -> Mapping[str, str]:
        """What the program finds in its environment."""
        return self.environment

    @property
    def place(self) -> Path:
        """The clone: the Procfile names modules that lie in it."""
        return ROOT

    @property
    def log(self) -> Path:
        """The file that holds what the program printed, of all its starts."""
        return self.folder / f"{self.name}.log"

    @property
    def lock(self) -> Path:
        """The file whose lock says that the program runs in this folder."""
        return self.folder / f"{self.name}.lock"


class Programs:
    """
    The programs of the Procfile, none of them started.

    :param folder: where their logs lie, ``worker.log`` for example
    :param environment: their settings; those of this process are not handed on, the rest of its environment is
    :param procfile: another Procfile than the project's own
    """

    def __init__(self, folder: Path, environment: Mapping[str, str], *, procfile: Path = PROCFILE) -> None:
        if not procfile.exists():
            raise StartFailed(f"There is no {procfile}: the programs are started from a clone of the project.")
        lines = parse_procfile(procfile.read_text()).processes
        self.environment = whole(environment)
        self.all = {name: Program(name, line, folder, self.environment) for name, line in lines.items()}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, names: Iterable[str]) -> None:
        """Start programs by their names and return once each runs; raises :class:`StartFailed`."""
        for name in names:
            self.all[name].launch()

    def stop(self, names: Collection[str] | None = None) -> None:
        """Send SIGTERM to the main process of each, all at once, and return once nothing of them is left."""
        stopped = [program for name, program in self.all.items() if names is None or name in names]
        for program in stopped:
            program.let_go()
        for program in stopped:
            program.gone()

    def kill(self, name: str) -> None:
        """Kill a program with SIGKILL, its pool processes with it, as the loss of a machine would."""
        self.all[name].kill()

    def restart(self, name: str) -> None:
        """Stop a program and start it again."""
        self.stop([name])
        self.start([name])

    def running(self, name: str) -> bool:
        """Whether a program's main process is alive."""
        return self.all[name].running

    def pid(self, name: str) -> int:
        """The process id of a program's main process."""
        return self.all[name].pid

    def log(self, name: str) -> Path:
        """The file that holds what a program printed."""
        return self.all[name].log
