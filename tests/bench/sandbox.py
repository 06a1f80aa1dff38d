"""Bars requests per second that the sandbox answers on one core."""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from argo_mw_sandbox import SandboxConfig, SandboxProcess

HEADERS = "APCA-API-KEY-ID: bench\r\nAPCA-API-SECRET-KEY: bench\r\n"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this bench's options."""
    parser.add_argument("--requests", type=int, default=5000, help="requests per round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--connections", type=int, default=16)


async def run(args: argparse.Namespace) -> dict[str, float | int | str]:
    """Ask for 90 daily bars of one stock, of changing stocks, and of 100 stocks at once.

    The client is a bare socket on another core, so that only the sandbox is measured.
    """
    with own_core() as core, SandboxProcess(SandboxConfig(), cpu=core) as sandbox:
        url = urlsplit(sandbox.url("alpaca"))
        drawn = [f"SYN{number:03d}" for number in range(1, 101)]
        questions = {
            "one": [_request(url.path, "AAPL", 22)],
            "many": [_request(url.path, name, day) for name in drawn for day in range(10, 28)],
            "batch": [_request(url.path, ",".join(drawn), 22)],
        }
        rates: dict[str, list[float]] = {name: [] for name in questions}
        for requests in questions.values():
            await _ask(url.netloc, requests, len(requests), 4)
        for _ in range(args.rounds):
            for name, requests in questions.items():
                count = args.requests // (50 if name == "batch" else 1)
                seconds = await _ask(url.netloc, requests, count, args.connections)
                rates[name].append(count / seconds)
        asked = sandbox.counts()["alpaca"]
    return {
        "sandbox_rps": round(statistics.median(rates["one"])),
        "sandbox_rps_changing": round(statistics.median(rates["many"])),
        "sandbox_rps_100_symbols": round(statistics.median(rates["batch"])),
        "bars_per_request": 90,
        "cores": 1,
        "requests": int(str(asked["requests"])),
        "failed": int(str(asked["failed"])),
    }


@contextmanager
def own_core() -> Iterator[int | None]:
    """Leave a core to the sandbox, and return to all cores afterwards."""
    if not hasattr(os, "sched_setaffinity"):
        yield None
        return
    cores = os.sched_getaffinity(0)
    core = min(cores)
    os.sched_setaffinity(0, cores - {core} or cores)
    try:
        yield core
    finally:
        os.sched_setaffinity(0, cores)


def _request(prefix: str, symbols: str, day: int) -> bytes:
    query = f"symbols={symbols}&timeframe=1Day&start=2012-10-{day}&end=2013-03-01&limit=10000"
    return f"GET {prefix}/v2/stocks/bars?{query} HTTP/1.1\r\nHost: bench\r\n{HEADERS}\r\n".encode()


async def _ask(netloc: str, requests: list[bytes], count: int, connections: int) -> float:
    host, port = netloc.split(":")
    queue = iter(requests[number % len(requests)] for number in range(count))

    async def converse() -> None:
        reader, writer = await asyncio.open_connection(host, int(port))
        for request in queue:
            writer.write(request)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            if not head.startswith(b"http/1.1 200"):
                msg = f"the sandbox answered {head[:40]!r}"
                raise RuntimeError(msg)
            length = head.split(b"content-length:")[1].split(b"\r\n")[0]
            await reader.readexactly(int(length))
        writer.close()
        await writer.wait_closed()

    began = time.perf_counter()
    await asyncio.gather(*(converse() for _ in range(connections)))
    return time.perf_counter() - began
