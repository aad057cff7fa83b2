"""
The demo: sample data, saved audiences, the programs of the Procfile, until every mail has arrived.

Everything it starts ends with it: when it is done, on Ctrl-C, and when it is killed. Everything it writes lies in one
folder. The next start goes on with the data of the last one; databases, files, mails and logs begin anew.
"""

import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Final
from uuid import UUID

from local import board, sample, show
from local.environment import fresh_database, tuned, whole, write
from local.guarded import StartFailed
from local.interrupts import held
from local.process import HOST, free_port, taken
from local.programs import Programs
from local.saving import NotSaved, save
from local.servers import Servers
from worker import clickhouse, migrate

PROGRAMS: Final = ("control", "worker", "manual", "announce", "web", "flower", "beat")
MARK: Final = "audience-worker-demo"
LOOKS_PER_SECOND: Final = 2
LISTEN_SECONDS: Final = 20


class DemoFailed(Exception):
    """The demo cannot go on; the sentence says why."""


@dataclass(frozen=True, slots=True)
class Options:
    """
    What a demo is asked for.

    :param folder: where everything lies; made when missing
    :param timeout: seconds from the start of the workers until every audience must be done
    :param keep: whether everything stays up at the end, until Ctrl-C
    """

    folder: Path = Path(".local/demo")
    sizes: sample.Sizes = field(default_factory=sample.Sizes)
    audiences: int = 25
    organizations: int = 5
    timeout: float = 180
    keep: bool = False


