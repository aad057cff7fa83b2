"""Servers whose commits wait for the disk, programs at production defaults, and the page that is written at the end."""

import copy
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
import scenarios
from clickhouse_connect.driver.client import Client
from scenarios import Site
from sqlalchemy import text

from local.programs import Programs
from local.servers import Servers
from worker.database import transaction

FILE = Path(__file__).parents[2] / "docs" / "recovery.md"
LEAD = """\
# What faults cost

`make recovery` has written this page: every number in it was measured by that run, with real processes and real
servers, at the settings' defaults unless a section says otherwise. A scenario that breaks its promise, loses a run or
completes one twice fails the run, and then nothing is written. Audiences are small on purpose (fifty people): what is measured is the engine.
"""


@dataclass
class Section:
    """A table of the page: its title, what was done, its columns, and how many rows make it whole."""

    title: str
    lead: str
    columns: Sequence[str]
    whole: int = 1
    rows: list[Sequence[str]] = field(default_factory=list)

    def text(self) -> str:
        """Write it down as Markdown."""
        lines = [self.columns, ["---"] * len(self.columns), *self.rows]
        table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        return f"## {self.title}\n{self.lead}\n\n{table}\n"


SECTIONS = {
    "kills": Section(
        "From kill -9 to the next claim",
        "Workers of one process each, every one in the middle of a query, are killed one after another over the\n"
        "third of a lease in which it is renewed; others stand by. `LANE_MAX_STATEMENTS` is raised so that all can\n"
        "run at once. The promise: two lengths of a lease, 120 s.",
        ("kills", "fastest, s", "median, s", "slowest, s"),
    ),
    "emptied": Section(
        "Redis emptied under idle workers",
        "Runs become due right after Redis was emptied, and nobody rings. The promise: the first is claimed within\n"
        "one ringing tick (5 s, and 2 s for the claim itself), and all are completed.",
        ("Redis", "runs", "first claim after, s", "all completed after, s"),
        whole=2,
    ),
    "stopped": Section(
        "SIGTERM with due runs",
        "The promise: no claim later than 1 s after the signal; nothing is left running, the rest is left queued,\n"
        "and the next worker completes it.",
        ("due runs", "last claim, s after the signal", "left queued"),
    ),
    "neighbours": Section(
        "One organization with thousands beside many with one",
        "The promise: the small ones are served before 5 % of the big one's runs have started.",
        (
            "runs of the big one",
            "others, one run each",
            "others served after, s",
            "started of the big one's by then",
        ),
    ),
    "faults": Section(
        "Faults during steady work",
        "A stream of small runs, a fault in the middle of it. *Pause*: the longest time without a completion from\n"
        "the fault's beginning on, while there was untouched work. *Queued again*: until the last run whose attempt came\n"
        "to nothing was back in the queue; a dash where there was none. The promise for both: two lengths of a lease,\n"
        "120 s, after the fault's end. Every run is completed in the end, once.",
        ("fault", "what happens", "lasts, s", "pause, s", "queued again, s", "runs"),
        whole=10,
    ),
}


class Page:
    """The tables of this session."""

    def __init__(self) -> None:
        self.sections = copy.deepcopy(SECTIONS)
        self.machine = ""

    def add(self, name: str, *values: object) -> None:
        """Add a row to a section; seconds get one place."""
        row = [f"{value:z.1f}" if isinstance(value, float) else str(value) for value in values]
        self.sections[name].rows.append(row)

    def whole(self) -> bool:
        """Whether every scenario has been measured in this session."""
        return all(len(section.rows) == section.whole for section in self.sections.values())

    def text(self) -> str:
        """Write the page down."""
        measured = [section.text() for section in self.sections.values() if section.rows]
        return "\n".join([LEAD, self.machine, *measured])


PAGE = pytest.StashKey[Page]()


def pytest_configure(config: pytest.Config) -> None:
    """Begin an empty page."""
    config.stash[PAGE] = Page()


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Write the page, if everything was measured and every promise kept."""
    page = session.config.stash[PAGE]
    if exitstatus == 0 and page.whole():
        FILE.write_text(page.text(), encoding="utf-8")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, exitstatus: int, config: pytest.Config) -> None:
    """Show the tables, and say whether they were written down."""
    page = config.stash[PAGE]
    written = exitstatus == 0 and page.whole()
    terminalreporter.write_line(f"\n{page.text()}")
    terminalreporter.write_line(f"{FILE.name} is {'written anew' if written else 'left as it was'}.")


@pytest.fixture
def page(request: pytest.FixtureRequest, stores: object) -> Page:
    """The page, with a word on the machine."""
    page = request.config.stash[PAGE]
    with transaction() as connection:
        postgres = connection.execute(text("SHOW server_version")).scalar_one().split()[0]
    memory = round(psutil.virtual_memory().total / 2**30)
    page.machine = (
        f"Measured on {os.cpu_count()} cores and {memory} GB with Python {platform.python_version()} and PostgreSQL "
        f"{postgres},\nwhose commits wait for the disk. Load of the machine at the end: {os.getloadavg()[0]:.1f}.\n"
    )
    return page


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """Servers as an operator would have them: durable."""
    folder = Path(tempfile.mkdtemp(prefix="aw-"))
    try:
        with Servers(folder) as running:
            yield running
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def site(stores: object, servers: Servers, clickhouse: Client, tmp_path: Path) -> Iterator[Site]:
    """The programs of the Procfile at production defaults, none started, and fifty people to find."""
    scenarios.small_day(clickhouse)
    with Programs(tmp_path / "logs", stores.environment) as programs:
        yield Site(servers, programs, clickhouse)
