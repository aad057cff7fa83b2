"""The HTTP side as its clients meet it: a real server on a port of its own, and keys to get in."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID, uuid4

import httpx
import uvicorn
from starlette.types import ASGIApp

from local.process import free_port
from worker import keys
from worker.database import transaction


@contextmanager
def served(app: ASGIApp) -> Iterator[str]:
    """Serve an application in this process and give its address."""
    port = free_port()
    config = uvicorn.Config(app, host="127.0.0.1", port=port, log_config=None, access_log=False, ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        _listens(server, thread)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(timeout=30)


def key_of(organization_id: UUID | None = None, name: str = "tests") -> str:
    """Create a key of an organization."""
    with transaction() as connection:
        return keys.create(connection, organization_id or uuid4(), name)


def client(address: str, key: str, **headers: str) -> httpx.Client:
    """A client that shows a key with every request."""
    return httpx.Client(base_url=address, headers={"X-API-Key": key, **headers}, timeout=30)


def _listens(server: uvicorn.Server, thread: threading.Thread) -> None:
    """Return once the server listens; nothing is asked of it, so that its log begins with the test's own request."""
    while thread.is_alive():
        if server.started:
            return
        time.sleep(0.005)
    raise RuntimeError("the server ended before it listened")
