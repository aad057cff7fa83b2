"""
The commands of the pages that no other test runs as they stand there: each is run here, or listed with why it is not.

They run in this process, page by page, over real stores: those of the README's own data first.
"""

import json
import re
import shlex
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from uuid import UUID

import commands
import polars as pl
import pytest
from beside import beside, ended
from builders import MONDAY, TUESDAY, end, held, run_row, saved
from clickhouse_connect.driver.client import Client
from commandline import command
from scenarios import awaited

from local.programs import Programs
from worker import announce, drain, errors, loads, runs, settings, storage, ticked
from worker.database import transaction

DAY = datetime.now(UTC).date() - timedelta(days=1)
PEOPLE = [sha256(f"person-{number}".encode()).hexdigest() for number in range(60)]
TICKS = ("ring", "queue_daily_runs", "watch_data", "rescue", "rescue_announcements")

ROOT = Path(__file__).parents[2]
OWN_DATA = "## Your own data"
# The sections whose blocks tests of their own run as they stand: test_walk.py and test_runbook.py.
WALK = "## For API clients"
RUNBOOK = "## Six tasks, as commands"

# A command that is not run here: the test that runs it, or why none does.
LISTED = {
    "audience-worker data load …": "names the family; the README's three forms of it run here",
    "honcho start beat control worker manual announce web flower": "runs until it is stopped; tests/acceptance/"
    "test_walk.py starts lines of the Procfile, and tests/tools/test_flower.py Flower's",
    "celery -A worker.app control shutdown --destination daily@host": "ends a worker of another machine;"
    " tests/acceptance/test_runbook.py ends one of this machine",
    "cp .env.example .env": "would replace the developer's own; tests/test_packaging.py reads the example",
    "docker-compose config": "needs a Debian package; tests/tools/test_compose.py runs it",
    "docker-compose up --build --detach": "needs a container engine; tests/tools/test_compose.py reads its services",
    "docker stop": "needs a container engine; tests/acceptance/test_worker_ends.py sends its signal",
}
# Celery's own probe of beat; it is run as a process, beside the workers that ``audience-worker health`` asks.
PING = "celery -A scheduler.beat inspect ping -d beat@$HOSTNAME --timeout 5"

CI = ".ci/run makes it, test by way of check"
BENCH = "runs for minutes; tests/integration/test_benchmarks.py asks each what it takes, and runs one in small"
# A target of the Makefile that a page names, likewise.
TARGETS = {
    "test": CI,
    "check": CI,
    "check-tools": CI,
    "demo": "tests/acceptance/test_demo.py runs its command",
    "up": "runs until Ctrl-C; tests/integration/test_local_servers.py runs its command",
    "docs": "writes a page; tests/unit/test_documents.py holds the page to what its command prints",
    "format": "changes the developer's files; .ci/run checks that it would change none",
    "lock": "resolves from a registry; tests/test_packaging.py holds what it wrote to pyproject.toml",
    "mutants": "runs for minutes; tests/unit/test_mutants.py holds its list to the code",
    "chaos": "runs for minutes; tests/chaos/test_command.py starts it, tests/chaos/test_storm.py is its short form",
    "recovery": "runs for half an hour; tests/acceptance/test_recovery.py is its short form",
    "plans": "runs for minutes; tests/integration/test_claim_plans.py is what it runs, over fewer runs",
    **dict.fromkeys(("bench", "bench-materialize", "bench-day", "bench-queue"), BENCH),
    **dict.fromkeys(("bench-engine", "bench-recover", "bench-export"), BENCH),
    **dict.fromkeys(("bench-http", "bench-rows"), "runs for minutes; no test runs it"),
}
RUN_HERE = {"help"}
PROGRAMS = ("audience-worker", "honcho", "celery", "cp", "docker-compose", "docker", "curl", "kubectl", "apt-get")


def _section(page: Path, heading: str) -> str:
    """Cut a section out of a page."""
    return re.split(r"\n## ", page.read_text(encoding="utf-8").split(f"\n{heading}\n")[1])[0]


