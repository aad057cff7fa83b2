"""Ring from a request: a deaf Redis may cost one request some seconds, not every one, for the next ring tick makes up for it."""

import time
from typing import Final

from worker import app, log

logger = log.get(__name__)

SLOW_SECONDS: Final = 0.5
PAUSE_SECONDS: Final = 30.0


class Bells:
    """
    The bells of one process, kept as ``app.state.bells``.

    :param pause_seconds: how long Redis is left alone once it took too long
    """

    def __init__(self, *, pause_seconds: float = PAUSE_SECONDS) -> None:
        self._pause_seconds = pause_seconds
        self._again_at = 0.0

    def ring(self, queue: str) -> None:
        """Ring a queue once, unless Redis was slow a moment ago."""
        started = time.monotonic()
        if started < self._again_at:
            return
        app.ring(queue, 1)
        if time.monotonic() - started > SLOW_SECONDS:
            self._again_at = time.monotonic() + self._pause_seconds
            logger.warning("bells_paused", seconds=self._pause_seconds)
