"""``audience-worker settings``: every environment variable, what it means and what it is unless set."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, get_args, get_origin

import typer
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from cli import output
from worker.settings import Settings

GROUPS: Final[Mapping[str, str]] = {
    "database_url": "Servers",
    "log_format": "Logs",
    "lease_seconds": "Leases and retries",
    "drain_seconds": "Workers and lanes",
    "ring_seconds": "Ticks",
    "query_seconds": "ClickHouse statements and drains",
    "snapshot_retention_days": "Retention",
    "anomaly_factor": "Anomalies",
    "storage_url": "Files",
    "mail_url": "Mails",
    "web_host": "The HTTP side",
    "jwt_algorithm": "Bearer tokens",
}
"""The first setting of each group, in their order, and the group's name."""

UNITS: Final = ("seconds", "days", "hours", "bytes")
BOUNDS: Final[Mapping[str, str]] = {"ge": "{} or more", "gt": "more than {}", "le": "at most {}"}

LEAD: Final = """\
# Configuration

Every setting is an environment variable; an empty one counts as not set. What cannot work is refused at boot, in one
sentence that names the variable. All processes of a deployment get the same settings. Secrets show no default.

`make docs` writes this page from `worker/settings.py`; `audience-worker settings` prints the same in a terminal.
[Deploying](deploy.md) says which settings belong together and how large they should be.
"""


@dataclass(frozen=True, slots=True)
class Setting:
    """
    One environment variable.

    :param takes: its unit, or the values it may have, and its bounds
    :param default: None for one that must be set, and for every secret
    """

    name: str
    meaning: str
    takes: str
    required: bool
    default: str | None


def settings(
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the page docs/configuration.md.")] = False,
) -> None:
    """List every setting: what it means, its unit, what it is unless set. It reads no settings."""
    if markdown:
        output.say(page().removesuffix("\n"))
        return
    for group, members in listed().items():
        cells = [(one.name, one.takes, _said(one), one.meaning) for one in members]
        output.show_table(("variable", "takes", "unless set", "meaning"), cells, title=group)


def listed() -> Mapping[str, Sequence[Setting]]:
    """Return the settings by group, in the order of ``worker/settings.py``."""
    groups: dict[str, list[Setting]] = defaultdict(list)
    group = ""
    for name, field in Settings.model_fields.items():
        group = GROUPS.get(name, group)
        groups[group].append(_setting(name, field))
    return groups


def page() -> str:
    """Write the settings as Markdown, a table a group."""
    parts = [LEAD]
    for group, members in listed().items():
        rows = [f"| `{one.name}` | {one.takes} | {_code(one)} | {_escaped(one.meaning)} |" for one in members]
        head = ["| variable | takes | unless set | meaning |", "|---|---|---|---|"]
        parts.append("\n".join([f"## {group}", "", *head, *rows, ""]))
    return "\n".join(parts)


def _setting(name: str, field: FieldInfo) -> Setting:
    """Say what there is to say about one field."""
    secret = field.annotation is SecretStr
    hidden = field.is_required() or secret
    default = None if hidden else str(field.default).lower() if field.annotation is bool else str(field.default)
    takes = "a secret" if secret else _takes(name, field)
    return Setting(name.upper(), field.description or "", takes, required=field.is_required(), default=default)


def _takes(name: str, field: FieldInfo) -> str:
    """Say the unit of a setting, or its choices, and its bounds."""
    kind: Any = field.annotation
    if get_origin(kind) is Literal:
        return ", ".join(str(choice) or "empty" for choice in get_args(kind))
    if kind is bool:
        return "true or false"
    if kind is str:
        return "text"
    unit = next((unit for unit in UNITS if name.endswith(f"_{unit}")), "a number")
    return ", ".join([unit, *_bounds(field)])


def _bounds(field: FieldInfo) -> list[str]:
    """Say the bounds of a number."""
    return [
        words.format(getattr(bound, name))
        for name, words in BOUNDS.items()
        for bound in field.metadata
        if hasattr(bound, name)
    ]


def _said(setting: Setting) -> str | None:
    """Say what a setting is unless set; nothing for a secret."""
    return "must be set" if setting.required else setting.default


def _code(setting: Setting) -> str:
    """Write the same as Markdown."""
    if setting.required:
        return "must be set"
    return "" if setting.default is None else f"`{setting.default}`" if setting.default else "empty"


def _escaped(text: str) -> str:
    """Let no letter of a sentence end a cell of a table."""
    return text.replace("|", "\\|").replace("<", "&lt;")
