"""Replies: responses as clients get them, with headers that say where they come from."""

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
"""Headers that the gateway sets itself, and the provider's CORS headers, which do not hold here."""
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
"""Headers that concern the connection to the upstream, or its host."""
_NO_BODY: Final = frozenset([204, 205, 304])

RawHeaders = list[tuple[bytes, bytes]]


class Reply:
    """Sends the response to one request.

    Args:
        send: Sends a message of ASGI.
        method: The request's method.
        request_id: The id of the request.
        write_timeout: Seconds for which a client may read nothing.

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
            response: The response.
            now: The time, for its age.
            close: Whether the connection is closed after it.

        Raises:
            ClientLeft: The client has stopped reading.
            BrokenOff: A streamed body broke off.
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
            # After a proper end, a client would take half an answer for a whole one.
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
        except OSError as error:  # by ASGI 2.4, the client has left
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
    """Return the name of the layer that had the answer, else of the upstream."""
    kept = not outcome.cost.requests and outcome.via
    return outcome.via[-1] if kept else outcome.upstream or "argo-mw"


def cost_of(outcome: Outcome) -> float | None:
    """Return the cost of an answer in US dollars; ``None`` if unknown, or while it is streamed."""
    return None if outcome.cost.estimated else outcome.cost.usd


def with_header(response: WebResponse, name: str, value: str) -> Sequence[tuple[str, str]]:
    """Return the headers of *response* with the header *name* added."""
    return (*response.headers, (name, value))
