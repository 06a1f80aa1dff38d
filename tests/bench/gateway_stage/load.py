"""A load on a proxy: requests in HTTP/1.1 over kept connections, with as little work as possible."""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import Iterable
from urllib.parse import urlsplit

from attrs import define, field, frozen


def question(number: int, path: str = "/v1/messages", **more: object) -> bytes:
    """The body of a question that no other *number* has."""
    content = f"RSI 30, price {number}?"
    if path.endswith("/responses"):
        return json.dumps({"model": "gpt-5.6", "input": content, **more}).encode()
    if path.endswith("/embeddings"):
        return json.dumps({"model": "text-embedding-3-small", "input": content}).encode()
    model = "claude-sonnet-5-5" if path.endswith("/messages") else "deepseek-v4-pro"
    limit = {"max_tokens": 100} if path.endswith("/messages") else {}
    messages = [{"role": "user", "content": content}]
    return json.dumps({"model": model, "messages": messages, **limit, **more}).encode()


LEAD = 2.0
"""Seconds at the beginning of an open loop, before those that count."""
AHEAD = 0.5
"""Seconds in which an open loop makes its tasks: the first would be late by that."""


@frozen
class Taken:
    """How long a question took.

    Attributes:
        seconds: From when it was due until its answer had come.
        late: What of that it was asked too late, which is none of the proxy's doing.
    """

    seconds: float
    late: float


@define
class Load:
    """Sends requests to the server at *url* with *key*."""

    url: str
    key: str
    _idle: deque[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = field(factory=deque)

    async def ask(self, body: bytes, path: str = "/v1/messages", pieces: int | None = None) -> int:
        """The status of the answer; after so many *pieces* of it the connection is dropped."""
        reader, writer = await self._connection()
        host = urlsplit(self.url).netloc
        writer.write(
            f"POST {path} HTTP/1.1\r\nhost: {host}\r\nx-api-key: {self.key}\r\n"
            f"authorization: Bearer {self.key}\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\n\r\n".encode()
            + body
        )
        head = await reader.readuntil(b"\r\n\r\n")
        status, low = int(head[9:12]), head.lower()
        if b"transfer-encoding: chunked" in low:
            while size := int(await reader.readline(), 16):
                await reader.readexactly(size + 2)
                if pieces is not None:
                    pieces -= 1
                    if pieces <= 0:
                        writer.close()
                        return status
            await reader.readexactly(2)
        else:
            length = int(low.partition(b"content-length: ")[2].partition(b"\r\n")[0])
            await reader.readexactly(length)
        self._idle.append((reader, writer))
        return status

    async def open_loop(self, seconds: float, rate: float, first: int) -> list[Taken]:
        """How long questions took that are sent at *rate* a second, whatever comes back.

        Those of the first ``LEAD`` seconds open the connections, and are left out.
        """
        loop = asyncio.get_running_loop()
        started, taken = loop.time() + AHEAD, list[Taken]()

        async def one(at: int) -> None:
            due = started + at / rate
            await asyncio.sleep(due - loop.time())
            began = loop.time()
            status = await self.ask(question(first + at))
            assert status == 200, status
            if due >= started + LEAD:
                taken.append(Taken(loop.time() - due, began - due))

        await asyncio.gather(*(one(at) for at in range(round((LEAD + seconds) * rate))))
        return taken

    async def closed_loop(self, bodies: Iterable[bytes], callers: int) -> float:
        """The seconds that *callers* take to ask all of *bodies*."""
        waiting, began = iter(bodies), time.perf_counter()

        async def caller() -> None:
            for body in waiting:
                assert await self.ask(body) == 200

        await asyncio.gather(*(caller() for _ in range(callers)))
        return time.perf_counter() - began

    async def close(self) -> None:
        """Close the connections."""
        while self._idle:
            self._idle.pop()[1].close()

    async def _connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        while self._idle:
            reader, writer = self._idle.pop()
            if not reader.at_eof():
                return reader, writer
            writer.close()
        parts = urlsplit(self.url)
        assert parts.port is not None
        return await asyncio.open_connection(parts.hostname, parts.port)
