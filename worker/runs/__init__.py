"""A run's life, and the only writer of its status."""

from worker.runs.claim import Claim, claim, record, renew
from worker.runs.compare import Compared, changed, compare, compared, publish
from worker.runs.finish import Published, cancel, cancel_queued, complete, completed, release
from worker.runs.line import Line, busiest, line
from worker.runs.overdue import RESCUER, Abandoned, faltering, seize, take_over
from worker.runs.prune import forget, forget_attempts, outlived
from worker.runs.queue import LARGE_RESULTS, Queued, answered, queue, queue_daily
from worker.runs.read import attempts, due, get, in_flight, latest, progress
from worker.runs.repeat import repeat
from worker.runs.rewrite import expire_previews, republish, showing, under_way
from worker.runs.setback import set_back
from worker.runs.share import shareable

__all__ = [
    "LARGE_RESULTS",
    "RESCUER",
    "Abandoned",
    "Claim",
    "Compared",
    "Line",
    "Published",
    "Queued",
    "answered",
    "attempts",
    "busiest",
    "cancel",
    "cancel_queued",
    "changed",
    "claim",
    "compare",
    "compared",
    "complete",
    "completed",
    "due",
    "expire_previews",
    "faltering",
    "forget",
    "forget_attempts",
    "get",
    "in_flight",
    "latest",
    "line",
    "outlived",
    "progress",
    "publish",
    "queue",
    "queue_daily",
    "record",
    "release",
    "renew",
    "repeat",
    "republish",
    "seize",
    "set_back",
    "shareable",
    "showing",
    "take_over",
    "under_way",
]
