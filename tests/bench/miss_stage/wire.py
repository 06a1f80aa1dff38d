"""A wire to a server that is slower by a known time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from urllib.parse import urlsplit, urlunsplit

_MOST = 65_536


@contextlib.asynccontextmanager
async def slow_wire(url: str, seconds: float) -> AsyncIterator[str]:
    """Yield the URL under which the server at *url* answers later by *seconds*, without a limit of rate."""
    parts = urlsplit(url)
    ways: set[asyncio.Task[None]] = set()

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(parts.hostname, parts.port)
        for pair in ((reader, far_writer, 0.0), (far_reader, writer, seconds)):
            way = asyncio.create_task(_carry(*pair))
            ways.add(way)
            way.add_done_callback(ways.discard)

    server = await asyncio.start_server(connect, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        try:
            yield urlunsplit(parts._replace(netloc=f"127.0.0.1:{port}"))
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)


async def _carry(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seconds: float
) -> None:
    """Carry bytes on, each *seconds* after it came; several are on their way at once."""
    loop = asyncio.get_running_loop()
    try:
        while data := await reader.read(_MOST):
            loop.call_later(seconds, writer.write, data)
        await asyncio.sleep(seconds)
    finally:
        writer.close()
