"""Other engines at the same work: started as processes, sent tasks, and read in their journal."""

import statistics
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import sqlalchemy
from sqlalchemy import text

from benchmarks import journal
from benchmarks.site import Site, awaited, say
from local.environment import whole
from local.process import ROOT
from local.programs import Programs

# So many tasks for each process before anything is measured.
WARMING: Final = 8
DATABASE: Final = "procrastinate"


@dataclass(frozen=True, slots=True)
class Took:
    """Seconds for all runs, and the median seconds from queued to claimed and from queued to completed."""

    all: float
    claimed: float
    completed: float


@dataclass(frozen=True, slots=True)
class Rival:
    """
    Another engine.

    :param lines: its worker processes, as lines of a Procfile
    :param send: the command that queues tasks; the first number and how many follow
    """

    name: str
    lines: dict[str, str]
    send: Sequence[str]

    def served(self, here: Site, order: Path, count: int) -> Took:
        """Start its workers, warm them up, queue so many tasks and wait for the last."""
        with self.started(here, order) as programs:
            self.send_tasks(programs, 0, count)
            self._noted(programs, order.parent, count)
        lines = journal.read(order.parent)
        return Took(
            max(line.ended for line in lines) - min(line.queued for line in lines),
            statistics.median(line.started - line.queued for line in lines),
            statistics.median(line.ended - line.queued for line in lines),
        )

    @contextmanager
    def started(self, here: Site, order: Path) -> Iterator[Programs]:
        """Run its workers, warmed up, with an empty journal."""
        procfile = order.parent / f"Procfile.{self.name}"
        procfile.write_text("".join(f"{name}: exec {line}\n" for name, line in self.lines.items()))
        environment = _environment(here) | {"BENCHMARK_ORDER": str(order)}
        with Programs(here.folder / self.name, environment, procfile=procfile) as programs:
            journal.clear(order.parent)
            programs.start(self.lines)
            self.send_tasks(programs, -WARMING, WARMING)
            self._noted(programs, order.parent, WARMING)
            journal.clear(order.parent)
            yield programs

    def send_tasks(self, programs: Programs, first: int, count: int) -> None:
        """Queue so many tasks, from a first number on."""
        subprocess.run([*self.send, str(first), str(count)], env=programs.environment, cwd=ROOT, check=True)

    def _noted(self, programs: Programs, folder: Path, count: int) -> None:
        """Wait until so many tasks are noted."""

        def noted() -> bool:
            for name in self.lines:
                if not programs.running(name):
                    sys.exit(f"{name} ended: {programs.log(name).read_text()[-1000:]}")
            return len(journal.read(folder)) >= count

        awaited(noted, f"The last task of {self.name}", every=0.5)


def celery(concurrency: int) -> Rival:
    """Celery with one worker of so many processes, as it comes."""
    worker = "celery -A benchmarks.bare_celery worker --loglevel ERROR --without-gossip --without-mingle"
    return Rival(
        "bare Celery",
        {"celery": f"{worker} --concurrency {concurrency}"},
        [sys.executable, "-m", "benchmarks.bare_celery"],
    )


def procrastinate(here: Site, concurrency: int) -> Rival | None:
    """Procrastinate with so many workers, in a virtual environment of its own; None where it cannot be installed."""
    python = _installed(here.folder / "venv")
    if python is None:
        return None
    engine = sqlalchemy.create_engine(here.environment["DATABASE_URL"], isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {DATABASE}"))
    engine.dispose()
    command = [str(python), "-m", "procrastinate", "--app", "benchmarks.bare_procrastinate.app"]
    subprocess.run([*command, "schema", "--apply"], env=_environment(here), cwd=ROOT, capture_output=True, check=True)
    worker = " ".join([*command, "worker", "--concurrency", "1"])
    return Rival(
        "procrastinate",
        {f"procrastinate{number}": worker for number in range(1, concurrency + 1)},
        # Its app must not be the main module.
        [str(python), "-c", "from benchmarks.bare_procrastinate import main; main()"],
    )


def database(here: Site) -> sqlalchemy.URL:
    """The address of procrastinate's own database."""
    return sqlalchemy.make_url(here.environment["DATABASE_URL"]).set(database=DATABASE)


def _environment(here: Site) -> dict[str, str]:
    """Lead rivals to the same servers, where they have stores of their own."""
    broker = here.environment["REDIS_URL"].rsplit("/", 1)[0] + "/1"
    url = database(here).set(drivername="postgresql")
    own = {"BENCHMARK_BROKER": broker, "BENCHMARK_DATABASE": url.render_as_string(hide_password=False)}
    return whole({**here.environment, **own, "PYTHONPATH": str(ROOT)})


def _installed(folder: Path) -> Path | None:
    """Install procrastinate beside the libraries of this environment, and return the interpreter that has both."""
    python = folder / "bin" / "python"
    commands = (
        [sys.executable, "-m", "venv", str(folder)],
        [str(python), "-m", "pip", "install", "--quiet", "--only-binary", ":all:", "procrastinate"],
    )
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            say(f"procrastinate cannot be installed: {(done.stderr.strip().splitlines() or ['no word why'])[-1]}")
            return None
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    shared = folder / "lib" / version / "site-packages" / "shared.pth"
    shared.write_text(sysconfig.get_path("purelib") + "\n")
    return python
