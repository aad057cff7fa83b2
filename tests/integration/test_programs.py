"""The programs of a Procfile: how they are started, stopped, killed, and what becomes of them without their owner."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from honcho.environ import parse_procfile

from local.guarded import StartFailed
from local.programs import PROCFILE, Program, Programs

ROOT = Path(__file__).parents[2]

# A parent with one child; each writes down the signals it gets, and the parent waits for its child.
FAMILY = """
import os, signal, sys, time
folder, stubborn = sys.argv[1], len(sys.argv) > 2
child = os.fork()
name = "parent" if child else "child"
def note(number, _):
    with open(f"{folder}/{name}.signals", "a") as file:
        file.write(f"{number} ")
    if child and not stubborn:
        os.kill(child, signal.SIGKILL)
        sys.exit(0)
signal.signal(signal.SIGTERM, note)
with open(f"{folder}/{name}.pid", "w") as file:
    file.write(str(os.getpid()))
while True:
    time.sleep(60)
"""


@pytest.fixture
def procfile(tmp_path):
    """A Procfile of three programs: a family, a stubborn one, and one that prints and ends."""
    (tmp_path / "family.py").write_text(FAMILY)
    line = f"exec {sys.executable} {tmp_path}/family.py {tmp_path}"
    file = tmp_path / "Procfile"
    file.write_text(f"# comment\nfamily: {line}\nstubborn: {line} yes\nsay: echo $WORD $DATABASE_URL; pwd; exec true\n")
    return file


@pytest.fixture
def programs(procfile, tmp_path):
    """The programs of that Procfile."""
    with Programs(tmp_path / "logs", {"WORD": "given"}, procfile=procfile) as programs:
        yield programs


def awaited(true, seconds: float = 20):
    """Wait until a condition comes true, and return it."""
    until = time.monotonic() + seconds
    while not true() and time.monotonic() < until:
        time.sleep(0.02)
    return true()


def family(folder: Path) -> list[int]:
    """The process ids of parent and child, once both are set up."""
    files = [folder / "parent.pid", folder / "child.pid"]
    assert awaited(lambda: all(file.exists() and file.read_text() for file in files))
    return [int(file.read_text()) for file in files]


def alive(pids: list[int]) -> list[int]:
    """Those of the processes that still run."""
    return [pid for pid in pids if psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE]


def test_every_line_of_the_projects_procfile_gives_way_to_its_program():
    """A shell in between would swallow the signals."""
    lines = parse_procfile(PROCFILE.read_text()).processes

    assert {"worker", "manual", "announce", "control", "beat", "web", "flower", "release"} == set(lines)
    assert [] == [line for line in lines.values() if not line.startswith("exec ")]


def test_a_program_finds_the_given_settings_and_none_of_its_owner(programs, monkeypatch):
    """What the owner's own environment says of servers does not leak; the clone is the working directory."""
    monkeypatch.setenv("DATABASE_URL", "postgresql+psycopg://somebody@else/1")
    programs.start(["say"])
    awaited(lambda: not programs.running("say"))

    assert ["given", str(ROOT)] == programs.log("say").read_text().split()


def test_the_process_id_is_the_programs_own(programs, tmp_path):
    """No shell stands between."""
    programs.start(["family"])

    assert family(tmp_path)[0] == programs.pid("family")


def test_stop_asks_the_main_process_alone(programs, tmp_path):
    """Pool processes hear of it from their parent, as under any platform."""
    programs.start(["family"])
    pids = family(tmp_path)
    programs.stop()

    assert [] == alive(pids)
    assert f"{int(signal.SIGTERM)}" == (tmp_path / "parent.signals").read_text().strip()
    assert not (tmp_path / "child.signals").exists()


def test_who_outstays_the_grace_is_killed_with_its_children(programs, tmp_path, monkeypatch):
    """SIGTERM first, SIGKILL for the whole group later."""
    monkeypatch.setattr(Program, "grace_seconds", 0.3)
    programs.start(["stubborn"])
    pids = family(tmp_path)
    programs.stop(["stubborn"])

    assert [] == alive(pids)
    assert f"{int(signal.SIGTERM)}" == (tmp_path / "parent.signals").read_text().strip()


def test_kill_takes_the_pool_processes_along_and_asks_nobody(programs, tmp_path):
    """The loss of a machine spares no child."""
    programs.start(["family"])
    pids = family(tmp_path)
    programs.kill("family")

    assert ([], False) == (alive(pids), programs.running("family"))
    assert not (tmp_path / "parent.signals").exists()


def test_a_restarted_program_is_another_process_with_the_same_log(programs):
    """The log tells of every start."""
    programs.start(["family"])
    before = programs.pid("family")
    programs.restart("family")

    assert programs.running("family")
    assert before != programs.pid("family")


def test_a_folder_runs_a_program_once(programs, procfile, tmp_path, monkeypatch):
    """A second owner of the same folder is refused, and the first goes on."""
    monkeypatch.setattr(Program, "lock_seconds", 0.2)
    programs.start(["family"])
    with pytest.raises(StartFailed) as failure, Programs(tmp_path / "logs", {}, procfile=procfile) as second:
        second.start(["family"])

    assert f"family cannot start: another one is running in {tmp_path / 'logs'}." == str(failure.value)
    assert programs.running("family")


def test_nothing_outlives_an_owner_that_is_killed(procfile, tmp_path):
    """Kill -9 of whoever started them ends the programs too."""
    owner = subprocess.Popen([sys.executable, "-c", OWNER, str(procfile), str(tmp_path / "logs")], cwd=ROOT)
    pids = family(tmp_path)
    owner.kill()
    owner.wait()

    assert awaited(lambda: not alive(pids))


OWNER = """
import signal, sys
from pathlib import Path
from local.programs import Programs
with Programs(Path(sys.argv[2]), {}, procfile=Path(sys.argv[1])) as programs:
    programs.start(["family"])
    signal.pause()
"""


def test_without_a_procfile_nothing_is_started(tmp_path):
    """An installed wheel has none, and the sentence says so."""
    with pytest.raises(StartFailed, match="the programs are started from a clone of the project"):
        Programs(tmp_path, {}, procfile=tmp_path / "Procfile")
