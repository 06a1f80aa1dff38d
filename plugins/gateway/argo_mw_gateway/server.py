"""The server: uvicorn with limits of its own, which completes answers before it stops."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

import uvicorn

from argo_mw.cli import ending_signals
from argo_mw.plugin import ConfigError, Log
from argo_mw_gateway.app import Gateway
from argo_mw_gateway.asgi import BrokenOff
from argo_mw_gateway.bounded_protocol import bounded_protocol
from argo_mw_gateway.config import GatewayConfig

_BACKLOG: Final = 1024
_LAST: Final = 5.0
"""Seconds that requests may take to end once their connections are closed."""

log = Log("argo_mw")


async def serve(gateway: Gateway, config: GatewayConfig, ready: Callable[[str], object]) -> None:
    """Serve *gateway* until SIGTERM, SIGINT or SIGHUP, and then complete the requests under way.

    Args:
        gateway: The gateway.
        config: Its address and limits.
        ready: Called with its URL once it listens.

    Raises:
        ConfigError: The address cannot be listened on, or the certificate cannot be used.
    """
    settings = _settings(gateway, config)
    with _listening(config) as listener, _quiet():
        port = listener.getsockname()[1]
        scheme = "https" if config.encrypted else "http"
        host = f"[{config.host}]" if ":" in config.host else config.host
        server = _Server(settings, gateway, partial(ready, f"{scheme}://{host}:{port}"))
        serving = asyncio.create_task(server.serve(sockets=[listener]), name="gateway:server")
        try:
            with ending_signals(server.stop):
                await asyncio.shield(serving)
        finally:
            while not serving.done():
                server.stop()
                with contextlib.suppress(asyncio.CancelledError):  # it stops once more
                    await asyncio.wait([serving])


class _Server(uvicorn.Server):
    """A server with a stop method: the first call lets requests end, the second ends them."""

    def __init__(
        self, config: uvicorn.Config, gateway: Gateway, ready: Callable[[], object]
    ) -> None:
        super().__init__(config)
        self._gateway = gateway
        self._ready = ready

    async def main_loop(self) -> None:
        """Run until it is stopped; called once it listens."""
        self._ready()
        await super().main_loop()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Wait for the requests under way, and end those that take too long."""
        await super().shutdown(sockets)
        self._let_go()
        if self.server_state.tasks:
            await asyncio.wait(self.server_state.tasks, timeout=_LAST)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle no signals: uvicorn would end the process before all costs are booked."""
        yield

    def stop(self) -> None:
        """Stop once the requests under way have ended; if called again, stop at once."""
        if self.should_exit:
            self.force_exit = True
            self._let_go()
        self._gateway.refuse_new()
        self.should_exit = True

    def _let_go(self) -> None:
        """Close all connections, which ends their requests as if the clients had left."""
        for connection in list(self.server_state.connections):
            connection.transport.abort()


def _settings(gateway: Gateway, config: GatewayConfig) -> uvicorn.Config:
    settings = uvicorn.Config(
        gateway,
        http=bounded_protocol(config, gateway),
        ws="none",
        lifespan="off",
        loop="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=_BACKLOG,
        timeout_keep_alive=max(1, round(config.idle_timeout)),
        timeout_graceful_shutdown=max(1, round(config.drain_timeout)),
        ssl_certfile=config.tls_certificate,
        ssl_keyfile=config.tls_key,
        h11_max_incomplete_event_size=config.max_header_bytes,
    )
    try:
        settings.load()
    except OSError as error:
        msg = f"[plugins.gateway]: its certificate or key cannot be used: {error}"
        raise ConfigError(msg) from error
    return settings


@contextlib.contextmanager
def _listening(config: GatewayConfig) -> Iterator[socket.socket]:
    """Listen at the configured address.

    Raises:
        ConfigError: The address is in use or not this machine's.
    """
    try:
        found = socket.getaddrinfo(
            config.host, config.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, kind, number, _, address = found[0]
        listener = socket.socket(family, kind, number)
    except OSError as error:
        raise _no_address(config, error) from error
    with listener:
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(_BACKLOG)
        except OSError as error:
            raise _no_address(config, error) from error
        listener.setblocking(False)
        yield listener


def _no_address(config: GatewayConfig, error: OSError) -> ConfigError:
    return ConfigError(
        f"the gateway cannot listen at {config.host}:{config.port}: {error.strerror or error}; "
        "choose another address in [plugins.gateway], or with --host and --port"
    )


class _Expected(logging.Filter):
    """Drops uvicorn's log lines about answers that broke off, which it ends that way on purpose."""

    def filter(self, record: logging.LogRecord) -> bool:
        raised = record.exc_info[1] if record.exc_info else None
        return not isinstance(raised, BrokenOff)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    logger, expected = logging.getLogger("uvicorn.error"), _Expected()
    logger.addFilter(expected)
    try:
        yield
    finally:
        logger.removeFilter(expected)
