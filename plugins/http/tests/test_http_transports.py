"""Transports of both libraries, for synchronous and asynchronous clients."""

from __future__ import annotations

import asyncio
import gzip
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import httpx2
import pytest

from argo_mw import Argo, BlockingArgo
from argo_mw_http import httpx_transport, transport

from .conftest import BARS, URL, OpenArgo, Pieces, Service, whole

Blocking = Callable[..., BlockingArgo]
ASYNC: Mapping[str, tuple[Any, Any]] = {
    "httpx2": (httpx2.AsyncClient, transport),
    "httpx": (httpx.AsyncClient, httpx_transport),
}
SYNC: Mapping[str, tuple[Any, Any]] = {
    "httpx2": (httpx2.Client, transport),
    "httpx": (httpx.Client, httpx_transport),
}


@pytest.fixture(params=["httpx2", "httpx"])
def library(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def client(library: str, argo: Argo, service: Any) -> Any:
    kind, put = ASYNC[library]
    return kind(transport=put(argo, inner=service))


def blocking_client(library: str, argo: BlockingArgo, service: Any) -> Any:
    kind, put = SYNC[library]
    return kind(transport=put(argo, inner=service))


async def test_an_asynchronous_client_gains_the_chain(open_argo: OpenArgo, library: str) -> None:
    service = Service(
        lambda _: whole(gzip.compress(b'{"a":1}'), headers={"content-encoding": "gzip"})
    )
    async with open_argo() as argo, client(library, argo, service) as http:
        got = [await http.get(URL), await http.get(URL), await http.get("https://x.example/")]
    assert [{"a": 1}] * 3 == [one.json() for one in got]
    assert 2 == service.times
    assert all(type(one).__module__.startswith(library) for one in got)
    assert all(str(one.request.url).startswith("https://") for one in got)


def test_a_synchronous_client_gains_the_chain(blocking: Blocking, library: str) -> None:
    service = Service(
        lambda _: whole(gzip.compress(b'{"a":1}'), headers={"content-encoding": "gzip"})
    )
    with blocking_client(library, blocking(), service) as http:
        got = [http.get(URL), http.get(URL), http.get("https://x.example/")]
        with http.stream("GET", URL) as response:
            assert gzip.decompress(b"".join(response.iter_raw())) == b'{"a":1}'
    assert [{"a": 1}] * 3 == [one.json() for one in got]
    assert 2 == service.times
    assert got[1].elapsed.total_seconds() >= 0


def test_synchronous_callers_at_once_share_one_request(blocking: Blocking, library: str) -> None:
    service = Service()
    service.may_go_on.clear()
    argo = blocking()
    got: list[bytes] = []
    with blocking_client(library, argo, service) as http:
        threads = [
            threading.Thread(target=lambda: got.append(http.get(URL).content)) for _ in range(12)
        ]
        for thread in threads:
            thread.start()
        while argo.run(_waiting) < 12:
            pass
        service.may_go_on.set()
        for thread in threads:
            thread.join()
    assert [b'{"bars":[1]}'] * 12 == got
    assert 1 == service.times


async def _waiting(argo: Argo) -> int:
    from argo_mw.plugin import layers_of
    from argo_mw_coalesce import Coalesce

    await asyncio.sleep(0.005)
    (layer,) = [one.middleware for one in layers_of(argo) if isinstance(one.middleware, Coalesce)]
    return sum(flight.waiting for flight in layer._flights.values())


def test_what_a_synchronous_client_raises_is_its_own(blocking: Blocking, library: str) -> None:
    module = {"httpx": httpx, "httpx2": httpx2}[library]
    error = module.ConnectError("refused")

    class Fails(module.BaseTransport):  # type: ignore[name-defined,misc]
        def handle_request(self, request: Any) -> Any:
            raise error

    with (
        blocking_client(library, blocking(), Fails()) as http,
        pytest.raises(module.ConnectError) as caught,
    ):
        http.get(URL)
    assert caught.value is error


def test_a_body_that_is_too_large_goes_on_to_a_synchronous_caller(
    blocking: Blocking, library: str
) -> None:
    service = Service(lambda _: (200, {}, Pieces(*[b"x" * 400] * 5)))
    with blocking_client(library, blocking(max_bytes=1000), service) as http:
        with http.stream("GET", URL) as response:
            assert [1200, 400, 400] == [len(piece) for piece in response.iter_raw()]
        assert 2000 == len(http.get(URL).content)
    assert all(body.closed for body in service.bodies)


def test_a_synchronous_stream_is_its_callers(blocking: Blocking, library: str) -> None:
    service = Service(
        lambda _: (
            200,
            {"content-type": "text/event-stream"},
            Pieces(b"data: 1\n\n", b"data: 2\n\n"),
        )
    )
    with blocking_client(library, blocking(), service) as http, http.stream("GET", URL) as response:
        lines = response.iter_lines()
        assert "data: 1" == next(lines)
        assert 1 == service.bodies[0].given
    assert service.bodies[0].closed


def test_a_synchronous_upload_is_not_read_before_its_service_reads_it(
    blocking: Blocking, library: str
) -> None:
    given: list[int] = []

    def upload() -> Iterator[bytes]:
        for at in range(3):
            given.append(at)
            yield b"x"

    module = {"httpx": httpx, "httpx2": httpx2}[library]

    class Reads(module.BaseTransport):  # type: ignore[name-defined,misc]
        def handle_request(self, request: Any) -> Any:
            assert [] == given
            return module.Response(201, content=b"".join(request.stream))

    argo = blocking({**BARS, "method": "POST", "path": "/orders", "subject": ""})
    with blocking_client(library, argo, Reads()) as http:
        response = http.post("https://api.example.com/orders", content=upload())
    assert (201, b"xxx") == (response.status_code, response.content)


@pytest.mark.parametrize("mocked", ["content", "handler"])
async def test_a_mock_transport_can_be_in_between(
    open_argo: OpenArgo, library: str, mocked: str
) -> None:
    module = {"httpx": httpx, "httpx2": httpx2}[library]
    asked: list[Any] = []

    def answer(request: Any) -> Any:
        asked.append(request)
        return module.Response(200, json={"a": 1}, headers={"etag": '"1"'})

    async with open_argo() as argo:
        async with client(library, argo, module.MockTransport(answer)) as http:
            got = [(await http.get(URL)).json() for _ in range(2)]
    assert [{"a": 1}, {"a": 1}] == got
    assert 1 == len(asked)


async def test_a_transport_in_between_may_read_the_body(open_argo: OpenArgo, library: str) -> None:
    module = {"httpx": httpx, "httpx2": httpx2}[library]

    class Reads(module.AsyncBaseTransport):  # type: ignore[name-defined,misc]
        async def handle_async_request(self, request: Any) -> Any:
            response = await service.handle_async_request(request)
            await response.aread()
            return response

    service = Service(
        lambda _: whole(gzip.compress(b'{"a":1}'), headers={"content-encoding": "gzip"})
    )
    async with open_argo() as argo, client(library, argo, Reads()) as http:
        assert [{"a": 1}] * 2 == [(await http.get(URL)).json() for _ in range(2)]
    assert 1 == service.times


async def test_two_libraries_share_what_is_equal_on_the_wire(open_argo: OpenArgo) -> None:
    service = Service()
    headers = {"accept-encoding": "gzip", "accept": "*/*"}
    async with open_argo() as argo:
        for library in ASYNC:
            async with client(library, argo, service) as http:
                assert {"bars": [1]} == (await http.get(URL, headers=headers)).json()
    assert 1 == service.times


# -- over sockets ------------------------------------------------------------------------------


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    asked: list[str] = []  # noqa: RUF012

    def do_GET(self) -> None:
        self.asked.append(self.path)
        body = json.dumps({"path": self.path}).encode()
        self.send_response(200, "Fine")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def served() -> Iterator[int]:
    _Handler.asked.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


async def test_it_works_over_sockets(open_argo: OpenArgo, library: str) -> None:
    kind, put = ASYNC[library]
    with served() as port:
        route = {"host": f"127.0.0.1:{port}", "path": "/v2/{symbol}/bars", "subject": "symbol"}
        async with open_argo(route) as argo, kind(transport=put(argo)) as http:
            url = f"http://127.0.0.1:{port}/v2/AAPL/bars?limit=1"
            got = [await http.get(url), await http.get(url)]
    assert ["/v2/AAPL/bars?limit=1"] == _Handler.asked
    assert [{"path": "/v2/AAPL/bars?limit=1"}] * 2 == [one.json() for one in got]
    assert ["Fine", "Fine"] == [one.reason_phrase for one in got]
    assert ["HTTP/1.1", "HTTP/1.1"] == [one.http_version for one in got]


def test_it_works_over_sockets_for_synchronous_clients(blocking: Blocking, library: str) -> None:
    kind, put = SYNC[library]
    with served() as port:
        route = {"host": "127.0.0.1", "path": "/v2/{symbol}/bars", "subject": "symbol"}
        with kind(transport=put(blocking(route))) as http:
            url = f"http://127.0.0.1:{port}/v2/AAPL/bars"
            assert [{"path": "/v2/AAPL/bars"}] * 2 == [http.get(url).json() for _ in range(2)]
    assert ["/v2/AAPL/bars"] == _Handler.asked


async def test_a_head_has_no_body_and_keeps_its_length(open_argo: OpenArgo) -> None:
    service = Service(lambda _: (200, {"content-length": "77"}, Pieces()))
    async with open_argo({**BARS, "method": "HEAD"}) as argo:
        async with client("httpx2", argo, service) as http:
            got = [await http.head(URL) for _ in range(2)]
    assert [("77", b"")] * 2 == [(one.headers["content-length"], one.content) for one in got]
    assert 1 == service.times
