"""
Many clients at once, in a process of their own: reads what to do as JSON on standard input, prints what came of it.

Each client keeps its connection and asks again as soon as it is answered. It reads no more of an answer than it needs,
so that on a small machine the time measured is the server's.
"""

import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from itertools import count
from typing import Any

import uvloop


async def _client(asked: dict[str, Any], paths: Iterator[str], until: float, took: list[float]) -> Counter[str]:
    """Ask over one connection until the time is over, note the seconds of each answer, and count the statuses."""
    reader, writer = await asyncio.open_connection(asked["host"], asked["port"])
    statuses: Counter[str] = Counter()
    tail = f" HTTP/1.1\r\nHost: bench\r\nX-API-Key: {asked['key']}\r\nContent-Length: 0\r\n\r\n"
    while (started := time.perf_counter()) < until:
        writer.write(f"{asked['method']} {next(paths)}{tail}".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        length = head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0]
        await reader.readexactly(int(length))
        took.append(time.perf_counter() - started)
        statuses[head[9:12].decode()] += 1
    writer.close()
    await writer.wait_closed()
    return statuses


async def _all(asked: dict[str, Any]) -> dict[str, Any]:
    """Let every client ask, and put together what they saw."""
    places = asked["places"]
    paths = (asked["path"].replace("{place}", places[number % len(places)]) for number in count())
    took: list[float] = []
    until = time.perf_counter() + asked["seconds"]
    seen = await asyncio.gather(*(_client(asked, paths, until, took) for _ in range(asked["clients"])))
    took.sort()
    return {
        "requests": len(took),
        "p50": took[len(took) // 2] * 1000,
        "p99": took[int(len(took) * 0.99)] * 1000,
        "statuses": dict(sum(seen, Counter())),
    }


if __name__ == "__main__":
    json.dump(uvloop.run(_all(json.load(sys.stdin))), sys.stdout)
