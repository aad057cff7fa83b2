"""The settings of programs that run on local servers, kept in a file that a shell can read."""

import os
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import psycopg
from psycopg import sql
from sqlalchemy.engine import make_url

from local.postgres import Postgres
from local.process import HOST
from local.servers import Servers
from worker.settings import Settings

DATABASE: Final = "demo"

# For two cores and an impatient onlooker: few processes, and ticks that come often.
TUNED: Final[Mapping[str, str]] = {
    "DAILY_CONCURRENCY": "2",
    "MANUAL_CONCURRENCY": "1",
    "ANNOUNCE_CONCURRENCY": "2",
    "LANE_MAX_STATEMENTS": "2",
    "QUERY_THREADS": "2",
    "QUERY_MEMORY_BYTES": "1500000000",
    "INDEX_PIECE_SIGNALS": "5000000",
    "RING_SECONDS": "2",
    "QUEUE_SECONDS": "2",
    "WATCH_SECONDS": "2",
    "LOG_FORMAT": "console",
    "MAIL_FROM": "Audiences <audiences@example.com>",
    "FLOWER_ADDRESS": HOST,
    # Flower's pages fetch their numbers from its API, which answers 401 without a password unless this is set. It is
    # read-only and listens on this machine alone.
    "FLOWER_UNAUTHENTICATED_API": "true",
}


def tuned(servers: Servers, *, ports: tuple[int, int, int]) -> dict[str, str]:
    """What the demo's programs need: these servers, a database of their own, and ports: Flower's and the HTTP side's."""
    database = make_url(servers.postgres.url).set(database=DATABASE).render_as_string(hide_password=False)
    own = dict(zip(("PORT", "WEB_PORT", "INTERNAL_PORT"), map(str, ports), strict=True))
    link = {"PUBLIC_URL": f"http://{HOST}:{own['WEB_PORT']}"}
    return {**servers.environment(), **TUNED, "DATABASE_URL": database, **own, **link}


def whole(settings: Mapping[str, str]) -> dict[str, str]:
    """
    Return an environment with these settings and no others, and this virtual environment's commands first.

    What the environment of this process says of servers does not leak into it; the rest of that does.
    """
    ours = {name.upper() for name in Settings.model_fields}
    kept = {name: value for name, value in os.environ.items() if name not in ours}
    # Not resolved: the interpreter of a virtual environment is a link to another one's.
    commands = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    return kept | {"PATH": commands, "PYTHONUNBUFFERED": "1"} | dict(settings)


def fresh_database(postgres: Postgres) -> None:
    """Replace the demo's database by an empty one."""
    name = sql.Identifier(DATABASE)
    with psycopg.connect(host=HOST, port=postgres.port, user="postgres", autocommit=True) as session:
        session.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name))
        session.execute(sql.SQL("CREATE DATABASE {}").format(name))


def write(file: Path, environment: Mapping[str, str]) -> list[str]:
    """Write variables down as lines that a shell takes, for the owner's eyes only, and return the lines."""
    lines = [f"export {name}={shlex.quote(value)}" for name, value in sorted(environment.items())]
    file.touch(mode=0o600)
    file.write_text("\n".join(lines) + "\n")
    return lines
