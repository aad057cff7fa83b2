"""
The demo as a stranger runs it: a command in a folder of its own, judged by what it leaves behind.

The sizes are small unless the environment says otherwise (DEMO_PEOPLE, DEMO_SIGNALS, DEMO_AUDIENCES, DEMO_SECONDS).
"""

import csv
import io
import os
import shlex
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import clickhouse_connect
import oracle
import polars as pl
import psutil
import psycopg
import pytest
from psycopg.rows import dict_row

PEOPLE = os.environ.get("DEMO_PEOPLE", "20000")
SIGNALS = os.environ.get("DEMO_SIGNALS", "120000")
AUDIENCES = int(os.environ.get("DEMO_AUDIENCES", "25"))
SECONDS = os.environ.get("DEMO_SECONDS", "180")
SIZES = ["--people", PEOPLE, "--signals", SIGNALS, "--timeout", SECONDS]
COMMAND = str(Path(sys.executable).parent / "audience-worker")

pytestmark = pytest.mark.timeout(1200)

DAILY_RUNS = """
SELECT a.config, a.notify_emails, r.id, r.status, r.data_date, r.candidate_count, r.result_count,
    e.status AS export_status, e.row_count, array_agg(m.message_id ORDER BY m.recipient) AS message_ids
FROM audiences a
LEFT JOIN runs r ON r.audience_id = a.id AND r.run_type = 'daily'
LEFT JOIN exports e ON e.run_id = r.id
LEFT JOIN ready_emails m ON m.run_id = r.id AND m.status = 'sent'
GROUP BY a.id, r.id, e.id
"""


@dataclass(frozen=True)
class Left:
    """What a demo printed and left behind."""

    folder: Path
    output: str
    exit_code: int
    processes: list[str]
    runs: list[dict[str, Any]]
    people: pl.DataFrame
    signals: pl.DataFrame
    mails: Counter[tuple[str, str]]


@pytest.fixture(scope="module")
def folder():
    """A new folder that PostgreSQL's own user may enter."""
    with tempfile.TemporaryDirectory(prefix="demo-") as name:
        yield Path(name).resolve() / "demo"


@pytest.fixture(scope="module")
def left(folder):
    """A demo that was kept up to be looked into, and then stopped by Ctrl-C."""
    demo = start(folder, *SIZES, "--audiences", str(AUDIENCES), "--keep")
    lines = []
    for line in demo.stdout:
        lines.append(line)
        if line.startswith("Everything stays up"):
            break
    else:
        pytest.fail(f"The demo ended:\n{''.join(lines)}")
    runs, people, signals = look_into(folder)
    demo.send_signal(signal.SIGINT)
    code, said = ended(demo, seconds=120)
    return Left(folder, "".join([*lines, said]), code, naming(folder), runs, people, signals, mails(folder))


