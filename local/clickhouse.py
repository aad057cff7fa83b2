"""
ClickHouse: the ``clickhouse`` binary when there is one on the PATH, else the engine of the chdb-core wheel.

``python -m local.clickhouse FOLDER`` is the second kind of server: clickhouse-local inside a Python process, which
opens the engine's own HTTP interface and keeps it open until it is asked to end.
"""

import contextlib
import http.client
import importlib
import os
import shutil
import signal
import sys
import threading
from pathlib import Path
from typing import ClassVar
from xml.sax.saxutils import escape

import psutil

from local.process import HOST, Server

# What one laptop spares; a statement that needs more is refused with code 241 as on a real server.
MEMORY_BYTES = min(4_000_000_000, psutil.virtual_memory().total // 2)

CONFIG = """\
<clickhouse>
  <logger><level>warning</level><console>1</console></logger>
  <http_port>{port}</http_port>
  <listen_host>{host}</listen_host>
  <path>{data}/</path>
  <tmp_path>{data}/tmp/</tmp_path>
  <max_server_memory_usage>{memory}</max_server_memory_usage>
  <mark_cache_size>134217728</mark_cache_size>
  <background_pool_size>4</background_pool_size>
  <max_concurrent_queries>64</max_concurrent_queries>
  <keep_alive_timeout>30</keep_alive_timeout>
  <user_directories><users_xml><path>{users}</path></users_xml></user_directories>
</clickhouse>
"""
USERS = """\
<clickhouse>
  <profiles><default/></profiles>
  <quotas><default/></quotas>
  <users><default><password/><networks><ip>127.0.0.1</ip></networks>
    <profile>default</profile><quota>default</quota></default></users>
</clickhouse>
"""
LISTEN = "SYSTEM START LISTEN HTTP; SELECT count() FROM file(0, LineAsString, 'line String')"


class ClickHouse(Server):
    """
    A ClickHouse server over HTTP, user ``default`` without a password.

    :param memory: most bytes that all its statements together may use
    """

    name: ClassVar[str] = "ClickHouse"

    def __init__(self, folder: Path, *, port: int | None = None, memory: int = MEMORY_BYTES) -> None:
        super().__init__(folder, port=port)
        self.memory = memory

    @property
    def url(self) -> str:
        """The address of its database ``default``."""
        return f"http://default@{HOST}:{self.port}/default"

    def environment(self) -> dict[str, str]:
        """CLICKHOUSE_URL."""
        return {"CLICKHOUSE_URL": self.url}

    def prepare(self) -> None:
        """Write the configuration, which holds the port."""
        engine = self.folder / "engine"
        engine.mkdir(exist_ok=True)
        names = {"data": escape(str(engine / "data")), "users": escape(str(engine / "users.xml"))}
        config = CONFIG.format(host=HOST, port=self.port, memory=self.memory, **names)
        (engine / "config.xml").write_text(config)
        (engine / "users.xml").write_text(USERS)

    def command(self) -> list[str]:
        """The binary's server when there is one, else this module."""
        binary = shutil.which("clickhouse")
        if binary:
            return [binary, "server", "--config-file", str(self.folder / "engine" / "config.xml")]
        return [sys.executable, "-m", "local.clickhouse", str(self.folder / "engine")]

    def answers(self) -> bool:
        """Whether a statement is answered."""
        with contextlib.closing(http.client.HTTPConnection(HOST, self.port, timeout=2)) as connection:
            try:
                connection.request("GET", "/?query=SELECT%201")
                return connection.getresponse().status == http.HTTPStatus.OK
            except OSError:
                return False


def serve(folder: Path) -> None:
    """
    Open the HTTP interface over the data in a folder until SIGTERM.

    :param folder: holds config.xml; the data lies in its folder ``data``
    """
    # Importing the engine reads a config.xml of the working directory, so the import comes before the move. It is an
    # import of the server's process alone: owners of a server import this module without the engine.
    engine = importlib.import_module("chdb._chdb")
    os.chdir(folder)
    hold, release = os.pipe()

    def end(*_: object) -> None:
        """Let the call run out; the engine would wait 5 s for idle connections, and needs no such wait."""
        with contextlib.suppress(OSError):
            os.close(release)
        signal.alarm(1)

    signal.signal(signal.SIGTERM, end)
    # The interface stays open as long as the same call has something left to do: reading this pipe to its end.
    os.dup2(hold, sys.stdin.fileno())
    # The format of this call becomes the default of every request, so it is the one that real servers answer in.
    arguments = (LISTEN, "TabSeparated")
    call = threading.Thread(target=engine.query, args=arguments, kwargs={"path": str(folder / "data")})
    call.start()
    call.join()


if __name__ == "__main__":
    serve(Path(sys.argv[1]).resolve())