def run(options: Options) -> int:
    """Run the demo and return its exit code: 0 when every audience is done, 1 otherwise; Ctrl-C goes through."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    shown = show.chosen()
    started = time.monotonic()
    try:
        folder = _claimed(options.folder)
        with ExitStack() as running:
            running.callback(shown.say, "Everything that was started has been stopped.")
            done = _played(options, folder, shown, running, started)
            if options.keep:
                shown.say(f"Look around: . {folder / 'environment'}; {sys.argv[0]} runs list")
                shown.say("Everything stays up until Ctrl-C.")
                signal.pause()
    except (StartFailed, NotSaved, DemoFailed) as failure:
        print(failure, file=sys.stderr)
        return 1
    return 0 if done else 1


def _played(options: Options, folder: Path, shown: show.Shown, running: ExitStack, started: float) -> bool:
    """Go through the demo from the servers to the summary, and return whether every audience is done."""
    servers = Servers(folder)
    with shown.step("Starting PostgreSQL, Redis, ClickHouse and a mailbox"):
        running.enter_context(servers)
    environment = tuned(servers, ports=(free_port(), free_port(), free_port()))
    _begin_anew(folder, servers, environment)
    with shown.step("Migrating PostgreSQL and ClickHouse"), held():
        migrate.migrate()
        clickhouse.command("TRUNCATE TABLE audience_results")
    with held() as let_in:
        data_date = _with_data(options.sizes, shown, let_in)

    programs = Programs(folder / "logs", environment)
    saved = _save(options, programs, shown)
    running.callback(programs.stop)
    with shown.step(f"Starting {', '.join(PROGRAMS)} as the Procfile says"):
        programs.start(PROGRAMS)
    lines, seconds = _watched(saved, data_date, programs, board.Mailbox(servers.mailbox), options.timeout, shown)
    _summarize(lines, seconds, time.monotonic() - started, folder, environment, shown)
    return _judged(lines, seconds, programs)


def _claimed(folder: Path) -> Path:
    """Take a folder for the demo: a new one, an empty one, or that of a demo before."""
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / MARK).exists() and any(folder.iterdir()):
        raise DemoFailed(f"{folder} holds something else already; choose another --folder.")
    (folder / MARK).touch()
    return folder


def _begin_anew(folder: Path, servers: Servers, environment: Mapping[str, str]) -> None:
    """Clear away the last demo, except its data, and lead this process to the servers."""
    for rest in (folder / "exports", folder / "logs"):
        shutil.rmtree(rest, ignore_errors=True)
    for mail in servers.mailbox.glob("*.eml"):
        mail.unlink()
    fresh_database(servers.postgres)
    write(folder / "environment", environment)
    settings = whole(environment)
    os.environ.clear()
    os.environ.update(settings)


def _with_data(sizes: sample.Sizes, shown: show.Shown, let_in: Callable[[], None]) -> date:
    """Make the sample data, or find that it is there, and return its newest day; Ctrl-C is let in after every chunk."""
    newest = sample.dates(sizes)[-1]
    what = f"{sizes.people:,} people, {sizes.signals:,} signals up to {newest}, {sizes.topics:,} topics"
    if sample.stands(sizes):
        shown.say(f"Using the data of the last start: {what}")
        return newest
    with shown.step(f"Making {what}") as told:

        def count(what: str, done: int, total: int) -> None:
            told(what, done, total)
            let_in()

        sample.build(sizes, count)
    return newest


def _save(options: Options, programs: Programs, shown: show.Shown) -> dict[UUID, sample.Definition]:
    """Save the audiences by the public command."""
    wanted = sample.definitions(options.sizes, audiences=options.audiences, organizations=options.organizations)
    with shown.step(f"Saving {len(wanted)} audiences by `audience-worker audiences add --due-now`") as told:
        return save(wanted, programs.environment, told)


def _watched(
    saved: Mapping[UUID, sample.Definition],
    data_date: date,
    programs: Programs,
    mailbox: board.Mailbox,
    timeout: float,
    shown: show.Shown,
) -> tuple[list[board.Line], float]:
    """Show the audiences until all are done or lost, or the time is over; return how they stand, and the seconds."""
    started = time.monotonic()
    with shown.board() as update:
        while True:
            with held():
                lines = board.read(saved, data_date, mailbox)
            seconds = time.monotonic() - started
            update(lines, seconds)
            if all(line.done or line.lost for line in lines) or seconds > timeout:
                return lines, seconds
            _check(programs)
            time.sleep(1 / LOOKS_PER_SECOND)


def _check(programs: Programs) -> None:
    """Give up at once when a program is gone."""
    for name in PROGRAMS:
        if not programs.running(name):
            raise DemoFailed(f"{name} has ended. The end of {programs.log(name)}:\n{programs.all[name].tail()}")


def _summarize(
    lines: Sequence[board.Line],
    seconds: float,
    whole: float,
    folder: Path,
    environment: Mapping[str, str],
    shown: show.Shown,
) -> None:
    """Say what came of it and where it lies."""
    completed = [line for line in lines if line.state == "completed"]
    delivered = sum(line.delivered for line in lines)
    shown.say(
        f"\n{len(completed)} of {len(lines)} daily runs completed:"
        f" {sum(line.candidates for line in completed):,} candidates, {sum(line.results for line in completed):,} results."
    )
    shown.say(
        f"{delivered} mails delivered. {seconds:.1f} s from the start of the workers to the last mail"
        f" (the runs, two at a time, took {sum(line.seconds or 0 for line in completed):.1f} s); {whole:.1f} s in all."
    )
    shown.say(f"CSVs:   {folder / 'exports'}\nMails:  {folder / 'mail' / 'mailbox' / 'new'}\nLogs:   {folder / 'logs'}")
    shown.say(f"HTTP:   {_address(int(environment['WEB_PORT']))}")
    shown.say(f"Flower: {_address(int(environment['PORT']))}")


def _address(port: int) -> str:
    """Return a program's address, once it answers."""
    until = time.monotonic() + LISTEN_SECONDS
    while not taken(port) and time.monotonic() < until:
        time.sleep(0.1)
    return f"http://{HOST}:{port}" if taken(port) else "does not answer; see its log"


def _judged(lines: Sequence[board.Line], seconds: float, programs: Programs) -> bool:
    """Say which audiences are not done, and why; return whether all are."""
    missing = [line for line in lines if not line.done]
    for line in missing:
        print(f"{line.definition.organization}, {line.definition.name}: {line.why}.", file=sys.stderr)
    if missing:
        where = programs.log("worker").parent
        print(
            f"{len(missing)} of {len(lines)} audiences are not done after {seconds:.0f} s; logs: {where}",
            file=sys.stderr,
        )
    return not missing
