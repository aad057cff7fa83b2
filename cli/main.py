"""
``audience-worker``: the operator's command line, a file a noun.

Exit codes: 0 done, 1 a server or a program failed, 2 refused, 130 interrupted. Whatever goes wrong is one plain
sentence on standard error; ``--debug`` adds where it happened.
"""

import sys
import unicodedata
from collections.abc import Mapping
from importlib.metadata import version
from typing import Annotated, Any, Final

import typer
from sqlalchemy.exc import InterfaceError, OperationalError, ProgrammingError
from typer.core import TyperGroup

from cli import (
    audiences,
    audit,
    data,
    demo,
    doctor,
    emails,
    exports,
    health,
    keys,
    organizations,
    output,
    people,
    report,
    runs,
    settings,
    workers,
)
from cli.output import ExitCode
from worker import log, migrate
from worker.errors import AttemptError, ClickHouseMisconfigured, Refusal

UNMIGRATED: Final = "If this is a new deployment, run: audience-worker migrate"
SENTENCES: Final[Mapping[type[Exception], str]] = {
    OperationalError: "PostgreSQL cannot be reached, or cannot answer now.",
    InterfaceError: "PostgreSQL cannot be reached.",
    ProgrammingError: f"PostgreSQL does not know this statement. {UNMIGRATED}",
    ClickHouseMisconfigured: f"ClickHouse refused the statement. {UNMIGRATED}",
}


class Commands(TyperGroup):
    """The top of the command line: no argument holds control characters, and every failure is one sentence."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Refuse control characters and broken text anywhere on the line, then parse."""
        for position, word in enumerate(args, start=1):
            if any(unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") for letter in word):
                raise typer.BadParameter(f"argument {position} holds control characters.", ctx=ctx)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run the command and turn what it raises into a sentence and an exit code."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise typer.Exit(ExitCode.INTERRUPTED) from None
        except (typer.Exit, typer.Abort, typer.TyperException):
            raise
        except Exception as error:
            if ctx.params.get("debug"):
                raise
            output.complain(explain(error))
            raise typer.Exit(ExitCode.REFUSED if isinstance(error, Refusal) else ExitCode.FAILED) from None


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Recomputes every saved audience once a day. Settings are read from the environment.",
)
app.command("doctor")(doctor.doctor)
app.command("health")(health.health)
app.command("report")(report.report)
app.command("demo")(demo.demo)
app.command("settings")(settings.settings)
app.add_typer(data.app, name="data")
app.add_typer(audiences.app, name="audiences")
app.add_typer(runs.app, name="runs")
app.add_typer(emails.app, name="emails")
app.add_typer(exports.app, name="exports")
app.add_typer(organizations.app, name="organizations")
app.add_typer(workers.app, name="workers")
app.add_typer(keys.app, name="keys")
app.add_typer(audit.app, name="audit")
app.add_typer(people.app, name="people")


@app.callback()
def main(
    debug: Annotated[bool, typer.Option("--debug", help="Show where a failure happened, and every log line.")] = False,
    show_version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=lambda on: _version() if on else None, help="Print it.")
    ] = False,
) -> None:
    """Set up what every command needs; it reads no settings."""
    del show_version
    log.configure("console", "DEBUG" if debug else "CRITICAL")


@app.command("migrate")
def migrate_stores() -> None:
    """Bring PostgreSQL and ClickHouse to the schema of this version; again is harmless."""
    migrate.migrate()
    output.say("PostgreSQL and ClickHouse are up to date.")


def explain(error: Exception) -> str:
    """Return one plain sentence for a failure, without hosts, values or personal data."""
    for kind, sentence in SENTENCES.items():
        if isinstance(error, kind):
            return sentence
    if isinstance(error, Refusal):
        return str(error)
    if isinstance(error, AttemptError):
        return error.sentence
    return f"Something unforeseen went wrong ({type(error).__name__}); --debug shows where."


def _version() -> None:
    """Print the version and stop."""
    output.say(version("audience-worker"))
    raise typer.Exit


if __name__ == "__main__":
    sys.exit(app())
