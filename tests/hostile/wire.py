"""A server that sends what a test wants, as no well-meaning one would."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from functools import cache

from attrs import define

Body = Callable[[], Iterator[bytes]]
MEBIBYTE = 2**20


@define
class Hostile:
    """What the server sends next, and how often it was asked.

    Attributes:
        url: Its address.
        status: The status of its answers.
        headers: Further headers.
        body: Makes the pieces of a body; it ends with the connection.
        requests: How many requests came in.
    """

    url: str = ""
    status: int = 200
    headers: tuple[str, ...] = ("content-type: application/json",)
    body: Body = lambda: iter([b"{}"])
    requests: int = 0


@asynccontextmanager
async def hostile_server() -> AsyncIterator[Hostile]:
    """Serve on loopback until the block ends."""
    wanted = Hostile()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            for line in head.lower().split(b"\r\n"):
                if line.startswith(b"content-length:"):
                    await reader.readexactly(int(line.partition(b":")[2]))
            wanted.requests += 1
            lines = [f"HTTP/1.1 {wanted.status} X", "connection: close", *wanted.headers, "", ""]
            writer.write("\r\n".join(lines).encode())
            for piece in wanted.body():
                writer.write(piece)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    wanted.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        yield wanted


@cache
def gzip_bomb(size: int, start: bytes = b"", fill: bytes = b" ") -> bytes:
    """Return *start* and *size* bytes of *fill*, compressed a thousandfold."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    parts = [packer.compress(start)]
    parts += [packer.compress(fill * MEBIBYTE) for _ in range(size // MEBIBYTE)]
    return b"".join([*parts, packer.flush()])


def in_pieces(body: bytes) -> bytes:
    """Return *body* as it is sent in a chunk for each byte."""
    return b"".join([b"1\r\n%c\r\n" % byte for byte in body]) + b"0\r\n\r\n"


_GZIP_HEADER = bytes.fromhex("1f8b0800000000000003")
_EMPTY_BLOCK = bytes.fromhex("000000ffff")


def nothing() -> Iterator[bytes]:
    """Yield for ever what is nothing once it is decompressed."""
    yield _GZIP_HEADER
    yield from endless(_EMPTY_BLOCK * 10_000)


@cache
def nothing_in_little(size: int) -> bytes:
    """Return *size* bytes of the same, compressed twice."""
    plain = _GZIP_HEADER + _EMPTY_BLOCK * (size // len(_EMPTY_BLOCK))
    return gzip_bomb(0, gzip_bomb(0, plain))


def endless(piece: bytes = b" " * 65_536) -> Iterator[bytes]:
    """Yield *piece* for ever."""
    while True:
        yield piece
