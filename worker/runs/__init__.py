"""A run's life, and the only writer of its status."""

from worker.runs.claim import Claim, claim, record, renew
from worker.runs.compare import Compared, changed, compare, compared, publish
from worker.runs.finish import Published, cancel, cancel_queued, complete, completed, release
from worker.runs.overdue import RESCUER, Abandoned, take_over
from worker.runs.queue import Queued, answered, queue, queue_daily
from worker.runs.read import attempts, due, get, in_flight, latest, progress
from worker.runs.setback import set_back
from worker.runs.share import shareable

__all__ = [
    "RESCUER",
    "Abandoned",
    "Claim",
    "Compared",
    "Published",
    "Queued",
    "answered",
    "attempts",
    "cancel",
    "cancel_queued",
    "changed",
    "claim",
    "compare",
    "compared",
    "complete",
    "completed",
    "due",
    "get",
    "in_flight",
    "latest",
    "progress",
    "publish",
    "queue",
    "queue_daily",
    "record",
    "release",
    "renew",
    "set_back",
    "shareable",
    "take_over",
]
