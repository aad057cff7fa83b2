"""
Stored exports: queued with the run that completes, claimed, written, offered until they expire.

A file belongs to one claim, ``{run_id}/{fence}.csv``: a late writer never overwrites, and what it wrote is never
offered, because only the claim that still holds can complete the row.
"""

from worker.exports.claim import Claim, claim, due, renew
from worker.exports.files import Leftover, clear, expired_files, leftovers, removed, withdraw
from worker.exports.finish import complete, expired, release, set_back
from worker.exports.offer import ensure, exportable, get, linked, queue

__all__ = [
    "Claim",
    "Leftover",
    "claim",
    "clear",
    "complete",
    "due",
    "ensure",
    "expired",
    "expired_files",
    "exportable",
    "get",
    "leftovers",
    "linked",
    "queue",
    "release",
    "removed",
    "renew",
    "set_back",
    "withdraw",
]
