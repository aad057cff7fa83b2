"""
What a fault costs an engine: ``python -m benchmarks.recover``.

Procrastinate and ours at work on the same tiny runs, while their workers are killed, their sessions in Postgres are ended,
and Postgres itself is. What ended is started again at once, as a supervisor would.
"""

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import sqlalchemy
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from benchmarks import engine, report, rivals
from benchmarks.plot import Bar
from benchmarks.report import Table, written
from benchmarks.site import Site, awaited, emptied_postgres, say, site
from benchmarks.working import HEARD
from local.programs import Programs
from worker import daily
from worker.app import ring
from worker.tasks import ring_due

LEAD: Final = """
Runs over a thousand people, two worker processes. When a quarter of them is done, all worker processes are killed, or
all sessions of the engine in Postgres are ended, or Postgres is shut down in its immediate mode and started again; a
process that ended is started again at once. Both engines keep their queue in Postgres and go by their defaults; ours
works on one run at a time and has its beat and its control worker. *Next* and *last* are the seconds from the fault to
the next completed run and to the last one. *Left* is what was not completed once nothing had happened for so long as the
sizes say; *begun again* are runs that took more than one attempt. What a killed worker of procrastinate held stays
with it until a task that its user writes gives it back; ours waits for the end of the lease (`LEASE_SECONDS`).

Again: `make bench-recover`; procrastinate is installed with pip into an environment of its own, which goes afterwards.
"""
OURS: Final = "ours"
NAMES: Final = ("worker", "control", "beat")
# Of an engine's database, a row a completed run: seconds since 1970.
COMPLETED: Final = {
    OURS: "SELECT extract(epoch FROM completed_at) FROM runs WHERE status = 'completed'",
    engine.PROCRASTINATE: """
        SELECT extract(epoch FROM e.at) FROM procrastinate_events e JOIN procrastinate_jobs j ON j.id = e.job_id
        WHERE j.status = 'succeeded' AND e.type = 'succeeded' AND (j.args ->> 'number')::int >= 0
    """,
}
AGAIN: Final = {
    OURS: "SELECT count(*) FROM (SELECT 1 FROM run_attempts GROUP BY run_id HAVING count(*) > 1) AS again",
    engine.PROCRASTINATE: """
        SELECT count(*) FROM (
            SELECT 1 FROM procrastinate_events WHERE type = 'started' GROUP BY job_id HAVING count(*) > 1
        ) AS again
    """,
}
END_SESSIONS: Final = """
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
EMPTY: Final = "TRUNCATE procrastinate_jobs, procrastinate_events CASCADE"
SESSIONS, POSTGRES, WORKERS = "sessions ended", "Postgres restarted", "workers killed"


@dataclass(frozen=True, slots=True)
class Scene:
    """An engine at work: its programs, those that a supervisor keeps, those that work on runs, and its database."""

    name: str
    here: Site
    programs: Programs
    kept: Sequence[str]
    workers: Sequence[str]
    database: sqlalchemy.Engine

    def read(self, sql: str) -> list[Any]:
        """Read the first column of some rows; nothing while Postgres is away."""
        try:
            with self.database.connect() as connection:
                return list(connection.scalars(text(sql)))
        except OperationalError:
            return []

    def kill(self) -> None:
        """Kill every process that works on runs."""
        for name in self.workers:
            self.programs.kill(name)

    def end_sessions(self) -> None:
        """End every session that the engine has in Postgres."""
        if not any(self.read(END_SESSIONS)):
            sys.exit(f"No session of {self.name} was ended.")

    def restart(self) -> None:
        """Shut Postgres down in its immediate mode, and start it again."""
        server = self.here.servers.postgres
        os.kill(server.pid, signal.SIGQUIT)
        server.stop()
        server.start()

    def supervise(self) -> None:
        """Start again what ended."""
        self.programs.start([name for name in self.kept if not self.programs.running(name)])


FAULTS: Final[Mapping[str, Callable[[Scene], None]]] = {
    WORKERS: Scene.kill,
    SESSIONS: Scene.end_sessions,
    POSTGRES: Scene.restart,
}


@dataclass(frozen=True, slots=True)
class Cost:
    """What one fault cost: seconds to the next and to the last completed run, runs left over, runs begun again."""

    engine: str
    fault: str
    next: float
    last: float
    left: int
    again: int


def main() -> int:
    """Break each engine in each way, print and write down."""
    options = _options()
    with site(DAILY_CONCURRENCY="2", BATCH_RUNS="1") as here:
        order = engine.ordered(here)
        rival = rivals.procrastinate(here, 2)
        if rival is None:
            sys.exit("procrastinate could not be installed here.")
        costs = []
        for fault, strike in FAULTS.items():
            for started in (_rival(rival, here, order, options.runs), _ours(here, options.runs)):
                with started as scene:
                    costs.append(_broken(scene, fault, strike, options))
                    say(f"{costs[-1]}")
    _section(costs, options).publish(options.docs)
    return 0


def _options() -> argparse.Namespace:
    """The command line."""
    parser = report.parser("Measure what faults cost procrastinate and ours.")
    parser.add_argument("--runs", type=report.whole, default=200, help="runs of each engine and fault")
    parser.add_argument(
        "--patience", type=report.whole, default=150, help="seconds without anything after which it ends"
    )
    return parser.parse_args()


@contextmanager
def _ours(here: Site, runs: int) -> Iterator[Scene]:
    """Run our programs and queue the runs."""
    emptied_postgres(but=("data_dates", "serving_indexes"))
    database = sqlalchemy.create_engine(here.environment["DATABASE_URL"], poolclass=sqlalchemy.NullPool)
    with Programs(here.folder / "programs", here.environment) as programs:
        programs.start(NAMES)
        scene = Scene(OURS, here, programs, NAMES, ("worker",), database)
        awaited(lambda: ring("daily", 1) + scene.read(HEARD)[0], "A worker that hears its bell", seconds=60)
        awaited(lambda: scene.read(HEARD)[0], "A worker that hears its bell", seconds=60)
        engine.save(runs)
        daily.queue_daily_runs()
        ring_due()
        yield scene


@contextmanager
def _rival(rival: rivals.Rival, here: Site, order: Path, runs: int) -> Iterator[Scene]:
    """Run procrastinate's workers and queue the same runs."""
    database = sqlalchemy.create_engine(rivals.database(here), poolclass=sqlalchemy.NullPool)
    with database.begin() as connection:
        connection.execute(text(EMPTY))
    with rival.started(here, order) as programs:
        scene = Scene(rival.name, here, programs, tuple(rival.lines), tuple(rival.lines), database)
        rival.send_tasks(programs, 0, runs)
        yield scene


