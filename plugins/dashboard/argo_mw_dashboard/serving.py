"""Serving: the dashboard on a port of loopback, on the event loop of its application."""

from __future__ import annotations

import asyncio
import errno
import socket
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from pathlib import Path
from typing import Final, Self

import uvicorn

from argo_mw.plugin import (
    ConfigError,
    Context,
    CountersOf,
    HostNames,
    Secret,
    WebGuard,
    load_or_create_token,
)
from argo_mw_dashboard.bounded_protocol import BoundedProtocol
from argo_mw_dashboard.server import Site

_HOST: Final = "127.0.0.1"
_TOKEN: Final = "dashboard-token"  # noqa: S105 (the name of the file that it is in)
_OPENING: Final = "dashboard-open.html"
_GRACE: Final = 2.0


class PortTaken(ConfigError):
    """Something else listens on the port."""


class Dashboard:
    """The dashboard of one application, while it is shown.

    Attributes:
        site: What answers pages.
        url: Where it is, with the token that it asks for.
    """

    def __init__(self, site: Site, server: _Server, serving: asyncio.Task[None], url: str) -> None:
        self.site = site
        self._server = server
        self._serving = serving
        self.url = url

    @classmethod
    async def show(
        cls, context: Context, port: int, *, of: CountersOf = "fleet", hosts: tuple[str, ...] = ()
    ) -> Self:
        """Show the dashboard of an application at *port* on loopback.

        Args:
            context: The application's services.
            port: The port; 0 for any that is free.
            of: What is shown.
            hosts: Further names under which it is reached.

        Raises:
            PortTaken: Something else listens there.
            ConfigError: The token cannot be read or made, or *hosts* holds what is not a name.
        """
        token = await asyncio.to_thread(_token, context.state_dir / _TOKEN)
        site = Site(context, WebGuard(token, HostNames(hosts)), of)
        listening = _listen(port)
        server = _Server(
            uvicorn.Config(
                site.app,
                http=BoundedProtocol,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=1,
            )
        )
        serving = context.tasks.spawn("dashboard-server", server.serve(sockets=[listening]))
        address = f"http://{_HOST}:{listening.getsockname()[1]}/"
        return cls(site, server, serving, f"{address}#token={token.reveal()}")

    @property
    def address(self) -> str:
        """Where it is, without the token."""
        return self.url.partition("#")[0]

    async def aclose(self) -> None:
        """Stop showing it. Idempotent."""
        self.site.close()
        self._server.should_exit = True
        await asyncio.wait([self._serving], timeout=_GRACE)
        self._serving.cancel()
        await asyncio.wait([self._serving])

    async def wait(self) -> None:
        """Wait until it is no longer shown."""
        await asyncio.wait([self._serving])


def open_in_browser(url: str, folder: Path) -> bool:
    """Open *url* in the user's browser; return whether there is one.

    The browser is given a private file in *folder*: other users can read the arguments of a
    process, and the URL holds the token.
    """
    page = folder / _OPENING
    page.unlink(missing_ok=True)
    page.touch(mode=0o600)
    page.write_text(
        f'<!doctype html><meta http-equiv="refresh" content="0; url={escape(url)}">'
        f'<a href="{escape(url)}">The dashboard</a>\n'
    )
    return webbrowser.open(page.as_uri())


class _Server(uvicorn.Server):
    """A server in a program that handles its signals itself."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _token(path: Path) -> Secret:
    try:
        return load_or_create_token(path)
    except OSError as error:
        msg = f"the dashboard's token cannot be kept in {path}: {error}; see state_dir in [argo]"
        raise ConfigError(msg) from None


def _listen(port: int) -> socket.socket:
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((_HOST, port))
        listening.listen()  # so that the address can be opened at once
    except OSError as error:
        listening.close()
        msg = f"the dashboard cannot be shown at port {port}: {error.strerror}; name another port"
        if error.errno == errno.EADDRINUSE:
            raise PortTaken(msg) from None
        raise ConfigError(msg) from None
    listening.setblocking(False)
    return listening
