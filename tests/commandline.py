"""The command line in this process, for tests that look at what it says."""

import logging

import pytest
from typer.testing import CliRunner, Result

from cli.main import app
from worker import clickhouse, settings


def command(*arguments: object, text: bytes | None = None) -> Result:
    """Run a command, and put the logging of the test run back."""
    handlers, level = logging.root.handlers[:], logging.root.level
    try:
        return CliRunner().invoke(app, [str(argument) for argument in arguments], input=text)
    finally:
        logging.root.handlers[:] = handlers
        logging.root.setLevel(level)


def done(*arguments: object) -> str:
    """Run a command that must succeed without a murmur, and return what it printed."""
    result = command(*arguments)
    assert (result.exit_code, result.stderr) == (0, ""), result.output
    return result.stdout


def sentence(result: Result) -> str:
    """Return the one sentence of a refusal that printed nothing else."""
    assert (result.exit_code, result.stdout) == (2, ""), result.output
    [line] = result.stderr.splitlines()
    return line


def pointed(patch: pytest.MonkeyPatch, **variables: str) -> None:
    """Change settings in the middle of a test; the fixture that made the stores forgets them again."""
    for name, value in variables.items():
        patch.setenv(name, value)
    settings.current.cache_clear()
    clickhouse.forget()
