"""How an answer reaches the wire, whole or broken."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Mapping

from aiohttp import web

from argo_mw_sandbox.faults import Fault
from argo_mw_sandbox.vendors.protocol import Answer

BREAKING = frozenset({"reset", "outage", "cut"})
"""Faults after which the client cannot have a complete answer, whatever it does."""

_LINGER_NOT = struct.pack("ii", 1, 0)


async def send(
    request: web.BaseRequest,
    answer: Answer,
    headers: Mapping[str, str],
    pace: float,
    fault: Fault | None,
) -> web.StreamResponse:
    """Send an answer and return when all of it was handed to the socket.

    Args:
        request: What is answered.
        answer: The answer.
        headers: Headers to add to its own.
        pace: Seconds that a streamed answer spreads over.
        fault: How it breaks, or ``None``.

    Raises:
        asyncio.CancelledError: The client left, or the fault ended the connection.
    """
    if fault is not None:
        return await _FAULTS[fault.kind](request, answer, fault)
    merged = {"Content-Type": answer.content_type, **headers, **answer.headers}
    if answer.stream is not None:
        return await _send_stream(request, answer, merged, pace)
    response = web.Response(body=answer.body, status=answer.status, headers=merged)
    await response.prepare(request)
    await response.write_eof()
    return response


async def _send_stream(
    request: web.BaseRequest, answer: Answer, headers: Mapping[str, str], pace: float
) -> web.StreamResponse:
    response = web.StreamResponse(status=answer.status, headers=headers)
    await response.prepare(request)
    await response.write(answer.body)
    for piece in answer.stream or ():
        if piece.wait and pace:
            await asyncio.sleep(piece.wait * pace)
        await response.write(piece.data)
    await response.write_eof()
    return response


async def _stall(request: web.BaseRequest, answer: Answer, fault: Fault) -> web.StreamResponse:
    """Hold the request until the client leaves."""
    return await _until_connection_is_lost()


async def _reset(request: web.BaseRequest, answer: Answer, fault: Fault) -> web.StreamResponse:
    """End the connection with RST: SO_LINGER of zero seconds makes close() do that."""
    transport = request.transport
    if transport is not None:
        connection = transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
        transport.abort()
    return await _until_connection_is_lost()


async def _cut(request: web.BaseRequest, answer: Answer, fault: Fault) -> web.StreamResponse:
    """Send half of the promised bytes, then close."""
    response = await _promise(request, answer)
    await response.write(answer.body[: len(answer.body) // 2])
    if request.transport is not None:
        request.transport.close()
    return await _until_connection_is_lost()


async def _trickle(request: web.BaseRequest, answer: Answer, fault: Fault) -> web.StreamResponse:
    """Send the body a byte at a time."""
    response = await _promise(request, answer)
    for at in range(len(answer.body)):
        await asyncio.sleep(fault.pace)
        await response.write(answer.body[at : at + 1])
    await response.write_eof()
    return response


async def _promise(request: web.BaseRequest, answer: Answer) -> web.StreamResponse:
    headers = {"Content-Type": answer.content_type, "Content-Length": str(len(answer.body))}
    response = web.StreamResponse(status=answer.status, headers=headers)
    await response.prepare(request)
    return response


async def _until_connection_is_lost() -> web.StreamResponse:
    """Wait for the server to cancel this handler, as it does when a connection ends."""
    await asyncio.Event().wait()
    msg = "the connection outlived its handler"
    raise ConnectionError(msg)


_FAULTS = {
    "stall": _stall,
    "reset": _reset,
    "outage": _reset,
    "cut": _cut,
    "trickle": _trickle,
}