def _carried() -> set[str]:
    """Return the blocks that other tests run."""
    sections = _section(ROOT / "README.md", WALK), _section(ROOT / "docs" / "operations.md", RUNBOOK)
    return {block for section in sections for language, block in commands.FENCES.findall(section) if language == "bash"}


def _documented(program: str) -> list[str]:
    """Return each different call of a program, as it is typed, in the order of the pages."""
    calls = [(program, *words) for _, words in commands.calls(program, _carried())]
    return list(dict.fromkeys(" ".join(f'"{word}"' if " " in word else word for word in call) for call in calls))


def _is_probe(line: str) -> bool:
    """Whether a command asks a live process."""
    return line == PING or line.startswith("audience-worker health ")


def _undrawn(blocks: list[str]) -> list[str]:
    """Leave drawings out."""
    return [block for block in blocks if not re.search("[─│]", block)]


def test_every_command_of_the_pages_is_run_or_listed():
    """A command that nobody runs is in the table with its reason; the table names nothing else, and tests that exist."""
    lines = [line for program in PROGRAMS for line in _documented(program)]
    ours = {line for line in lines if line.startswith("audience-worker ") and "…" not in line}
    targets = {words[0] for _, words in commands.calls("make")}
    named = re.findall(r"tests/[\w/]+\.py", " ".join([*LISTED.values(), *TARGETS.values()]))

    assert set(lines) - ours - {PING} == set(LISTED)
    assert targets - RUN_HERE == set(TARGETS)
    assert [] == [name for name in named if not (ROOT / name).is_file()]
    assert {"make check", "make check-tools"} <= set((ROOT / ".ci/run").read_text(encoding="utf-8").splitlines())


def test_every_line_of_a_block_begins_with_a_program_that_is_known_here():
    """A page that shows a program nobody thought of is noticed."""
    blocks = [block for page in commands.PAGES for block in _undrawn(commands.blocks(page)) if block not in _carried()]
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    first = {line.split()[0] for line in lines if line.strip() and not line.lstrip().startswith("#")}

    assert first <= {*PROGRAMS, "make"}


def test_the_runbook_and_the_walk_are_followed_whole():
    """Each block under the six tasks is followed once; the walk is one block."""
    runbook = _section(ROOT / "docs" / "operations.md", RUNBOOK)
    tasks = re.split(r"^### ", runbook, flags=re.MULTILINE)[1:]
    held = [task.splitlines()[0] for task in tasks for _ in commands.FENCES.findall(task)]
    source = (ROOT / "tests" / "acceptance" / "test_runbook.py").read_text(encoding="utf-8")

    assert sorted(held) == sorted(re.findall(r'night\.follow\("([^"]+)"', source))
    assert 7 == len(held)


def test_make_help_lists_the_targets():
    """The one target that is run here names all the others that pages name."""
    told = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout

    assert [] == [target for target in TARGETS if f"  make {target} " not in told]


class World:
    """What the commands are about: the README's files and audience, and runs in the state that a verb asks for."""

    def __init__(self, clickhouse: Client) -> None:
        self.clickhouse = clickhouse
        # What stands in capitals in the pages, and the README's day.
        self.words = {
            "2026-11-22": str(DAY),
            "DATE": str(DAY),
            "FILE": "audience.json",
            "UUID": str(UUID(int=1)),
            "NAME": "Somebody",
            "HASHED_EMAIL": PEOPLE[1],
        }
        self.scenes: dict[str, Callable[[], UUID]] = {
            "runs retry": _failed,
            "runs release": _running,
            "runs publish": _held_back,
            "exports new": lambda: beside(self.clickhouse, range(5), range(2, 9))[1],
        }

    def prepared(self, line: str) -> list[str]:
        """Set the scene for a command, and return its words with real things in the place of capitals."""
        _work()
        words = shlex.split(line)[1:]
        scene = self.scenes.get(" ".join(words[:2]))
        of_the_run = dict.fromkeys(("RUN_ID", "ID"), str(scene())) if scene else {}
        return [{**self.words, **of_the_run}.get(word, word) for word in words]

    def learn(self, words: list[str], printed: str) -> None:
        """Remember the ids that commands of the README print for the commands after them."""
        if words[:2] == ["audiences", "add"]:
            self.words["AUDIENCE_ID"] = printed.strip()
        if words[:2] == ["runs", "queue"] and "--all" not in words:
            self.words |= dict.fromkeys(("RUN_ID", "ID"), printed.strip())