def _broken(scene: Scene, fault: str, strike: Callable[[Scene], None], options: argparse.Namespace) -> Cost:
    """Let the engine work, break it, and see what becomes of its runs."""
    completed = COMPLETED[scene.name]
    awaited(
        lambda: len(scene.read(completed)) >= options.runs // 4, f"A quarter of the runs of {scene.name}", every=0.05
    )
    struck = time.time()
    strike(scene)
    done, moved = 0, time.monotonic()
    while done < options.runs and time.monotonic() < moved + options.patience:
        scene.supervise()
        now = len(scene.read(completed))
        if now > done:
            done, moved = now, time.monotonic()
        time.sleep(0.1)
    later = [float(at) - struck for at in scene.read(completed) if float(at) > struck]
    if not later:
        sys.exit(f"{scene.name} has completed nothing since {fault}.")
    return Cost(scene.name, fault, min(later), max(later), options.runs - done, scene.read(AGAIN[scene.name])[0])


def _section(costs: Sequence[Cost], options: argparse.Namespace) -> report.Section:
    """Put together what was measured."""
    rows = [
        [one.fault, one.engine, written(one.next), written(one.last), str(one.left), str(one.again)] for one in costs
    ]
    return report.Section(
        name="recover",
        title="What a fault costs",
        lead=LEAD,
        sizes=f"{options.runs} runs of each engine and fault, {options.patience} s of patience",
        tables=[Table(("fault", "engine", "next, s", "last, s", "left", "begun again"), rows)],
        bars=[
            Bar(f"{one.fault}: to the next completed run", one.engine, one.next, ours=one.engine == OURS)
            for one in costs
        ],
        unit="s",
    )


if __name__ == "__main__":
    sys.exit(main())
