"""What was done to whom and when, by a clock that nobody touched, and what it explains."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

# How late an effect may show: a lease, a tick, a rescuer's pass.
SLACK_SECONDS = 3.0
# Nobody closes a half-open connection: its effects last until the last one who waits for it has given up.
HALF_OPEN_SECONDS = 40.0


@dataclass(slots=True)
class Event:
    """One fault that was injected; times are seconds since the epoch, ``ended`` is None while it lasts."""

    kind: str
    target: str
    began: float
    ended: float | None = None

    def __str__(self) -> str:
        return f"{self.kind} {self.target}"


@dataclass(frozen=True, slots=True)
class Hit:
    """A run that a worker held when it was killed or stopped."""

    run_id: UUID
    fence: int
    at: float


class Journal:
    """The faults of a run; several threads write it."""

    def __init__(self) -> None:
        self.began = time.time()
        self.events: list[Event] = []
        self.hits: list[Hit] = []
        self.ended_by_themselves: Counter[str] = Counter()
        # From when on PostgreSQL's clock was ahead of the true one by how many seconds.
        self._ahead: list[tuple[float, int]] = [(0.0, 0)]
        self._lock = threading.Lock()

    @contextmanager
    def event(self, kind: str, target: str) -> Iterator[Event]:
        """Note a fault for as long as the block lasts."""
        event = Event(kind, target, time.time())
        with self._lock:
            self.events.append(event)
        try:
            yield event
        finally:
            event.ended = time.time() + (HALF_OPEN_SECONDS if kind == "half-open" else 0)

    def clock_set(self, ahead: int) -> None:
        """Note that PostgreSQL's clock was set."""
        self._ahead.append((time.time(), ahead))

    def counts(self) -> Counter[str]:
        """Count the faults by what happened to whom; workers of one lane count together."""
        return Counter(f"{event.kind} {event.target.rstrip('-0123456789')}" for event in list(self.events))

    def during(self, started: datetime, ended: datetime) -> list[Event]:
        """Return the faults of a time that PostgreSQL has told."""
        first, last = self._true(started)[0] - SLACK_SECONDS, self._true(ended)[-1] + SLACK_SECONDS
        return [event for event in self.events if event.began <= last and (event.ended or last) >= first]

    def _true(self, told: datetime) -> list[float]:
        """Return when it may truly have been, earliest first: a clock that is set back tells some times twice."""
        at, found = told.timestamp(), []
        ends = [since for since, _ in self._ahead[1:]] + [float("inf")]
        for (since, ahead), end in zip(self._ahead, ends, strict=True):
            # A process may look at its clock's file a second late.
            if since - 1.5 <= at - ahead <= end + 1.5:
                found.append(at - ahead)
        return sorted(found) or [at]
