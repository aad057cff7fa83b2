"""Which days are ready, mirrored into Postgres; loading of files into the source tables."""

from worker.loads.columns import DATASETS
from worker.loads.load import Loaded, LoadedDay, load
from worker.loads.mirror import Versions, complete, mirrored, ready_date, ready_dates, versions, watch
from worker.loads.ready import Day, Status, make_ready, status

__all__ = [
    "DATASETS",
    "Day",
    "Loaded",
    "LoadedDay",
    "Status",
    "Versions",
    "complete",
    "load",
    "make_ready",
    "mirrored",
    "ready_date",
    "ready_dates",
    "status",
    "versions",
    "watch",
]
