"""The ClickHouse tables: the numbered files of ``migrations/clickhouse`` as statements for one kind of server."""

from importlib import resources
from string import Template
from typing import Final

MERGE_TREE: Final = "MergeTree"
REPLICATED_MERGE_TREE: Final = (
    "ReplicatedMergeTree('/clickhouse/tables/{uuid}/{shard}', '{replica}')"  # the server's own macros
)


def statements(cluster: str | None, *, replicated: bool, retention_days: int) -> list[tuple[str, str]]:
    """
    Return every statement as (name, SQL), in the order to apply them; each may be applied again without harm.

    :param cluster: name of the cluster that the tables are made on, or None for one server
    :param replicated: whether the tables are replicated, which needs a Keeper
    :param retention_days: days that snapshots are kept
    """
    values = {
        "on_cluster": "" if cluster is None else f" ON CLUSTER {_quoted(cluster)}",
        "merge_tree": REPLICATED_MERGE_TREE if replicated else MERGE_TREE,
        "retention_days": str(int(retention_days)),
    }
    folder = resources.files("worker") / "migrations" / "clickhouse"
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".sql")), key=lambda file: file.name)
    return [
        statement for file in files for statement in _split(file.name, Template(file.read_text()).substitute(values))
    ]


def _split(name: str, text: str) -> list[tuple[str, str]]:
    parts = [part.strip() for part in f"{text}\n".split(";\n")]
    return [(name.removesuffix(".sql"), part) for part in parts if part]


def _quoted(identifier: str) -> str:
    return "`" + identifier.replace("\\", "\\\\").replace("`", "\\`") + "`"
