"""uvicorn's HTTP/1.1 with limits that it lacks: on connections, and on slow senders and readers."""

from __future__ import annotations

import asyncio
import re
from typing import Any, ClassVar, Final

from argo_mw.plugin import WriteLimit, plain_refusal
from argo_mw_gateway.app import Gateway
from argo_mw_gateway.config import GatewayConfig

_LINGER: Final = 0.5
"""Seconds for which data of a refused client is still read and dropped: closing its connection at
once would lose the refusal."""
_SECOND_LOOK: Final = 0.05
_END_OF_HEAD: Final = b"\r\n\r\n"
_UPGRADE: Final = re.compile(rb"\r\nupgrade[ \t]*:[^\r\n]*", re.IGNORECASE)
_REASONS: Final = {408: b"Request Timeout", 431: b"Request Header Fields Too Large"}


def bounded_protocol(config: GatewayConfig, gateway: Gateway) -> type[asyncio.Protocol]:
    """Return uvicorn's protocol for connections to *gateway*, with the limits of *config*.

    It uses httptools if that is installed, else h11.
    """
    try:
        from argo_mw_gateway.httptools_protocol import StrictProtocol as Base
    except ImportError:
        from uvicorn.protocols.http.h11_impl import H11Protocol as Base  # type: ignore[assignment]
    return type("BoundedProtocol", (_Bounded, Base), {"bounds": config, "gateway": gateway})


class _Bounded:
    """A mixin before uvicorn's protocol class; each connection has an instance."""

    bounds: ClassVar[GatewayConfig]
    gateway: ClassVar[Gateway]
    # Attributes of uvicorn's protocol:
    connections: set[Any]
    transport: asyncio.Transport
    loop: asyncio.AbstractEventLoop
    cycle: Any

    _header_timer: asyncio.TimerHandle | None = None
    _header_bytes = 0
    _refused = False
    _taking: WriteLimit

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)  # type: ignore[misc]
        self._taking = WriteLimit(transport, self.loop, self.bounds.write_timeout)
        # Pause writing whenever anything is buffered, so that the time limit for reading also
        # covers the last bytes of an answer.
        transport.set_write_buffer_limits(high=1)
        self.gateway.count_connections(len(self.connections))
        if len(self.connections) > self.bounds.max_connections:
            transport.abort()
            return
        self._await_headers()

    def connection_lost(self, error: Exception | None) -> None:
        self._have_headers()
        self._taking.stop()
        super().connection_lost(error)  # type: ignore[misc]
        self.gateway.count_connections(len(self.connections))

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        if self._header_bytes == 0 and self._awaits_request():
            data = _without_upgrade(data)
        super().data_received(data)  # type: ignore[misc]
        if self.cycle is not None and not self.cycle.response_complete:
            self._have_headers()
            return
        if self.transport.is_closing():
            return
        self._header_bytes += len(data)
        if self._header_bytes > self.bounds.max_header_bytes:
            self._refuse(431, "the headers of this request are too large")
        elif self._header_timer is None:
            self._await_headers()

    def pause_writing(self) -> None:
        super().pause_writing()  # type: ignore[misc]
        self._taking.start()

    def resume_writing(self) -> None:
        self._taking.stop()
        super().resume_writing()  # type: ignore[misc]

    def _awaits_request(self) -> bool:
        cycle = self.cycle
        return cycle is None or (cycle.response_complete and not cycle.more_body)

    def _await_headers(self) -> None:
        self._header_timer = self.loop.call_later(self.bounds.header_timeout, self._look_again)

    def _have_headers(self) -> None:
        self._header_bytes = 0
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def _look_again(self) -> None:
        # Data that arrived while the event loop was busy is read first.
        self._header_timer = self.loop.call_later(_SECOND_LOOK, self._too_late)

    def _too_late(self) -> None:
        self._header_timer = None
        self._refuse(408, "the headers of this request took too long to arrive")

    def _refuse(self, status: int, message: str) -> None:
        self._have_headers()
        if self.transport.is_closing():
            return
        self._refused = True
        body = plain_refusal(status, message).body
        assert isinstance(body, bytes)
        self.transport.write(
            b"HTTP/1.1 %d %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\n"
            b"connection: close\r\n\r\n%s" % (status, _REASONS[status], len(body), body)
        )
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.loop.call_later(_LINGER, self.transport.close)


def _without_upgrade(data: bytes) -> bytes:
    """Return *data*, the beginning of a request, without its offer to upgrade the protocol.

    A server may ignore the offer (RFC 9110, section 7.8), but httptools drops the body of such a
    request. Java's own client offers HTTP/2 with the first request of each connection.
    """
    end = data.find(_END_OF_HEAD)
    if end < 0 or _UPGRADE.search(data, 0, end) is None:
        return data
    return _UPGRADE.sub(b"", data[:end]) + data[end:]
