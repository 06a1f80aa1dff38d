"""A program of any language asks the routes of an API through the gateway."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx2
import pytest

import argo_mw_coalesce.plugin as coalesce
from argo_mw import Argo
from argo_mw_cache.plugin import CachePlugin
from argo_mw_gateway import Gateway, GatewayPlugin
from argo_mw_http import HttpPlugin

KEY = "key-of-the-service"
PLUGINS = {
    "http": HttpPlugin,
    "gateway": GatewayPlugin,
    "cache": CachePlugin,
    "coalesce": coalesce,
}


@pytest.fixture
def service() -> Iterator[tuple[int, list[tuple[str, str | None]]]]:
    """A service over sockets: its port, and what it was asked with which key."""
    asked: list[tuple[str, str | None]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append((self.path, self.headers.get("x-api-key")))
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", "12")
            self.end_headers()
            self.wfile.write(b'{"bars":[1]}')

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_port, asked
        server.shutdown()
        thread.join()


async def test_routes_are_asked_by_the_name_of_their_service(
    service: tuple[int, list[tuple[str, str | None]]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("ARGO_MW_STATE_DIR", str(tmp_path))
    port, asked = service
    route = {"host": f"127.0.0.1:{port}", "path": "/v2/stocks/{symbol}/bars", "api": "example"}
    apis = {"example": {"headers": {"X-API-Key": KEY}}}
    settings = {
        "argo": {"shared": "memory://", "strict": True},
        "plugins": {"gateway": {"clients": "anyone"}, "http": {"routes": [route], "apis": apis}},
    }
    async with Argo.open(settings, plugins=PLUGINS, installed=False) as argo:
        through = httpx2.ASGITransport(app=Gateway(argo))
        async with httpx2.AsyncClient(transport=through, base_url="http://127.0.0.1") as client:
            path = "/example/v2/stocks/AAPL/bars?limit=1"
            first, again = await client.get(path), await client.get(path)
            other = await client.get("/example/v2/account")
    assert [b'{"bars":[1]}'] * 2 == [first.content, again.content]
    assert "cache" == again.headers["argo-mw-served-by"]
    assert 404 == other.status_code
    assert [("/v2/stocks/AAPL/bars?limit=1", KEY)] == asked
