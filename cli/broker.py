"""The broker as an operator meets it: whether it answers, and what it holds."""

from redis import Redis, RedisError

from worker import settings
from worker.app import SOCKETS


def opened() -> Redis:
    """Return a client of the broker, to be closed by the caller; nothing connects before the first command."""
    return Redis.from_url(settings.current().redis_url.get_secret_value(), **SOCKETS)


def answers() -> bool:
    """Return whether the broker answers."""
    try:
        with opened() as client:
            return bool(client.ping())
    except RedisError:
        return False
