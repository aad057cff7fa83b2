"""
Stands between an owner and one server: the server lives exactly as long as this program's standard input stays open.

The owner holds the other end of that pipe, so that a server ends when its owner stops it and also when its owner is
killed. Owner and server are in different sessions: Ctrl-C in a terminal reaches the owner alone. The folder's lock is
held as long as the server may write there. Only the standard library is used, which keeps the start short.
"""

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, BinaryIO


def main() -> int:
    """Run the server described by the first argument, say its process id, and return its exit code."""
    order: dict[str, Any] = json.loads(sys.argv[1])
    with Path(order["lock"]).open("ab") as lock:
        if not _locked(lock, order["patience"]):
            print("locked", flush=True)
            return 1
        server = _launched(order)
        _forward_signals(server, order["signal"])
        threading.Thread(target=_stop_when_left, args=(server, order), daemon=True).start()
        # An owner that was killed meanwhile hears nothing; its server is being stopped already.
        with contextlib.suppress(BrokenPipeError):
            print(server.pid, flush=True)
        code = server.wait()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(server.pid, signal.SIGKILL)
        return code


def _locked(lock: BinaryIO, seconds: float) -> bool:
    """Take the folder's lock, waiting for a guard that is still ending its server."""
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)


def _launched(order: dict[str, Any]) -> "subprocess.Popen[bytes]":
    """Start the server in a process group of its own, its output appended to its log."""
    account = {"user": order["user"], "group": order["user"], "extra_groups": []} if order["user"] else {}
    with Path(order["log"]).open("ab") as log:
        return subprocess.Popen(
            order["command"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=order["folder"],
            process_group=0,
            **account,
        )


def _forward_signals(server: "subprocess.Popen[bytes]", stop: int) -> None:
    """Turn every request to end into the server's own."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: server.send_signal(stop))


def _stop_when_left(server: "subprocess.Popen[bytes]", order: dict[str, Any]) -> None:
    """Wait until the owner lets go, ask the server to end, and insist once its grace is over."""
    while os.read(0, 1):
        pass
    server.send_signal(order["signal"])
    try:
        server.wait(order["grace"])
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
