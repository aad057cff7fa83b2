"""
The Celery app: queues, limits, what a worker's processes share.

Postgres is the queue; Celery carries bells. Hence early acknowledgement, no prefetching, no results, no retries, no
expiry and no dates in messages: a bell may be lost or doubled without harm.
"""

import multiprocessing
import os
import signal
import socket
import time
from ctypes import c_double
from typing import Any

import redis
from celery import Celery, current_task, signals
from celery.exceptions import OperationalError
from celery.worker import control
from kombu.entity import Queue

from worker import log, settings

logger = log.get(__name__)

QUEUES = ("manual", "daily", "announce", "control")
# Black-holed sockets are noticed in seconds; with Celery's defaults a worker was seen deaf for a minute and a half.
SOCKETS = {
    "socket_timeout": 3,
    "socket_connect_timeout": 5,
    "socket_keepalive": True,
    "health_check_interval": 3,
    "retry_on_timeout": False,
}

app = Celery("audience-worker", include=["worker.tasks", "worker.hearing", "scheduler.ticks"], set_as_current=True)

# The monotonic second of the stop signal, 0 before it: made before the fork, so that pool processes see it.
_stopped_at: Any = multiprocessing.Value(c_double, 0.0, lock=False)


@app.add_defaults
def _configure() -> dict[str, Any]:
    """Build Celery's settings from ours, when they are first needed."""
    current = settings.current()
    return {
        "broker_url": current.redis_url.get_secret_value(),
        "broker_transport_options": {**SOCKETS, "visibility_timeout": 3600},
        "broker_pool_acquire_timeout": 5,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "task_queues": [Queue(name) for name in QUEUES],
        "task_default_queue": "control",
        "task_ignore_result": True,
        "task_acks_late": False,
        "task_soft_time_limit": current.task_soft_seconds,
        "task_time_limit": current.task_hard_seconds,
        "task_serializer": "json",
        "accept_content": ["json"],
        # A bell is taken while a process is free, and by no other count: a counted place whose acknowledgement was lost
        # with its connection would stay taken, until the worker hears nothing any more.
        "worker_disable_prefetch": True,
        "worker_prefetch_multiplier": 0,
        "worker_send_task_events": True,
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "enable_utc": True,
        "timezone": "UTC",
        "beat_scheduler": "celery.beat:Scheduler",
        "beat_enable_remote_control": True,
    }


def waiting(queue: str) -> int | None:
    """Count the bells that wait in a queue; None when Redis does not say."""
    try:
        with redis.Redis.from_url(settings.current().redis_url.get_secret_value(), **SOCKETS) as client:
            return int(client.llen(queue))
    except redis.RedisError as error:
        logger.warning("bells_not_counted", queue=queue, error=type(error).__name__)
        return None


def ring(queue: str, bells: int) -> int:
    """
    Top a queue's waiting bells up to a number and return how many were sent; a dead Redis sends none.

    The sweep over Postgres is the delivery guarantee, so a bell that could not be sent is logged and forgotten.
    """
    task = "announce.drain" if queue == "announce" else "runs.drain"
    arguments = () if queue == "announce" else (queue,)
    found = waiting(queue)
    missing = 0 if found is None else max(0, bells - found)
    try:
        for _ in range(missing):
            app.send_task(task, args=arguments, queue=queue, retry=False)
    except (redis.RedisError, OperationalError) as error:
        logger.warning("bell_not_rung", queue=queue, error=type(error).__name__)
        return 0
    return missing


def answers() -> bool:
    """Return whether the broker answers."""
    try:
        with redis.Redis.from_url(settings.current().redis_url.get_secret_value(), **SOCKETS) as client:
            return bool(client.ping())
    except redis.RedisError:
        return False


def stopping() -> bool:
    """Return whether this worker was told to stop."""
    return bool(_stopped_at.value)


def leaving() -> bool:
    """Return whether the grace after the stop signal is nearly over: what still runs must be handed back now."""
    grace = settings.current().shutdown_grace_seconds - settings.LEAVE_SECONDS
    return stopping() and time.monotonic() - _stopped_at.value > grace


def worker_name() -> str:
    """Return the name that claims are made under: the Celery node, as Flower shows it."""
    request = current_task.request if current_task else None
    return str(getattr(request, "hostname", None) or socket.gethostname())


@signals.setup_logging.connect
def _set_up_logging(**_: object) -> None:
    """Take logging over from Celery, in every process."""
    current = settings.current()
    log.configure(current.log_format, current.log_level)


@signals.worker_shutting_down.connect
def _stop(**_: object) -> None:
    """Tell the pool's processes, which do not see their parent's signals; a second signal prolongs nothing."""
    if not _stopped_at.value:
        _stopped_at.value = time.monotonic()


@control.control_command(name="shutdown")
def _shut_down(_state: object, **_: object) -> None:
    """End as on SIGTERM when Redis brings the word; Celery's own answer would let the pool go on claiming."""
    os.kill(os.getpid(), signal.SIGTERM)
