"""Replies: responses as a client gets them, with headers that say where they come from."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator, Sequence
from typing import Final

from argo_mw.plugin import Outcome, WebResponse, WebStream
from argo_mw_gateway.asgi import BrokenOff, ClientLeft, Send

REQUEST_ID: Final = b"argo-mw-request-id"
SERVED_BY: Final = b"argo-mw-served-by"
AGE: Final = b"argo-mw-age"
COST: Final = b"argo-mw-cost-usd"
CHANGED: Final = b"argo-mw-changed"

_PREFIXES: Final = ("argo-mw-", "access-control-")
"""Headers of ours, and those by which a provider lets pages of other sites read its answers."""
_NOT_PASSED_ON: Final = frozenset(
    [
        "alt-svc",
        "clear-site-data",
        "connection",
        "content-length",
        "date",
        "keep-alive",
        "nel",
        "proxy-authenticate",
        "proxy-connection",
        "public-key-pins",
        "report-to",
        "set-cookie",
        "strict-transport-security",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ]
)
"""Headers of the connection to the upstream, or about its host, which is not ours."""
_NO_BODY: Final = frozenset([204, 205, 304])

RawHeaders = list[tuple[bytes, bytes]]


class Reply:
    """Sends the response to one request.

    Args:
        send: Sends a message of ASGI.
        method: The request's method.
        request_id: Its number.
        write_timeout: Seconds that a client may take nothing.

    Attributes:
        status: The status that was sent, or 0.
    """

    def __init__(self, send: Send, method: str, request_id: str, write_timeout: float) -> None:
        self._send = send
        self._method = method
        self._request_id = request_id.encode()
        self._write_timeout = write_timeout
        self.status = 0

    async def send(self, response: WebResponse, now: float, *, close: bool = False) -> None:
        """Send *response* at *now*, in seconds since the epoch.

        Args:
            response: What is sent.
            now: The time, for its age.
            close: Whether the connection ends with it.

        Raises:
            ClientLeft: The client takes nothing any more.
            BrokenOff: A body in pieces broke off.
        """
        headers = list(_passed(response))
        headers += _own(response, self._request_id, now)
        if close:
            headers.append((b"connection", b"close"))
        body = response.body
        empty = self._method == "HEAD" or response.status in _NO_BODY
        if isinstance(body, bytes):
            if not empty:
                headers.append((b"content-length", b"%d" % len(body)))
            await self._start(response.status, headers)
            await self._write(b"" if empty else body, more=False)
            return
        try:
            await self._start(response.status, headers)
            if not empty:
                await self._stream(body)
            await self._write(b"", more=False)
        finally:
            await body.aclose()

    async def _stream(self, body: WebStream) -> None:
        try:
            async for piece in body:
                if piece:
                    await self._write(piece, more=True)
        except ClientLeft:
            raise
        except Exception as error:
            # A client that got a proper end would take half an answer for a whole one.
            raise BrokenOff from error

    async def _start(self, status: int, headers: RawHeaders) -> None:
        self.status = status
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def _write(self, piece: bytes, *, more: bool) -> None:
        message = {"type": "http.response.body", "body": piece, "more_body": more}
        try:
            async with asyncio.timeout(self._write_timeout):
                await self._send(message)
        except TimeoutError:
            raise ClientLeft from None
        except OSError as error:  # as servers say by ASGI 2.4 that it has left
            raise ClientLeft from error


def _passed(response: WebResponse) -> Iterator[tuple[bytes, bytes]]:
    for name, value in response.headers:
        low = name.lower()
        if low not in _NOT_PASSED_ON and not low.startswith(_PREFIXES):
            yield low.encode("latin-1", "replace"), value.encode("latin-1", "replace")


def _own(response: WebResponse, request_id: bytes, now: float) -> Iterator[tuple[bytes, bytes]]:
    yield REQUEST_ID, request_id
    outcome = response.outcome
    if outcome is not None:
        yield SERVED_BY, served_by(outcome).encode("latin-1", "replace")
        if outcome.as_of is not None:
            yield AGE, b"%d" % max(0, math.floor(outcome.age(now)))
        usd = cost_of(outcome)
        if usd is not None:
            yield COST, f"{usd:.9f}".rstrip("0").rstrip(".").encode()
    if response.changed:
        yield CHANGED, ", ".join(response.changed).encode("latin-1", "replace")


def served_by(outcome: Outcome) -> str:
    """Return what answered: a layer that had the answer, else the upstream."""
    kept = not outcome.cost.requests and outcome.via
    return outcome.via[-1] if kept else outcome.upstream or "argo-mw"


def cost_of(outcome: Outcome) -> float | None:
    """Return what an answer cost in US dollars; ``None`` while a stream runs, or where unknown."""
    return None if outcome.cost.estimated else outcome.cost.usd


def with_header(response: WebResponse, name: str, value: str) -> Sequence[tuple[str, str]]:
    """Return the headers of *response*, and one more."""
    return (*response.headers, (name, value))
