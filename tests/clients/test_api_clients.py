"""A client of an API gains the chain by one line: a second equal call costs no request."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

import argo_mw_http
from argo_mw import Argo, BlockingArgo
from argo_mw_cache.plugin import CachePlugin
from argo_mw_http import HttpPlugin

coingecko = pytest.importorskip("coingecko_sdk")

ROUTE = {"host": "127.0.0.1", "path": "/simple/price", "subject": "ids"}
PLUGINS = {"http": HttpPlugin, "cache": CachePlugin}
ASKED: dict[str, Any] = {"vs_currencies": "usd", "ids": "bitcoin"}


@pytest.fixture(autouse=True)
def _nothing_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setenv("ARGO_MW_STATE_DIR", str(tmp_path))


@pytest.fixture
def service() -> Iterator[tuple[str, list[str]]]:
    """A service over sockets: its address, and what it was asked."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            body = json.dumps({"bitcoin": {"usd": 90_000.5}}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()
        thread.join()


def settings() -> dict[str, object]:
    return {"argo": {"shared": "memory://"}, "plugins": {"http": {"routes": [ROUTE]}}}


async def test_an_asynchronous_client_of_prices(service: tuple[str, list[str]]) -> None:
    url, asked = service
    async with Argo.open(settings(), plugins=PLUGINS, installed=False) as argo:
        http = coingecko.DefaultAsyncHttpxClient(transport=argo_mw_http.httpx_transport(argo))
        async with coingecko.AsyncCoingecko(
            pro_api_key="any", base_url=url, http_client=http
        ) as client:
            prices = [await client.simple.price.get(**ASKED) for _ in range(2)]
    assert [90_000.5, 90_000.5] == [price["bitcoin"].usd for price in prices]
    assert 1 == len(asked)


def test_a_synchronous_client_of_prices(service: tuple[str, list[str]]) -> None:
    url, asked = service
    with BlockingArgo(settings(), plugins=PLUGINS, installed=False) as argo:
        http = coingecko.DefaultHttpxClient(transport=argo_mw_http.httpx_transport(argo))
        with coingecko.Coingecko(pro_api_key="any", base_url=url, http_client=http) as client:
            prices = [client.simple.price.get(**ASKED) for _ in range(2)]
    assert [90_000.5, 90_000.5] == [price["bitcoin"].usd for price in prices]
    assert 1 == len(asked)
