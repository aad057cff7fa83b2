"""Saving audiences by the public command, as an operator would."""

import json
import subprocess
from collections.abc import Mapping, Sequence
from typing import Final
from uuid import UUID

from local.sample import Definition
from local.show import Counted

# A command is mostly the start of an interpreter; two of them keep two cores busy.
AT_ONCE: Final = 2


class NotSaved(Exception):
    """A sample audience was refused; the sentence is the command's own."""


def save(wanted: Sequence[Definition], environment: Mapping[str, str], told: Counted) -> dict[UUID, Definition]:
    """
    Save audiences, active and due now, and return them by their new ids.

    :param environment: what the command finds in its environment, whole
    :raises NotSaved: with what the command said
    """
    saved: dict[UUID, Definition] = {}
    for first in range(0, len(wanted), AT_ONCE):
        some = wanted[first : first + AT_ONCE]
        saved.update(zip(_added(some, environment), some, strict=True))
        told("audiences", len(saved), len(wanted))
    return saved


def _added(some: Sequence[Definition], environment: Mapping[str, str]) -> list[UUID]:
    """Run the command for some audiences at once; none of them outlives this call."""
    started = [
        subprocess.Popen(
            _command(definition),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            text=True,
        )
        for definition in some
    ]
    try:
        return [_answer(command, definition) for command, definition in zip(started, some, strict=True)]
    finally:
        for command in started:
            with command:
                command.kill()


def _command(definition: Definition) -> list[str]:
    """Write the command that saves one audience; its config comes by standard input."""
    options = {
        "--organization": str(definition.organization_id),
        "--name": definition.name,
        "--timezone": definition.timezone,
        "--cron": definition.cron,
    }
    words = [word for pair in options.items() for word in pair]
    notified = [word for address in definition.recipients for word in ("--notify", address)]
    return ["audience-worker", "audiences", "add", "-", "--active", "--due-now", *words, *notified]


def _answer(command: "subprocess.Popen[str]", definition: Definition) -> UUID:
    """Wait for the id that the command prints."""
    said, complained = command.communicate(json.dumps(definition.config))
    if command.returncode:
        raise NotSaved(f"{definition.organization}, {definition.name} cannot be saved: {complained.strip()}")
    return UUID(said.strip())
