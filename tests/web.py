"""The HTTP side as its clients meet it: a real server on a port of its own, and keys to get in."""

import threading
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
    address = f"http://127.0.0.1:{port}"
    try:
        _answers(address, thread)
        yield address
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


def _answers(address: str, thread: threading.Thread) -> None:
    """Return once the server answers anything at all."""
    with httpx.Client(transport=httpx.HTTPTransport(retries=10)) as onlooker:
        while thread.is_alive():
            try:
                onlooker.get(address)
            except httpx.TransportError:
                continue
            return
    raise RuntimeError("the server ended before it answered")
