"""The faults: each is done to the world for a while, and undone."""

import contextlib
import fcntl
import os
import signal
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import psutil
import psycopg
from chaos.journal import Hit, Journal
from chaos.script import Fault
from chaos.world import USER, World
from redis import RedisError

from local.process import HOST
from worker.app import QUEUES

# What `chattr +i` sets: root is refused as well.
GET_FLAGS, SET_FLAGS, IMMUTABLE = 0x80086601, 0x40086602, 0x10
HELD = """
SELECT id, fence FROM runs WHERE status = 'running' AND claimed_by LIKE %s || '@%%'
"""
# Whether a program is in the middle of something that the world outside can see.
BUSY = """
SELECT EXISTS (
    SELECT FROM runs r JOIN run_attempts a ON a.run_id = r.id AND a.fence = r.fence
    WHERE r.status = 'running' AND r.claimed_by LIKE %(name)s || '@%%' AND a.query_ids <> '{}'
) OR EXISTS (
    SELECT FROM ready_emails WHERE status = 'sending' AND claimed_by LIKE %(name)s || '@%%'
) AS busy
"""
TERMINATE = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s"
SOME = "SELECT id FROM runs WHERE status IN ('queued', 'running') ORDER BY random() LIMIT 3 FOR UPDATE SKIP LOCKED"


class Scene:
    """
    Where a fault happens.

    :param calm: set once no fault must go on
    """

    def __init__(self, world: World, journal: Journal, calm: threading.Event) -> None:
        self.world, self.journal, self.calm = world, journal, calm

    def last(self, seconds: float) -> None:
        """Let a fault last, no longer than faults may."""
        self.calm.wait(seconds)


def kill(scene: Scene, fault: Fault) -> None:
    """Kill a program with everything it started, in the middle of a statement or a mail if it can be; start it again."""
    _until_busy(scene, fault.target)
    scene.world.programs.kill(fault.target)
    _note_hits(scene, fault.target)
    scene.last(fault.seconds)
    scene.world.programs.start([fault.target])


def kill_child(scene: Scene, fault: Fault) -> None:
    """Kill one pool process, as the kernel does when memory runs out; its parent starts another."""
    _until_busy(scene, fault.target)
    with contextlib.suppress(psutil.NoSuchProcess):
        children = psutil.Process(scene.world.programs.pid(fault.target)).children()
        for child in children[:1]:
            child.kill()


def term(scene: Scene, fault: Fault) -> None:
    """Stop a program as a deployment does, and start it again."""
    scene.world.programs.stop([fault.target])
    scene.last(fault.seconds)
    scene.world.programs.start([fault.target])


def stop(scene: Scene, fault: Fault) -> None:
    """Freeze a program for longer than a lease, and let it wake up as if nothing had happened."""
    _until_busy(scene, fault.target)
    group = scene.world.programs.pid(fault.target)
    os.killpg(group, signal.SIGSTOP)
    _note_hits(scene, fault.target)
    try:
        scene.last(fault.seconds)
    finally:
        os.killpg(group, signal.SIGCONT)


def set_clock(scene: Scene, fault: Fault) -> None:
    """Set a clock wrong and right again: whichever way it went, one of the two steps goes back."""
    clock = scene.world.clocks[fault.target]
    note = scene.journal.clock_set if fault.target == "postgres" else lambda _: None
    clock.set(fault.size)
    note(fault.size)
    try:
        scene.last(fault.seconds)
    finally:
        clock.set(0)
        note(0)


def restart(scene: Scene, fault: Fault) -> None:
    """End a server at once, PostgreSQL in its immediate mode, and start it again; Redis comes back empty."""
    server = scene.world.servers.started[fault.target]
    if fault.target == "postgres":
        os.kill(server.pid, signal.SIGQUIT)
        server.stop()
    else:
        server.kill()
    try:
        scene.last(fault.seconds)
    finally:
        server.start()


def flush(scene: Scene, _: Fault) -> None:
    """Empty Redis."""
    with contextlib.suppress(RedisError), scene.world.redis() as redis:
        redis.flushall()


def read_only(scene: Scene, fault: Fault) -> None:
    """Let the storage take nothing new."""
    with _immutable(scene.world.exports):
        scene.last(fault.seconds)


def half_open(scene: Scene, fault: Fault) -> None:
    """Leave connections open that nothing comes through any more."""
    scene.world.lines[fault.target].half_open()
    scene.last(fault.seconds)


