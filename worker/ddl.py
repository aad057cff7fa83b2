"""
The ClickHouse tables: the numbered files of ``migrations/clickhouse`` as statements for one kind of server.

Where there are shards, each server holds its own part of every table under the name that ends in ``_shard``, and
statements name the Distributed tables over them. All that is known of a person lies on one shard, so that what is asked
about persons is answered there; a snapshot lies on one shard too.
"""

import re
from collections.abc import Mapping
from importlib import resources
from string import Template
from typing import Final

MERGE_TREE: Final = "MergeTree"
REPLICATED_MERGE_TREE: Final = (
    "ReplicatedMergeTree('/clickhouse/tables/{uuid}/{shard}', '{replica}')"  # the server's own macros
)

SHARD: Final = "_shard"
SHARDED_BY: Final[Mapping[str, str | None]] = {
    "intent_signals": "hem_hash",
    "people": "hem_hash",
    "erased_people": "hem_hash",
    "topics": "topic_id",
    "data_loads": "cityHash64(dataset, data_date)",
    "audience_results": "cityHash64(snapshot_key)",
    # Each shard writes these for itself, beside the people they are about.
    "serving_index": None,
    "serving_texts": None,
    "selections": None,
}
"""What decides on which shard a row lies, by table."""

ACROSS_SHARDS: Final[Mapping[str, int | str]] = {
    # A subquery without GLOBAL is about the same persons as the rows around it: each shard asks its own part.
    "distributed_product_mode": "local",
    "distributed_foreground_insert": 1,
    # A row goes to the shard that its key says, not to the one that it was read from.
    "parallel_distributed_insert_select": 0,
    # Groups by the sharding key are whole on their shard, and a snapshot is looked for on its own shard only.
    "optimize_skip_unused_shards": 1,
    "optimize_distributed_group_by_sharding_key": 1,
    "skip_unavailable_shards": 0,
}
"""The settings that every statement over Distributed tables needs."""


def statements(
    cluster: str | None, *, replicated: bool, retention_days: int, sharded: bool = False
) -> list[tuple[str, str]]:
    """
    Return every statement as (name, SQL), in the order to apply them; each may be applied again without harm.

    :param cluster: name of the cluster that the tables are made on, or None for one server
    :param replicated: whether the tables are replicated, which needs a Keeper
    :param retention_days: days that snapshots are kept
    :param sharded: whether the cluster has several shards, each with a part of every table
    """
    values = {
        "on_cluster": on_cluster(cluster),
        "of_shard": SHARD if sharded else "",
        "merge_tree": REPLICATED_MERGE_TREE if replicated else MERGE_TREE,
        "retention_days": str(int(retention_days)),
    }
    folder = resources.files("worker") / "migrations" / "clickhouse"
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".sql")), key=lambda file: file.name)
    plain = [
        statement for file in files for statement in _split(file.name, Template(file.read_text()).substitute(values))
    ]
    return plain + (_distributed(cluster) if sharded and cluster else [])


def insert_by_shard(sql: str, cluster: str | None, database: str) -> str:
    """
    Let each shard run an INSERT … WITH … SELECT over its own part of the tables, into its own part.

    :param sql: of fixed fragments only; all rows that it brings together must be of one person
    :param cluster: of the shards, or None for one server, where the statement stays as it is
    :param database: that holds the tables; a shard that is asked by another one would look into ``default``
    """
    if cluster is None:
        return sql
    insert, select = sql.split("\nWITH\n", 1)
    own = re.sub(
        rf"\bFROM ({'|'.join(SHARDED_BY)})\b", lambda found: f"FROM {_quoted(database)}.{found[1]}{SHARD}", select
    )
    everywhere = f"FROM cluster({_quoted(cluster)}, view(\nWITH\n{own}\n))"
    return f"{insert}\nSELECT *\n{everywhere}\nSETTINGS parallel_distributed_insert_select = 2"


def parts_by_shard(sql: str, cluster: str | None) -> str:
    """Turn a look at the parts of one server into one at those of all servers of a cluster."""
    everywhere = f"clusterAllReplicas({_quoted(cluster)}, system.parts)" if cluster else "system.parts"
    return sql.replace("system.parts", everywhere)


def global_by_shard(sql: str, cluster: str | None) -> str:
    """Keep a statement's GLOBAL for shards alone: to one server it says nothing, and costs it a better plan."""
    return sql if cluster else sql.replace("GLOBAL ", "")


def alter_by_shard(sql: str, cluster: str | None) -> str:
    """Turn an ALTER TABLE into one of every shard's own table; for one server it stays as it is."""
    return re.sub(r"\bALTER TABLE (\w+)", rf"ALTER TABLE \1{SHARD}{on_cluster(cluster)}", sql) if cluster else sql


def on_cluster(cluster: str | None) -> str:
    """Return what makes a statement one of all servers of a cluster, with a space before it."""
    return f" ON CLUSTER {_quoted(cluster)}" if cluster else ""


def _distributed(cluster: str) -> list[tuple[str, str]]:
    """Return the tables over the shards' tables."""
    return [(f"{table} over shards", _over(table, key, cluster)) for table, key in SHARDED_BY.items()]


def _over(table: str, key: str | None, cluster: str) -> str:
    engine = ", ".join(filter(None, (_quoted(cluster), "currentDatabase()", table + SHARD, key)))
    made = f"CREATE TABLE IF NOT EXISTS {table}{on_cluster(cluster)} AS {table}{SHARD}"
    return f"{made}\nENGINE = Distributed({engine})"


def _split(name: str, text: str) -> list[tuple[str, str]]:
    parts = [part.strip() for part in f"{text}\n".split(";\n")]
    return [(name.removesuffix(".sql"), part) for part in parts if part]


def _quoted(identifier: str) -> str:
    return "`" + identifier.replace("\\", "\\\\").replace("`", "\\`") + "`"
