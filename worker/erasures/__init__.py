"""
Erasures: who is to be left out for good, and what is done about the snapshots that hold them.

Postgres remembers each erasure until the end of time and its rewritings until its own end; ClickHouse is told whom no
run may find, and gets a snapshot anew before anybody is led to it.
"""

from worker.erasures.asked import Rewrite, ask, finish, note, publish, rewrites, saved
from worker.erasures.rows import Rewritten, delete, hashed, holders, leave_out, query_id, remain, write

__all__ = [
    "Rewrite",
    "Rewritten",
    "ask",
    "delete",
    "finish",
    "hashed",
    "holders",
    "leave_out",
    "note",
    "publish",
    "query_id",
    "remain",
    "rewrites",
    "saved",
    "write",
]
