"""The routes of services, for programs that come through a gateway."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2
import pytest

from argo_mw import Argo, ConfigError
from argo_mw.plugin import (
    Endpoint,
    QuotaExceeded,
    WebCall,
    WebRequest,
    WebResponse,
    endpoints_of,
    structure,
)
from argo_mw_http import HttpConfig, HttpPlugin
from argo_mw_http.relay import Relay

from .conftest import BARS, OpenArgo, Pieces, Service, whole

SECRET = "s3cret-of-the-service"
APIS = {"example": {"url": "https://api.example.com/base", "headers": {"X-API-Key": SECRET}}}
BASED = {**BARS, "path": "/base/v2/stocks/{symbol}/bars"}


def served_by(plugin: HttpPlugin, service: Any) -> None:
    async def opened() -> Any:
        return service

    plugin._relay = Relay(opened)


def endpoint(argo: Argo) -> Endpoint:
    (found,) = endpoints_of(argo)["http"]
    return found


def web(rest: str = "v2/stocks/AAPL/bars", **more: Any) -> WebRequest:
    request = {"method": "GET", "path": f"/example/{rest}", "rest": rest, **more}
    return WebRequest(**request)


async def read(argo: Argo, request: WebRequest) -> WebCall:
    return await endpoint(argo).read(request)


async def ask(argo: Argo, request: WebRequest, **options: Any) -> WebResponse:
    return await (await read(argo, request)).answer(argo.options(**options))


async def body_of(response: WebResponse) -> bytes:
    if isinstance(response.body, bytes):
        return response.body
    pieces = b"".join([piece async for piece in response.body])
    await response.body.aclose()
    return pieces


async def test_a_route_is_asked_with_what_the_configuration_puts_into_it(
    open_argo: OpenArgo, plugin: HttpPlugin
) -> None:
    service = Service()
    served_by(plugin, service)
    async with open_argo(BASED, apis=APIS) as argo:
        assert "/example/*" == endpoint(argo).path
        headers = [
            ("accept", "a/b"),
            ("x-api-key", "client's"),
            ("host", "gateway"),
            ("connection", "close"),
        ]
        request = web(query="limit=5", headers=headers)
        call = await read(argo, request)
        assert ("bars_of", "none", False) == (call.operation, call.spending, call.unread)
        first, again = await ask(argo, request), await ask(argo, request)
    assert [b'{"bars":[1]}'] * 2 == [await body_of(first), await body_of(again)]
    assert first.outcome is not None
    assert again.outcome is not None
    assert (200, "example", ()) == (first.status, first.outcome.upstream, first.outcome.via)
    assert ("cache",) == again.outcome.via
    (sent,) = service.asked
    assert "https://api.example.com/base/v2/stocks/AAPL/bars?limit=5" == str(sent.url)
    assert (SECRET, "a/b") == (sent.headers["x-api-key"], sent.headers["accept"])
    assert "api.example.com" == sent.headers["host"]
    assert "connection" not in sent.headers


async def test_a_key_may_belong_into_the_query(open_argo: OpenArgo, plugin: HttpPlugin) -> None:
    service = Service()
    served_by(plugin, service)
    apis = {"example": {"query": {"apikey": SECRET}}}
    async with open_argo(apis=apis) as argo:
        await ask(argo, web(query="apikey=client&limit=5"))
    assert f"limit=5&apikey={SECRET}" == service.asked[0].url.query.decode()
    assert "https" == service.asked[0].url.scheme


async def test_what_the_configuration_puts_into_a_query_is_there_once(
    open_argo: OpenArgo, plugin: HttpPlugin
) -> None:
    service = Service()
    served_by(plugin, service)
    async with open_argo(apis={"example": {"query": {"api key": SECRET}}}) as argo:
        await ask(argo, web(query="%61pi+key=a&api%20key=b&&limit=5"))
    assert f"limit=5&api%20key={SECRET}" == service.asked[0].url.query.decode()


@pytest.mark.parametrize(
    ("method", "rest"),
    [
        ("GET", "v2/account"),
        ("POST", "v2/stocks/AAPL/bars"),
        ("GET", "v2/stocks/../x/bars"),
        ("GET", "v2/stocks/..%2F..%2Faccount/bars"),
        ("GET", ""),
    ],
)
async def test_what_has_no_route_is_not_passed_on(
    open_argo: OpenArgo, plugin: HttpPlugin, method: str, rest: str
) -> None:
    service = Service()
    served_by(plugin, service)
    async with open_argo(BASED, apis=APIS) as argo:
        response = await ask(argo, web(rest, method=method))
    assert (404, 0) == (response.status, service.times)
    assert SECRET.encode() not in await body_of(response)


async def test_tenants_of_a_gateway_have_answers_of_their_own(
    open_argo: OpenArgo, plugin: HttpPlugin
) -> None:
    service = Service()
    served_by(plugin, service)
    async with open_argo() as argo:
        for tenant in ("one", "two", "one"):
            await ask(argo, web(), tenant=tenant)
    assert 2 == service.times


async def test_what_a_service_responds_is_passed_on_as_it_came(
    open_argo: OpenArgo, plugin: HttpPlugin
) -> None:
    service = Service(lambda _: whole(b"gone", 410, {"set-cookie": "a=1"}))
    served_by(plugin, service)
    async with open_argo() as argo:
        response = await ask(argo, web())
    assert (410, b"gone") == (response.status, await body_of(response))
    assert ("set-cookie", "a=1") in response.headers
    assert service.bodies[0].closed


async def test_a_stream_is_passed_on_while_it_goes_on(
    open_argo: OpenArgo, plugin: HttpPlugin
) -> None:
    body = Pieces(b"data: 1\n\n", then=asyncio.Event())
    service = Service(lambda _: (200, {"content-type": "text/event-stream"}, body))
    served_by(plugin, service)
    async with open_argo() as argo:
        response = await ask(argo, web())
        assert not isinstance(response.body, bytes)
        pieces = aiter(response.body)
        assert b"data: 1\n\n" == await anext(pieces)
        await response.body.aclose()
    assert body.closed


@pytest.mark.parametrize(
    ("error", "status"),
    [(httpx2.ConnectError("refused"), 502), (httpx2.ReadTimeout("late"), 504)],
)
async def test_a_service_that_gives_no_response_is_a_bad_gateway(
    open_argo: OpenArgo, plugin: HttpPlugin, error: Exception, status: int
) -> None:
    class Fails(httpx2.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
            raise error

    served_by(plugin, Fails())
    async with open_argo() as argo:
        response = await ask(argo, web())
    assert status == response.status
    assert b"gave no response" in await body_of(response)


async def test_a_refusal_is_the_gateways_to_tell(open_argo: OpenArgo, plugin: HttpPlugin) -> None:
    served_by(plugin, Service())
    tables = {"upstreams": {"example": {"per_minute": 1}}}
    async with open_argo(tables=tables) as argo:
        await ask(argo, web())
        with pytest.raises(QuotaExceeded):
            await ask(argo, web("v2/stocks/MSFT/bars"))


async def test_a_change_is_seen_by_readers_of_its_path(
    open_argo: OpenArgo, plugin: HttpPlugin
) -> None:
    service = Service()
    served_by(plugin, service)
    orders = {**BARS, "path": "/orders", "name": "list", "subject": ""}
    async with open_argo(
        orders, {**orders, "method": "POST", "name": "place", "price": 1.0}
    ) as argo:
        await ask(argo, web("orders"))
        call = await read(argo, web("orders", method="POST", body=b"{}"))
        assert ("place", "open") == (call.operation, call.spending)
        await call.answer(argo.options())
        await ask(argo, web("orders"))
    assert ["GET", "POST", "GET"] == [request.method for request in service.asked]
    assert b"{}" == service.asked[1].content


def test_this_machine_is_asked_in_the_clear_and_others_are_not() -> None:
    from argo_mw_http.endpoints import _url_of

    tables = [{"host": host, "path": "/a"} for host in ("127.0.0.1:81", "localhost", "x.example")]
    config = structure({"routes": tables}, HttpConfig, where="argo.toml [plugins.http]")
    expected = ["http://127.0.0.1:81", "http://localhost", "https://x.example"]
    assert expected == [_url_of(route) for route in config.routes]


def test_a_service_without_a_route_is_an_error() -> None:
    with pytest.raises(ConfigError, match="did you mean 'example'"):
        structure({"routes": [BARS], "apis": {"exmaple": {}}}, HttpConfig, where="argo.toml")


@pytest.mark.parametrize(
    ("api", "message"),
    [
        ({"url": "http://x.example", "headers": {"X-API-Key": SECRET}}, "in the clear"),
        ({"url": "http://x.example", "query": {"apikey": SECRET}}, "in the clear"),
        ({"url": "x.example"}, "write it as https://"),
        ({"url": "https://me:pass@x.example"}, "write it as https://"),
        ({"url": "https://x.example?a=b"}, "write it as https://"),
        ({"url": "https://x.example", "headers": {"X-API-Key": SECRET}}, ""),
        ({"url": "http://127.0.0.1:81", "headers": {"X-API-Key": SECRET}}, ""),
        ({"url": "http://[::1]:81", "headers": {"X-API-Key": SECRET}}, ""),
        ({"url": "http://x.example"}, ""),
    ],
)
def test_keys_of_services_travel_encrypted(api: dict[str, object], message: str) -> None:
    tables = {"routes": [BARS], "apis": {"example": api}}
    if not message:
        assert structure(tables, HttpConfig, where="argo.toml").apis
        return
    with pytest.raises(ConfigError, match=message) as caught:
        structure(tables, HttpConfig, where="argo.toml")
    assert SECRET not in str(caught.value)
