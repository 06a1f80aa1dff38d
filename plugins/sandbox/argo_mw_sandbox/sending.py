"""Sending answers, whole or broken."""

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

_NO_LINGER = struct.pack("ii", 1, 0)


async def send(
    request: web.BaseRequest, answer: Answer, headers: Mapping[str, str], pace: float
) -> web.StreamResponse:
    """Send an answer and return when all of it was handed to the socket.

    Args:
        request: What is answered.
        answer: The answer.
        headers: Headers to add to its own.
        pace: Seconds that a streamed answer spreads over.

    Raises:
        asyncio.CancelledError: The client left.
    """
    merged = {"Content-Type": answer.content_type, **headers, **answer.headers}
    response: web.StreamResponse
    if answer.stream is None:
        response = web.Response(body=answer.body, status=answer.status, headers=merged)
        await response.prepare(request)
    else:
        response = web.StreamResponse(status=answer.status, headers=merged)
        await response.prepare(request)
        for piece in answer.stream:
            if piece.wait and pace:
                await asyncio.sleep(piece.wait * pace)
            await response.write(piece.data)
    await response.write_eof()
    return response


async def send_struck(request: web.BaseRequest, answer: Answer, fault: Fault) -> web.StreamResponse:
    """Send an answer the way a transport fault has it.

    Raises:
        asyncio.CancelledError: The fault ended the connection, or the client left.
    """
    if fault.kind == "stall":
        await _wait(fault.hold)
        return await send(request, answer, {}, 0.0)
    if fault.kind == "keepalive":
        return await _send_after_keepalives(request, answer, fault)
    if fault.kind == "trickle":
        return await _trickle(request, answer, fault.pace)
    if fault.kind == "cut":
        return await _cut(request, answer)
    return await _reset(request)


async def _reset(request: web.BaseRequest) -> web.StreamResponse:
    """End the connection with RST: SO_LINGER of zero seconds makes close() do that."""
    transport = request.transport
    if transport is not None:
        connection = transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        transport.abort()
    return await _until_connection_is_lost()


async def _cut(request: web.BaseRequest, answer: Answer) -> web.StreamResponse:
    """Send half of the promised bytes, then close."""
    body = answer.whole()
    response = await _promise(request, answer, len(body))
    await response.write(body[: len(body) // 2])
    if request.transport is not None:
        request.transport.close()
    return await _until_connection_is_lost()


async def _trickle(request: web.BaseRequest, answer: Answer, pace: float) -> web.StreamResponse:
    """Send the body a byte at a time."""
    body = answer.whole()
    response = await _promise(request, answer, len(body))
    for at in range(len(body)):
        await asyncio.sleep(pace)
        await response.write(body[at : at + 1])
    await response.write_eof()
    return response


async def _send_after_keepalives(
    request: web.BaseRequest, answer: Answer, fault: Fault
) -> web.StreamResponse:
    """Send blank lines, as vendors do while a request is queued, and then the answer."""
    response = web.StreamResponse(
        status=answer.status, headers={"Content-Type": answer.content_type}
    )
    await response.prepare(request)
    line = b"\n" if answer.stream is None else b": keep-alive\n\n"
    sent = 0.0
    while fault.hold is None or sent < fault.hold:
        await response.write(line)
        await asyncio.sleep(fault.pace)
        sent += fault.pace
    await response.write(answer.whole())
    await response.write_eof()
    return response


async def _promise(request: web.BaseRequest, answer: Answer, length: int) -> web.StreamResponse:
    headers = {"Content-Type": answer.content_type, "Content-Length": str(length)}
    response = web.StreamResponse(status=answer.status, headers=headers)
    await response.prepare(request)
    return response


async def _wait(seconds: float | None) -> None:
    if seconds is None:
        await _until_connection_is_lost()
    else:
        await asyncio.sleep(seconds)


async def _until_connection_is_lost() -> web.StreamResponse:
    """Wait for the server to cancel this handler, as it does when a connection ends."""
    await asyncio.Event().wait()
    msg = "the connection outlived its handler"
    raise ConnectionError(msg)
