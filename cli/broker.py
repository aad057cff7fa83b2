"""The broker as an operator meets it: what it holds."""

from redis import Redis

from worker import settings
from worker.app import SOCKETS


def opened() -> Redis:
    """Return a client of the broker, to be closed by the caller; nothing connects before the first command."""
    return Redis.from_url(settings.current().redis_url.get_secret_value(), **SOCKETS)
