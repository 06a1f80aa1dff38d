"""A proxy that does nothing, of Starlette and httpx2: ``python -m … URL`` prints where it listens."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncIterator

import httpx2
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

KEPT = 75
"""Seconds for which a client's connection stays open between two requests, as at the gateway: with
uvicorn's 5 s each turn would begin with all connections anew, and some would end under a request."""
DROPPED = {"host", "content-length", "connection", "transfer-encoding"}


def application(upstream: str) -> Starlette:
    """A proxy to *upstream*."""
    limits = httpx2.Limits(max_connections=1000, max_keepalive_connections=1000)
    client = httpx2.AsyncClient(base_url=upstream, limits=limits, timeout=60.0)

    async def passed_on(request: Request) -> StreamingResponse:
        headers = [(n, v) for n, v in request.headers.items() if n not in DROPPED]
        asked = client.build_request(
            request.method, request.url.path, headers=headers, content=await request.body()
        )
        response = await client.send(asked, stream=True)

        async def body() -> AsyncIterator[bytes]:
            async for piece in response.aiter_raw():
                yield piece
            await response.aclose()

        kept = {n: v for n, v in response.headers.items() if n not in DROPPED}
        return StreamingResponse(body(), response.status_code, kept)

    return Starlette(routes=[Route("/{path:path}", passed_on, methods=["POST"])])


async def main() -> None:
    """Serve until the process is ended."""
    listener = socket.create_server(("127.0.0.1", 0))
    print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    config = uvicorn.Config(
        application(sys.argv[1]),
        log_level="error",
        access_log=False,
        lifespan="off",
        timeout_keep_alive=KEPT,
    )
    await uvicorn.Server(config).serve(sockets=[listener])


if __name__ == "__main__":
    asyncio.run(main())