def start(folder: Path, *options: str) -> subprocess.Popen[str]:
    """Start a demo in a folder; what it prints and complains of comes as one stream."""
    command = [COMMAND, "demo", "--folder", str(folder), *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finished(folder: Path, *options: str) -> tuple[int, str]:
    """Run a demo to its end: its exit code, and what it said."""
    return ended(start(folder, *options), seconds=600)


def ended(demo: subprocess.Popen[str], *, seconds: float) -> tuple[int, str]:
    """Wait for the end of a demo: its exit code, and the rest of what it said."""
    try:
        said = demo.communicate(timeout=seconds)[0]
    except subprocess.TimeoutExpired:
        demo.kill()
        pytest.fail(f"The demo has not ended after {seconds:g} s. It said:\n{demo.communicate()[0]}")
    return demo.returncode, said


def look_into(folder: Path) -> tuple[list[dict[str, Any]], pl.DataFrame, pl.DataFrame]:
    """Read the daily runs, and the people and signals of the newest day, from the servers of a demo that is up."""
    lines = (folder / "environment").read_text().splitlines()
    words = dict(shlex.split(line)[1].split("=", 1) for line in lines)
    address = words["DATABASE_URL"].replace("+psycopg", "")
    with psycopg.connect(address, row_factory=dict_row) as session:
        runs = session.execute(DAILY_RUNS).fetchall()
    columns = ", ".join(sorted({"hem_hash", "hashed_email", *oracle.COLUMNS.values()}))
    with clickhouse_connect.get_client(dsn=words["CLICKHOUSE_URL"]) as client:
        people = frame(client, f"SELECT {columns} FROM people")
        newest = "data_date = (SELECT max(data_date) FROM intent_signals)"
        signals = frame(client, f"SELECT data_date, topic_id, hem_hash, score FROM intent_signals WHERE {newest}")
    return runs, people, signals.with_columns(pl.lit(runs[0]["data_date"]).alias("data_date"))


def frame(client, sql: str) -> pl.DataFrame:
    """Read rows of ClickHouse into polars."""
    return pl.read_parquet(io.BytesIO(client.raw_query(sql, fmt="Parquet")))


def mails(folder: Path) -> Counter[tuple[str, str]]:
    """How often each mail went to each recipient, by Message-ID and envelope."""
    files = (folder / "mail" / "mailbox" / "new").glob("*.eml")
    received = [message_from_bytes(file.read_bytes(), policy=policy.default) for file in files]
    return Counter((mail["Message-ID"], address) for mail in received for address in mail.get_all("X-RcptTo"))


def naming(folder: Path) -> list[str]:
    """The processes that work in a folder, name it, or find it in their environment."""
    found = []
    for process in psutil.process_iter():
        try:
            words = [process.cwd(), *process.cmdline(), *process.environ().values()]
        except psutil.Error:
            continue
        if any(str(folder) in word for word in words):
            found.append(" ".join(process.cmdline()))
    return found


def rows_of_csv(folder: Path, run_id: object) -> list[int]:
    """How many rows each stored CSV of a run holds, its heading not counted."""
    counts = []
    for file in (folder / "exports" / str(run_id)).glob("*.csv"):
        with file.open(newline="", encoding="utf-8") as text:
            counts.append(sum(1 for _ in csv.reader(text)) - 1)
    return counts


def test_every_audience_has_its_daily_run_completed(left):
    """As many runs as audiences, all of the same newest day, and the summary says so."""
    assert ["completed"] * AUDIENCES == [run["status"] for run in left.runs], left.output
    assert 1 == len({run["data_date"] for run in left.runs})
    assert f"{AUDIENCES} of {AUDIENCES} daily runs completed" in left.output


def test_every_count_equals_the_oracles(left):
    """Candidates and results of each run are those that an independent implementation finds in the same rows."""
    found = [(run["candidate_count"], run["result_count"]) for run in left.runs]

    assert [oracle.counts(run["config"], run["data_date"], left.people, left.signals) for run in left.runs] == found
    assert any(results for _, results in found)


def test_every_csv_holds_the_results_of_its_run(left):
    """One stored file a run, with a row a result."""
    assert {"completed"} == {run["export_status"] for run in left.runs}
    assert [[run["result_count"]] for run in left.runs] == [rows_of_csv(left.folder, run["id"]) for run in left.runs]


def test_every_reader_got_every_mail_once(left):
    """The mailbox holds exactly the mails that the runs' audiences have readers for."""
    pairs = [(run["message_ids"], sorted(run["notify_emails"])) for run in left.runs]
    wanted = Counter(pair for ids, readers in pairs for pair in zip(ids, readers, strict=True))

    assert wanted == left.mails
    assert {1} == set(left.mails.values())


def test_ctrl_c_ends_everything_that_was_started(left):
    """No server, worker or guard outlives the demo."""
    assert (130, []) == (left.exit_code, left.processes)
    assert "Everything that was started has been stopped." in left.output


def test_the_second_start_goes_on_with_the_data_and_begins_anew_otherwise(left):
    """Nothing is made twice, and the mailbox holds the mails of this start alone."""
    code, said = finished(left.folder, *SIZES, "--audiences", "2")

    assert (0, []) == (code, naming(left.folder)), said
    assert "Using the data of the last start" in said
    assert "2 of 2 daily runs completed" in said
    assert 3 == mails(left.folder).total()


def test_who_is_not_done_in_time_is_named_and_the_exit_code_says_so(left):
    """Without the time to work there is a sentence an audience, and exit code 1."""
    code, said = finished(left.folder, "--people", PEOPLE, "--signals", SIGNALS, "--audiences", "1", "--timeout", "1")

    assert (1, []) == (code, naming(left.folder)), said
    assert "Alder Analytics, Marketing leaders: it has no daily run." in said
    assert "1 of 1 audiences are not done after" in said


def test_ctrl_c_while_data_is_made_leaves_nothing_behind(folder):
    """Half a sample is no reason to stay, and the next start does not take it for a whole one."""
    other = folder.parent / "other"
    demo = start(other, "--people", "2000000", "--signals", "1000000")
    for line in demo.stdout:
        if line.startswith("Making"):
            break
    demo.send_signal(signal.SIGINT)
    code, said = ended(demo, seconds=120)

    assert (130, ["Everything that was started has been stopped."], []) == (code, said.splitlines()[-1:], naming(other))


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path):
    """The demo clears up after itself, and must not take other people's files for its own."""
    (tmp_path / "exports").mkdir()
    (tmp_path / "exports" / "mine.csv").write_text("mine")
    code, said = finished(tmp_path)

    assert (1, f"{tmp_path} holds something else already; choose another --folder.\n") == (code, said)
    assert "mine" == (tmp_path / "exports" / "mine.csv").read_text()


def test_without_the_extra_the_command_says_what_to_install():
    """A production install lacks the servers, and one sentence names the extra."""
    program = "import sys; sys.modules['honcho'] = None; from cli.main import app; app(['demo'])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert (2, "") == (done.returncode, done.stdout)
    assert "Install the extra: pip install 'audience-worker[local]'" in done.stderr
