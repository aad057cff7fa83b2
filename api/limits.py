"""
How much a caller may ask: so many requests a minute, counted in Redis in a sliding window.

Without Redis nobody is refused. One request finds out, within a fraction of a second; then Redis is left alone for
some seconds, so that a dead or deaf server costs the others nothing.
"""

import math
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from limits import RateLimitItemPerMinute
from limits.errors import StorageError
from limits.storage import RedisStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from worker import log

logger = log.get(__name__)

SOCKET_SECONDS: Final = 0.5
PAUSE_SECONDS: Final = 5.0
WARN_SECONDS: Final = 60.0
WINDOW_SECONDS: Final = 60


@dataclass(frozen=True, slots=True)
class Verdict:
    """
    Whether one request may pass, and what is left.

    :param reset_seconds: until one more request fits, at least 1
    """

    granted: bool
    limit: int
    remaining: int
    reset_seconds: int

    @property
    def headers(self) -> Mapping[str, str]:
        """The fields of the IETF's RateLimit draft, and Retry-After for one that may not pass."""
        told = {
            "RateLimit-Policy": f'"caller";q={self.limit};w={WINDOW_SECONDS}',
            "RateLimit": f'"caller";r={self.remaining};t={self.reset_seconds}',
        }
        return told if self.granted else {**told, "Retry-After": str(self.reset_seconds)}


class Limiter:
    """
    The counters of all callers; shared by the threads of a process, and through Redis by all processes.

    :param redis_url: nothing connects before the first request
    :param per_minute: how many requests a caller has; 0 for no limit
    :param pause_seconds: how long Redis is left alone after a failure
    """

    def __init__(self, redis_url: str, per_minute: int, *, pause_seconds: float = PAUSE_SECONDS) -> None:
        # Its clock is that of Redis, so that web servers need not agree on the time.
        storage = RedisStorage(
            redis_url,
            key_prefix="rate",
            wrap_exceptions=True,
            socket_timeout=SOCKET_SECONDS,
            socket_connect_timeout=SOCKET_SECONDS,
        )
        self._window = SlidingWindowCounterRateLimiter(storage)
        self._item = RateLimitItemPerMinute(per_minute) if per_minute else None
        self._pause_seconds = pause_seconds
        self._lock = threading.Lock()
        self._ask_again_at = 0.0
        self._warn_again_at = 0.0

    def take(self, name: str) -> Verdict | None:
        """
        Count one request of a caller.

        :param name: an id, never a secret: it becomes a key in Redis
        :returns: None where nothing is counted, because there is no limit or no Redis
        """
        if self._item is None or not self._may_ask():
            return None
        try:
            granted = self._window.hit(self._item, name)
            left = self._window.get_window_stats(self._item, name)
        except StorageError as error:
            self._warn(error)
            return None
        with self._lock:
            self._ask_again_at = 0.0
        reset_seconds = max(1, math.ceil(left.reset_time - time.time()))
        return Verdict(granted, self._item.amount, left.remaining if granted else 0, reset_seconds)

    def _may_ask(self) -> bool:
        """Whether to ask Redis; after a failure one asks for all, once its pause is over."""
        now = time.monotonic()
        with self._lock:
            if now < self._ask_again_at:
                return False
            if self._ask_again_at:
                self._ask_again_at = now + self._pause_seconds
            return True

    def _warn(self, error: StorageError) -> None:
        """Leave Redis alone for a while; say so, at most once a minute."""
        now = time.monotonic()
        with self._lock:
            self._ask_again_at = now + self._pause_seconds
            silent = now < self._warn_again_at
            if not silent:
                self._warn_again_at = now + WARN_SECONDS
        if not silent:
            logger.warning("rate_limit_open", cause=type(error.__cause__).__name__)