def _work() -> None:
    """Let the ticks pass and the workers look for work."""
    with transaction() as connection:
        for tick in TICKS:
            ticked.take(connection, tick, period_seconds=5)
    loads.watch()
    for lane in ("manual", "daily"):
        drain.drain(lane, f"{lane}@here")
    announce.announce("announce@here", seconds=30, stopping=lambda: False)


def _running() -> UUID:
    """Let a worker hold a run."""
    return held(saved(now=None), now=None, due_at=datetime.now(UTC), data_date=DAY).run_id


def _failed() -> UUID:
    """Let a run fail."""
    claim = held(saved(now=None), now=None, run_type="manual", data_date=DAY)
    end(runs.set_back, claim, errors.ConfigRefused(), settings.current().retry_policy, now=None)
    return claim.run_id


def _held_back() -> UUID:
    """Let a run find nobody where the one before found thirty people."""
    audience_id = saved(now=None)
    ended(audience_id, None, range(30), data_date=MONDAY)
    return ended(audience_id, None, range(0), hold=True, data_date=TUESDAY)


@pytest.fixture
def world(clickhouse, tmp_path, monkeypatch) -> Iterator[World]:
    """Stand in a folder with the files of the README; its audience is the one that the page shows."""
    monkeypatch.chdir(tmp_path)
    storage.forget()
    [definition] = re.findall(r"^```json\n(.*?)^```$", _section(ROOT / "README.md", OWN_DATA), re.DOTALL | re.MULTILINE)
    Path("audience.json").write_text(json.dumps(json.loads(definition)), encoding="utf-8")
    known = {"seniority": ["director"], "job_title": ["Head of Marketing"], "business_email": ["ann@example.com"]}
    columns = {name: value * len(PEOPLE) for name, value in known.items()}
    pl.DataFrame({"hashed_email": PEOPLE, **columns}).write_parquet("people.parquet")
    signals = {"data_date": DAY, "topic_id": 4, "hashed_email": PEOPLE, "score": 80}
    pl.DataFrame(signals).with_columns(pl.col("score", "topic_id").cast(pl.Int64)).write_parquet("signals.parquet")
    pl.DataFrame({"topic_id": [4, 12], "name": ["Four", "Twelve"]}).write_csv("topics.csv")
    yield World(clickhouse)
    storage.forget()


def test_the_commands_of_the_pages_do_what_they_say(world):
    """Each command ends with 0 and says something; in the end the README's run holds everybody but who was erased."""
    lines = [line for line in _documented("audience-worker") if line not in LISTED and not _is_probe(line)]
    for line in lines:
        words = world.prepared(line)
        left = [word for word in words if re.fullmatch("[A-Z][A-Z_]+", word)]
        result = command(*words)
        assert ([], 0) == (left, result.exit_code), f"{line}\n{result.output}"
        assert result.stdout.strip(), line
        world.learn(words, result.stdout)

    run = run_row(UUID(world.words["RUN_ID"]))
    assert ("completed", len(PEOPLE) - 1) == (run["status"], run["result_count"])
    assert 30 < len(lines)


def test_the_probes_of_the_pages_are_answered(stores, tmp_path):
    """Workers and beat, each started by its line of the Procfile, answer what the pages ask them."""
    fast = {"DAILY_CONCURRENCY": "1", "ANNOUNCE_CONCURRENCY": "1"}
    with Programs(tmp_path / "logs", {**stores.environment, **fast}) as programs:
        programs.start(["worker", "announce", "control", "beat"])
        for line in filter(_is_probe, _documented("audience-worker")):
            words = ["daily" if word == "LANE" else word for word in shlex.split(line)[1:]]
            awaited(lambda words=words: 0 == command(*words).exit_code, 60, line)
        asked = subprocess.run(
            ["bash", "-c", PING], cwd=ROOT, env=programs.environment, capture_output=True, text=True, check=False
        )

    assert 0 == asked.returncode, asked.stdout + asked.stderr
    assert "pong" in asked.stdout
