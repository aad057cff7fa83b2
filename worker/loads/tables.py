"""The tables of one load: made under one prefix, dropped at the end, whatever happened."""

import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from string import Template
from typing import Any, Final

from worker import clickhouse

# Tables that a killed load left behind; a load that takes longer than a day is given up.
LEFT: Final = r"""
SELECT name FROM system.tables
WHERE database = currentDatabase() AND match(name, '^load_[0-9a-f]{32}_[a-z]+$')
    AND metadata_modification_time < now() - INTERVAL 1 DAY
"""

KINDS: Final = ("footer", "staged", "typed")


@contextmanager
def prefixed() -> Iterator[str]:
    """Yield a prefix for table names, and drop every table under it at the end."""
    for (name,) in clickhouse.query(LEFT).rows:
        drop(name)
    prefix = f"load_{uuid.uuid4().hex}"
    try:
        yield prefix
    finally:
        for kind in KINDS:
            drop(f"{prefix}_{kind}")


def drop(table: str) -> None:
    """Drop a table of this folder's own, if it is there, at once and however large it is."""
    run("DROP TABLE IF EXISTS $table SYNC", {"table": table}, options={"max_table_size_to_drop": 0})


def run(sql: str, names: Mapping[str, str], *, options: Mapping[str, Any] | None = None) -> None:
    """
    Run a statement that answers with no rows.

    :param names: what stands at the statement's ``$`` places: identifiers and expressions of our own, never values
    """
    clickhouse.command(Template(sql).substitute(names), options=options)


def ask(sql: str, names: Mapping[str, str], *, options: Mapping[str, Any] | None = None) -> Sequence[Sequence[Any]]:
    """Run a statement that answers with rows; names are those of :func:`run`."""
    return clickhouse.query(Template(sql).substitute(names), options=options).rows
