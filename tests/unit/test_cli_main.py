"""The top of the command line: help without settings, one sentence for whatever goes wrong, exit codes that mean it."""

import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest
import typer
from sqlalchemy.exc import OperationalError, ProgrammingError
from typer.testing import CliRunner, Result

from cli import main
from worker import clickhouse, database, errors, settings

NOWHERE = {
    "DATABASE_URL": "postgresql+psycopg://someone:secret@127.0.0.1:1/audiences",
    "REDIS_URL": "redis://127.0.0.1:1/0",
    "CLICKHOUSE_URL": "http://someone:secret@127.0.0.1:1/audiences",
    "TOKEN_KEYS": "k" * 32,
}
PROGRAM = Path(sys.executable).with_name("audience-worker")


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Start without any setting, and leave the logging of the test run alone."""
    handlers, level = logging.root.handlers[:], logging.root.level
    for name in settings.Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    forget()
    yield
    forget()
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings that lead to servers nobody started."""
    for name, value in NOWHERE.items():
        monkeypatch.setenv(name, value)


def forget() -> None:
    """Drop what this process has cached of its environment."""
    settings.current.cache_clear()
    database.engine.cache_clear()
    clickhouse.forget()


def run(*arguments: str) -> Result:
    """Run the command line in this process."""
    return CliRunner().invoke(main.app, list(arguments))


def raising(error: BaseException) -> typer.Typer:
    """Build a command line whose one noun's verb fails."""
    top = typer.Typer(cls=main.Commands)
    top.callback()(main.main)
    noun = typer.Typer()

    @noun.command()
    def verb() -> None:
        raise error

    @noun.command()
    def other() -> None:
        """Make the noun a group."""

    top.add_typer(noun, name="noun")
    return top


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["data", "--help"], ["data", "load", "--help"]])
def test_help_needs_no_settings(arguments):
    """Whoever asks what there is gets an answer on any machine."""
    result = run(*arguments)

    assert (0, "") == (result.exit_code, result.stderr)
    assert "Usage" in result.stdout


def test_version_is_the_distributions():
    """The version printed is the one installed."""
    result = run("--version")

    assert (0, version("audience-worker")) == (result.exit_code, result.stdout.strip())


def test_a_missing_setting_is_one_sentence():
    """Without an environment the first variable that is missing is named."""
    result = run("data", "status")

    assert (2, "", "DATABASE_URL is not set\n") == (result.exit_code, result.stdout, result.stderr)


@pytest.mark.parametrize("word", ["2026-05-04\x00", "a\nb", "a\x1b[31m", "a\u2028b", "\x7f", "\udcff"])
def test_control_characters_are_refused_anywhere(word):
    """No argument of any command brings a control character, a line separator or broken text in."""
    result = run("data", "ready", word)

    assert (2, "") == (result.exit_code, result.stdout)
    assert "argument 3 holds control characters" in result.stderr


def test_letters_of_every_script_are_no_control_characters():
    """What people write in names is let through to the command, which judges it."""
    result = run("data", "ready", "Ünïcode-名前-👩‍👧")

    assert "control characters" not in result.stderr


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (errors.Refusal("name: must not be empty."), 2, "name: must not be empty."),
        (errors.NotFound("There is no such run."), 2, "There is no such run."),
        (errors.ClickHouseUnavailable("at 10.0.0.7"), 1, "ClickHouse cannot be reached."),
        (OperationalError("SELECT 1", {}, Exception("10.0.0.7")), 1, main.SENTENCES[OperationalError]),
        (ProgrammingError("SELECT 1", {}, Exception("no table")), 1, main.SENTENCES[ProgrammingError]),
        (KeyError("secret"), 1, "Something unforeseen went wrong (KeyError); --debug shows where."),
    ],
)
def test_a_failure_is_one_sentence_and_an_exit_code(error, code, sentence):
    """Refusals exit with 2, everything else with 1, and no error's own text gets out."""
    result = CliRunner().invoke(raising(error), ["noun", "verb"])

    assert (code, "", f"{sentence}\n") == (result.exit_code, result.stdout, result.stderr)


def test_debug_shows_where_it_happened():
    """With --debug the error itself comes through."""
    error = errors.Refusal("no")

    result = CliRunner().invoke(raising(error), ["--debug", "noun", "verb"])

    assert error is result.exception


def test_an_interrupted_command_says_so():
    """Ctrl-C ends with the shell's own code for it."""
    result = CliRunner().invoke(raising(KeyboardInterrupt()), ["noun", "verb"])

    assert (130, "") == (result.exit_code, result.output)


def test_postgres_out_of_reach_is_named_without_its_address(nowhere):
    """A dead PostgreSQL is one sentence that carries neither host nor password."""
    result = run("migrate")

    assert (1, f"{main.SENTENCES[OperationalError]}\n") == (result.exit_code, result.output)


def test_clickhouse_out_of_reach_is_named_without_its_address(nowhere):
    """A dead ClickHouse is one sentence that carries neither host nor password."""
    result = run("data", "status")

    assert (1, "ClickHouse cannot be reached.\n") == (result.exit_code, result.output)


def test_a_misspelled_command_is_a_usage_error():
    """What does not exist exits with 2 and prints nothing to standard output."""
    result = run("dta")

    assert (2, "") == (result.exit_code, result.stdout)


def test_a_file_that_does_not_exist_is_a_usage_error(tmp_path):
    """Files are looked for before any server is."""
    result = run("data", "load", "people", str(tmp_path / "nothing.parquet"))

    assert (2, "") == (result.exit_code, result.stdout)


def test_the_program_ends_at_ctrl_c_with_130():
    """A process that waits for a silent server leaves at SIGINT, without a traceback."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/default"
        process = subprocess.Popen(
            [PROGRAM, "data", "status"],
            env={**os.environ, **NOWHERE, "CLICKHOUSE_URL": url},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        silent.settimeout(60)
        connection, _ = silent.accept()
        with connection:
            process.send_signal(signal.SIGINT)
            said = process.communicate(timeout=60)

    assert (130, (b"", b"")) == (process.returncode, said)