def deaf(scene: Scene, fault: Fault) -> None:
    """Let a server hear and say nothing for a while, to new connections neither."""
    scene.world.lines[fault.target].deafen()
    try:
        scene.last(fault.seconds)
    finally:
        scene.world.lines[fault.target].hear()


def cut(scene: Scene, fault: Fault) -> None:
    """Break every connection to a server."""
    scene.world.lines[fault.target].cut()


def lose(scene: Scene, fault: Fault) -> None:
    """Lose COMMITs or mails, or the answers to them."""
    line = scene.world.lines[fault.target]
    line.lose(fault.kind.split()[0], fault.size)
    try:
        scene.last(fault.seconds)
    finally:
        line.lose("", 0)


def terminate(scene: Scene, fault: Fault) -> None:
    """Terminate every session of the workers, again and again."""
    until = time.monotonic() + fault.seconds
    while time.monotonic() < until and not scene.calm.is_set():
        with contextlib.suppress(psycopg.OperationalError):
            scene.world.rows(TERMINATE, [USER])
        scene.last(0.3)


def exhaust(scene: Scene, fault: Fault) -> None:
    """Take every place that PostgreSQL has for sessions that are nobody's superuser."""
    with contextlib.ExitStack() as taken:
        with contextlib.suppress(psycopg.OperationalError):
            for _ in range(200):
                taken.enter_context(
                    psycopg.connect(
                        host=HOST, port=scene.world.servers.postgres.port, user=USER, dbname=USER, connect_timeout=2
                    )
                )
        scene.last(fault.seconds)


def idle(scene: Scene, fault: Fault) -> None:
    """Open a transaction that holds a few runs, and forget about it."""
    with contextlib.suppress(psycopg.OperationalError), scene.world.session() as session:
        session.execute("BEGIN")
        session.execute(SOME)
        scene.last(fault.seconds)
        session.execute("ROLLBACK")


def drop_bells(scene: Scene, _: Fault) -> None:
    """Lose every message that waits."""
    with contextlib.suppress(RedisError), scene.world.redis() as redis:
        redis.delete(*QUEUES)


def double_bells(scene: Scene, _: Fault) -> None:
    """Deliver every message that waits once more."""
    with contextlib.suppress(RedisError), scene.world.redis() as redis:
        for queue in QUEUES:
            waiting = redis.lrange(queue, 0, -1)
            if waiting:
                redis.rpush(queue, *waiting)


FAULTS: Mapping[str, Callable[[Scene, Fault], None]] = {
    "kill": kill,
    "kill child": kill_child,
    "term": term,
    "stop": stop,
    "clock": set_clock,
    "restart": restart,
    "flush": flush,
    "read-only": read_only,
    "half-open": half_open,
    "deaf": deaf,
    "cut": cut,
    "answer lost": lose,
    "message lost": lose,
    "terminated": terminate,
    "exhausted": exhaust,
    "idle transaction": idle,
    "bells dropped": drop_bells,
    "bells doubled": double_bells,
}


def _until_busy(scene: Scene, name: str) -> None:
    """Wait a little until a worker has sent a statement or handed a mail over; nobody else is waited for."""
    until = time.monotonic() + 3
    while name.startswith(("daily", "announce")) and time.monotonic() < until and not scene.calm.is_set():
        with contextlib.suppress(psycopg.OperationalError):
            if scene.world.rows(BUSY, {"name": name})[0]["busy"]:
                return
        scene.last(0.05)


def _note_hits(scene: Scene, name: str) -> None:
    """Note the runs that a worker held when it was hit, if PostgreSQL can tell."""
    with contextlib.suppress(psycopg.OperationalError):
        held = scene.world.rows(HELD, [name])
        scene.journal.hits.extend(Hit(row["id"], row["fence"], time.time()) for row in held)


@contextlib.contextmanager
def _immutable(folder: Path) -> Iterator[None]:
    """Make a folder refuse new names: by its mode, and for root, who minds no mode, by its flag."""
    here = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    mode = folder.stat().st_mode
    try:
        folder.chmod(0o555)
        if os.geteuid() == 0:
            _flag(here, on=True)
        yield
    finally:
        if os.geteuid() == 0:
            _flag(here, on=False)
        folder.chmod(mode)
        os.close(here)


def _flag(folder: int, *, on: bool) -> None:
    """Set or clear a folder's immutable flag."""
    flags = struct.unpack("i", fcntl.ioctl(folder, GET_FLAGS, struct.pack("i", 0)))[0]
    fcntl.ioctl(folder, SET_FLAGS, struct.pack("i", flags | IMMUTABLE if on else flags & ~IMMUTABLE))
