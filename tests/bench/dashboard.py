"""What an open page costs the programs that it shows, and what the dashboard costs with none open.

It takes four minutes on two cores: two for the first figure, of which each round has 46 seconds, since
programs learn only after seconds that a page is open, or closed again; one for callgrind, which runs two
programs 50 times as slowly; and one for memory.

- ``page_cpu_pct``: a program makes ``--rate`` calls a second of ``--symbols`` symbols, most of which are
  answered from memory; the page shows a line for each symbol. Its CPU time and that of the process that
  serves the page, in per cent of a core, with a page open less without: the median over ``--rounds`` of two
  slices of ``--seconds`` that follow each other. ``calls_per_s`` is what the program did make.
- ``hit_instructions``: instructions of an answer from memory in a program that serves a dashboard which
  nobody looks at; ``hit_instructions_without``: without the plugin. ``extra_instructions`` is the
  difference; :mod:`tests.bench._callgrind` says what is counted. ``None`` where it cannot be.
- ``memory_growth_bytes``: by how much the memory of a program grows from the 100,000th to the
  1,100,000th call, with a page open; what Python has allocated, by tracemalloc.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import statistics
import subprocess
import sys
import tempfile
import tracemalloc
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from operator import sub
from pathlib import Path

import httpx2
import psutil
from attrs import frozen

from argo_mw import Argo
from argo_mw.plugin import plugin_of
from argo_mw.testing import FakePlugin, Scripted
from argo_mw_cache.plugin import CachePlugin
from argo_mw_dashboard import DashboardPlugin
from tests.bench._callgrind import CannotCount, Turn, count
from tests.bench.dashboard_stage.hits import bars

_STAGE = "tests.bench.dashboard_stage"
_CALLS = 1_000_000
_SETTLED = 25.0
"""Seconds after which as many readings are remembered as ever."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this bench's options."""
    parser.add_argument("--rate", type=float, default=2_000.0, help="calls a second")
    parser.add_argument("--symbols", type=int, default=1_000)
    parser.add_argument("--seconds", type=float, default=10.0, help="of a slice")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--calls", type=int, default=_CALLS, help="in which memory stays flat")


async def run(args: argparse.Namespace) -> dict[str, object]:
    """Return all figures."""
    return {**await _page(args), **await _instructions(), **await _memory(args.calls)}


# What an open page costs


async def _page(args: argparse.Namespace) -> Mapping[str, object]:
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "argo.toml"
        config.write_text(
            f'[argo]\nstate_dir = "{folder}/state"\nshared = "sqlite:///{folder}/shared.db"\n'
            'watch = false\nblock = ["similarity"]\n'
        )
        words = (str(config), str(args.rate), str(args.symbols))
        async with _program(*words) as program, _served(config) as (url, server):
            await asyncio.sleep(args.seconds)
            closed, opened, idle, serving = [], [], [], []
            made = 0
            for taken in range(args.rounds):
                if taken:
                    await asyncio.sleep(18.0)  # until programs know that nobody looks any more
                before = _cpu(server)
                taken_closed = await _slice(program, args.seconds)
                closed.append(taken_closed.cpu_at(args.rate))
                idle.append((_cpu(server) - before) / args.seconds)
                async with _looking(url) as seen:
                    await asyncio.sleep(8.0)  # until programs know that somebody looks
                    before = _cpu(server)
                    taken_open = await _slice(program, args.seconds)
                    opened.append(taken_open.cpu_at(args.rate))
                    serving.append((_cpu(server) - before) / args.seconds)
                assert len(seen) > args.seconds / 4, f"the page was sent {len(seen)} events"
                made += taken_closed.calls + taken_open.calls
    # Of slices that follow each other: what else the machine does changes from round to round.
    added = statistics.median(map(sub, opened, closed))
    served = statistics.median(map(sub, serving, idle))
    return {
        "page_cpu_pct": round(100 * (added + served), 2),
        "page_program_cpu_pct": round(100 * added, 2),
        "page_server_cpu_pct": round(100 * served, 2),
        "program_cpu_pct": round(100 * statistics.median(closed), 1),
        "calls_per_s": round(made / (2 * args.rounds * args.seconds)),
        "page_bytes_per_s": round(statistics.median(map(len, seen)) / 2.0),
    }


