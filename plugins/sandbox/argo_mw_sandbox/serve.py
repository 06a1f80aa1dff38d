"""Serving until a signal stops it."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import Callable

from argo_mw_sandbox.config import SandboxConfig
from argo_mw_sandbox.server import Sandbox


async def serve(config: SandboxConfig, ready: Callable[[Sandbox], None]) -> None:
    """Run a sandbox until SIGINT or SIGTERM arrives.

    Args:
        config: How it is set up.
        ready: Called once it listens.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):
            loop.add_signal_handler(number, stop.set)
    async with Sandbox(config) as sandbox:
        ready(sandbox)
        await stop.wait()


async def serve_child(config: SandboxConfig) -> None:
    """Run a sandbox for a parent: print the root URL on stdout, end when stdin ends."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGINT, lambda: None)
    loop.add_reader(sys.stdin, stop.set)
    async with Sandbox(config) as sandbox:
        print(sandbox.url(), flush=True)
        await stop.wait()
