"""``audience-worker health``: whether one worker hears its bells, for the health checks of containers."""

import socket
from typing import Annotated

import typer

from cli import output
from cli.output import ExitCode
from worker import app, hearing


def health(
    worker: Annotated[
        str,
        typer.Argument(
            metavar="WORKER",
            help="Its lane, for the worker of this machine: manual, daily, announce or control; else its name as Flower"
            " shows it, daily@host.",
        ),
    ],
    timeout: Annotated[float, typer.Option("--timeout", metavar="SECONDS", min=0.1, help="How long to wait.")] = 5,
) -> None:
    """
    Ask one worker whether it hears its bells; exit code 1 when it is deaf or does not answer.

    A worker that is idle, or has every process at work, is well. A deaf one answers pings and takes nothing from its
    queue; it is told here once bells have waited for half of DEAF_SECONDS, and ends itself after all of them.

    Example: audience-worker health daily
    """
    node = worker if "@" in worker else f"{worker}@{socket.gethostname()}"
    if not app.answers():
        _unwell(f"Redis does not answer, so {node} cannot be asked.")
    report = hearing.ask(node, seconds=timeout)
    if report is None:
        _unwell(f"{node} does not answer.")
    elif report["deaf"]:
        _unwell(f"{node} answers, but has left its bells waiting for {report['seconds']:g} s with a process free.")
    else:
        output.say(f"{node} answers and hears its bells.")


def _unwell(sentence: str) -> None:
    """Say what is wrong, and end with exit code 1."""
    output.complain(sentence)
    raise typer.Exit(ExitCode.FAILED)