@asynccontextmanager
async def _program(*words: str) -> AsyncIterator[asyncio.subprocess.Process]:
    program = await asyncio.create_subprocess_exec(
        sys.executable, "-m", f"{_STAGE}.program", *words,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert program.stdout is not None
    try:
        assert await program.stdout.readline() == b"ready\n"
        yield program
    finally:
        program.kill()
        await program.wait()


@frozen
class _Slice:
    """What a program has done in some seconds: CPU seconds, and calls."""

    cpu: float
    calls: int

    def cpu_at(self, rate: float) -> float:
        """Return the CPU seconds a second at so many calls a second, which a busy machine delays."""
        return self.cpu / self.calls * rate


async def _slice(program: asyncio.subprocess.Process, seconds: float) -> _Slice:
    before = await _asked(program)
    await asyncio.sleep(seconds)
    after = await _asked(program)
    return _Slice(after.cpu - before.cpu, after.calls - before.calls)


async def _asked(program: asyncio.subprocess.Process) -> _Slice:
    """Return what *program* has done since its start."""
    assert program.stdin is not None
    assert program.stdout is not None
    program.stdin.write(b"\n")
    cpu, _, calls = (await program.stdout.readline()).split()
    return _Slice(float(cpu), int(calls))


@asynccontextmanager
async def _served(config: Path) -> AsyncIterator[tuple[str, psutil.Process]]:
    command = ("-m", "argo_mw", "-c", str(config), "dashboard", "--no-open", "--port", "0")
    server = await asyncio.create_subprocess_exec(sys.executable, *command, stderr=subprocess.PIPE)
    assert server.stderr is not None
    try:
        async for line in server.stderr:
            if b"#token=" in line:
                yield line.decode().rpartition(" ")[2].strip(), psutil.Process(server.pid)
                return
        msg = "the dashboard did not say where it is"
        raise RuntimeError(msg)
    finally:
        server.kill()
        await server.wait()


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


@asynccontextmanager
async def _looking(url: str) -> AsyncIterator[list[bytes]]:
    """Look as an open page does; give the events that it is sent."""
    address, _, token = url.partition("#token=")
    seen: list[bytes] = []

    async def look() -> None:
        headers = {"Authorization": f"Bearer {token}"}
        async with (
            httpx2.AsyncClient(timeout=None) as client,
            client.stream("GET", f"{address}api/live", headers=headers) as response,
        ):
            rest = b""
            async for part in response.aiter_bytes():
                *whole, rest = (rest + part).split(b"\n\n")
                seen.extend(whole)

    looking = asyncio.create_task(look())
    try:
        yield seen
    finally:
        looking.cancel()
        await asyncio.wait([looking])


# The path of a call, with no page open


async def _instructions() -> Mapping[str, object]:
    try:
        # At the same time: what is counted is the same on a busy machine.
        with_it, without = await asyncio.gather(hit("with"), hit("without"))
    except CannotCount as error:
        print(f"instructions are not counted: {error}")
        return dict.fromkeys(("hit_instructions", "hit_instructions_without", "extra_instructions"))
    return {
        "hit_instructions": round(with_it.instructions, 1),
        "hit_instructions_without": round(without.instructions, 1),
        "extra_instructions": round(with_it.instructions - without.instructions, 1),
    }


async def hit(which: str) -> Turn:
    """Return what an answer from memory executes in the program *which* of ``dashboard_stage.hits``.

    Raises:
        CannotCount: Instructions cannot be counted here.
    """
    return (await count(f"{_STAGE}.hits", which))["hit"]


# Memory


async def _memory(calls: int) -> Mapping[str, object]:
    config = {"argo": {"shared": "memory://"}, "plugins": {"dashboard": {"port": 0}}}
    plugins = {
        "asked": FakePlugin(operations=(bars,), upstreams=(Scripted("a", ["bars"], 1.0),)),
        "cache": CachePlugin(),
        "dashboard": DashboardPlugin(),
    }
    async with Argo.open(config, plugins=plugins, installed=False) as argo:
        shown = plugin_of(argo, DashboardPlugin).shown
        assert shown is not None
        async with _looking(shown.url) as seen:
            tracemalloc.start()
            await _call(argo, 100_000, seen)
            await asyncio.sleep(_SETTLED)
            await _call(argo, 1_000, seen)
            before = _allocated()
            await _call(argo, calls, seen)
            after = _allocated()
            tracemalloc.stop()
    return {"memory_growth_bytes": after - before}


async def _call(argo: Argo, calls: int, seen: list[bytes]) -> None:
    for n in range(calls):
        await argo.call("bars", symbol=f"S{n % 1_000:04}")
        if n % 1_000 == 0:
            await asyncio.sleep(0)
            seen.clear()


def _allocated() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]
