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
from collections.abc import Sequence
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
  {native}
</clickhouse>
"""
# A cluster of servers that is told to each of them: one shard a server, each on its native port.
NATIVE = """\
<tcp_port>{port}</tcp_port>
  <remote_servers><{cluster}>{shards}</{cluster}></remote_servers>
"""
SHARD = "<shard><replica><host>{host}</host><port>{port}</port></replica></shard>"
USERS = """\
<clickhouse>
  <profiles><default/></profiles>
  <quotas><default/></quotas>
  <users><default><password/><networks><ip>127.0.0.1</ip></networks>
    <profile>default</profile><quota>default</quota></default></users>
</clickhouse>
"""
CLUSTER = "local"
LISTEN = "SYSTEM START LISTEN HTTP; {native}SELECT count() FROM file(0, LineAsString, 'line String')"
LISTEN_NATIVE = "SYSTEM START LISTEN TCP; "


class ClickHouse(Server):
    """
    A ClickHouse server over HTTP, user ``default`` without a password.

    :param memory: most bytes that all its statements together may use
    :param native_port: its port of the native protocol, by which servers of a cluster reach each other; none by default
    :param shards: the native ports of all servers of the cluster ``local``, each of them a shard
    """

    name: ClassVar[str] = "ClickHouse"

    def __init__(
        self,
        folder: Path,
        *,
        port: int | None = None,
        memory: int = MEMORY_BYTES,
        native_port: int | None = None,
        shards: Sequence[int] = (),
    ) -> None:
        super().__init__(folder, port=port)
        self.memory = memory
        self.native_port = native_port
        self.shards = tuple(shards)

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
        config = CONFIG.format(host=HOST, port=self.port, memory=self.memory, native=self._native(), **names)
        (engine / "config.xml").write_text(config)
        (engine / "users.xml").write_text(USERS)

    def command(self) -> list[str]:
        """The binary's server when there is one, else this module."""
        binary = shutil.which("clickhouse")
        if binary:
            return [binary, "server", "--config-file", str(self.folder / "engine" / "config.xml")]
        native = ["native"] if self.native_port else []
        return [sys.executable, "-m", "local.clickhouse", str(self.folder / "engine"), *native]

    def answers(self) -> bool:
        """Whether a statement is answered."""
        with contextlib.closing(http.client.HTTPConnection(HOST, self.port, timeout=2)) as connection:
            try:
                connection.request("GET", "/?query=SELECT%201")
                return connection.getresponse().status == http.HTTPStatus.OK
            except OSError:
                return False

    def _native(self) -> str:
        """Say on which port it speaks the native protocol, and who else is of its cluster."""
        if not self.native_port:
            return ""
        shards = "".join(SHARD.format(host=HOST, port=port) for port in self.shards)
        return NATIVE.format(port=self.native_port, cluster=CLUSTER, shards=shards)


def serve(folder: Path, *, native: bool) -> None:
    """
    Open the HTTP interface over the data in a folder until SIGTERM.

    :param folder: holds config.xml; the data lies in its folder ``data``
    :param native: whether to open the port of the native protocol too
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
    arguments = (LISTEN.format(native=LISTEN_NATIVE if native else ""), "TabSeparated")
    call = threading.Thread(target=engine.query, args=arguments, kwargs={"path": str(folder / "data")})
    call.start()
    call.join()


if __name__ == "__main__":
    serve(Path(sys.argv[1]).resolve(), native="native" in sys.argv[2:])
