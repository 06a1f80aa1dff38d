"""Requests of routes pass the chain: shared, kept, refreshed, and otherwise the client's own."""

from __future__ import annotations

import asyncio
import gzip
from typing import Any

import httpx2
import pytest

import argo_mw_coalesce.plugin as coalesce
from argo_mw import Argo
from argo_mw.plugin import (
    AttemptEnded,
    CallEnded,
    RequestSettled,
    UpstreamError,
    context_of,
    plugin_of,
)
from argo_mw.testing import FakeClock, capture_events, settle
from argo_mw_adaptive_ttl import AdaptiveTtlPlugin
from argo_mw_http import HttpPlugin, transport

from .conftest import BARS, LAYERS, URL, OpenArgo, Pieces, Service, whole

RFC = {**BARS, "cache_control": True}
ZIPPED = {"content-encoding": "gzip"}
POST = {**BARS, "method": "POST", "path": "/orders", "name": "orders", "subject": ""}


def client(argo: Argo, service: Service, **more: Any) -> httpx2.AsyncClient:
    tenant = more.pop("tenant", None)
    return httpx2.AsyncClient(transport=transport(argo, inner=service, tenant=tenant), **more)


# -- shared and kept ---------------------------------------------------------------------------


async def test_a_second_equal_request_is_not_sent(open_argo: OpenArgo) -> None:
    service = Service()
    async with open_argo() as argo, client(argo, service) as http:
        first = await http.get(URL, params={"limit": 5})
        again = await http.get(URL, params={"limit": 5})
        other = await http.get(URL, params={"limit": 6})
    assert first.json() == again.json() == other.json() == {"bars": [1]}
    assert "application/json" == again.headers["content-type"]
    assert str(len(again.content)) == again.headers["content-length"]
    assert "0" == again.headers["age"]
    assert "age" not in first.headers
    assert 2 == service.times


async def test_requests_at_once_share_one(open_argo: OpenArgo) -> None:
    service = Service()
    service.go.clear()
    async with open_argo(layers={"coalesce": coalesce}) as argo, client(argo, service) as http:
        asking = [asyncio.create_task(http.get(URL)) for _ in range(5)]
        await service.arrived.wait()
        await settle()
        service.go.set()
        got = await asyncio.gather(*asking)
    assert 1 == service.times
    assert [b'{"bars":[1]}'] * 5 == [response.content for response in got]


async def test_another_credential_tenant_or_address_has_answers_of_its_own(
    open_argo: OpenArgo,
) -> None:
    service = Service()
    async with open_argo() as argo:
        for headers in ({"x-api-key": "a"}, {"x-api-key": "b"}, {"authorization": "Bearer a"}):
            async with client(argo, service, headers=headers) as http:
                await http.get(URL)
        async with client(argo, service, tenant="desk") as http:
            await http.get(URL)
        async with client(argo, service) as http:
            await http.get(URL.replace("https", "http"))
            await http.get(URL.replace(".com", ".com:8443"))
    assert 6 == service.times


async def test_tenants_share_what_a_route_says_is_public(open_argo: OpenArgo) -> None:
    service = Service()
    async with open_argo({**BARS, "scope": "public"}) as argo:
        for tenant in ("one", "two"):
            async with client(argo, service, tenant=tenant) as http:
                assert (await http.get(URL)).is_success
    assert 1 == service.times


async def test_a_kept_answer_is_the_bytes_that_came(open_argo: OpenArgo) -> None:
    wire = gzip.compress(b'{"bars":[1]}')
    service = Service(lambda _: whole(wire, headers={"content-encoding": "gzip", "x-more": "1"}))
    async with open_argo() as argo, client(argo, service) as http:
        for _ in range(2):
            async with http.stream("GET", URL) as response:
                assert wire == b"".join([piece async for piece in response.aiter_raw()])
            assert "gzip" == response.headers["content-encoding"]
            assert "1" == response.headers["x-more"]
        assert {"bars": [1]} == (await http.get(URL)).json()
    assert 1 == service.times


async def test_the_outcome_says_what_the_chain_did(open_argo: OpenArgo) -> None:
    async with open_argo() as argo, client(argo, Service()) as http:
        await http.get(URL)
        response = await http.get(URL)
    outcome = response.extensions["argo_mw.outcome"]
    assert ("cache",) == outcome.via
    assert {"op:bars_of", "subject:AAPL"} <= outcome.tags
    assert response.elapsed.total_seconds() >= 0


async def test_the_subject_reaches_layers_and_flags(open_argo: OpenArgo) -> None:
    service = Service()
    async with open_argo() as argo, client(argo, service) as http:
        events = capture_events(argo)
        await http.get(URL)
        await argo.invalidate("subject:AAPL")
        await http.get(URL)
    assert ["AAPL", "AAPL"] == [ended.call.subject for ended in events.of(CallEnded)]
    assert 2 == service.times


async def test_flags_are_decided_by_the_subject(open_argo: OpenArgo) -> None:
    tables = {"flags": {"cache": {"percent": 50, "by": "subject"}}}
    service = Service()
    urls = [URL.replace("AAPL", f"S{at}") for at in range(40)]
    async with open_argo(tables=tables) as argo, client(argo, service) as http:
        asked = []
        for limit in (1, 2):  # other questions about the same subjects are in the same arm
            before = service.times
            for url in urls:
                for _ in range(2):
                    await http.get(url, params={"limit": limit})
            asked.append([request.url.path for request in service.asked[before:]])
    assert asked[0] == asked[1]
    assert 40 < len(asked[0]) < 80


async def test_adaptive_ttl_decides_by_subject_and_data_type(open_argo: OpenArgo) -> None:
    layers = {**LAYERS, "adaptive_ttl": AdaptiveTtlPlugin}
    route = {**BARS, "data_type": "market_data"}
    clock = FakeClock()
    service = Service(lambda _: whole(headers={"cache-control": "max-age=3"}))
    for routed, after, times in ((route, 4, 1), ({**route, "cache_control": True}, 4, 2)):
        service.asked.clear()
        async with open_argo(routed, layers=layers, clock=clock) as argo:
            async with client(argo, service) as http:
                await http.get(URL)
                await clock.advance(after)
                again = await http.get(URL)
        assert times == service.times
        if times == 1:
            notes = again.extensions["argo_mw.outcome"].notes
            assert ["adaptive_ttl"] == [note.layer for note in notes if "market_data" in note.text]


async def test_a_parameter_of_the_query_may_be_the_subject(open_argo: OpenArgo) -> None:
    route = {**BARS, "path": "/v1/quote", "subject": "symbols"}
    async with open_argo(route) as argo, client(argo, Service()) as http:
        events = capture_events(argo)
        await http.get("https://api.example.com/v1/quote", params={"symbols": "AAPL,MSFT"})
        await http.get("https://api.example.com/v1/quote")
    assert ["AAPL,MSFT", ""] == [ended.call.subject for ended in events.of(CallEnded)]


async def test_no_parameter_of_a_call_shows_a_credential(open_argo: OpenArgo) -> None:
    route = {**BARS, "path": "/bot{token}/{symbol}"}
    async with open_argo(route) as argo, client(argo, Service()) as http:
        events = capture_events(argo)
        await http.get(
            "https://me:pass1@api.example.com/botsecret1/AAPL?apikey=secret2",
            headers={"x-api-key": "secret3"},
        )
    (ended,) = events.of(CallEnded)
    shown = repr(dict(ended.call.parameters)) + ended.call.key + repr(ended.call)
    assert "AAPL" == ended.call.parameters["symbol"]
    assert not any(one in shown for one in ("secret1", "secret2", "secret3", "pass1"))


# -- straight through --------------------------------------------------------------------------


async def test_what_has_no_route_goes_straight_through_and_is_counted(open_argo: OpenArgo) -> None:
    service = Service()
    async with open_argo() as argo, client(argo, service) as http:
        events = capture_events(argo)
        for _ in range(2):
            await http.get("https://api.example.com/v2/other")
        await http.post(URL, content=b"x")
        await http.get("https://elsewhere.example/")
        passed = plugin_of(argo, HttpPlugin).passed
    assert [] == events.of(CallEnded)
    assert (4, {"api.example.com": 3, "elsewhere.example": 1}) == (passed.total, passed.by_host)
    assert 4 == service.times


async def test_an_upload_is_not_read_before_its_service_reads_it(open_argo: OpenArgo) -> None:
    given: list[int] = []

    async def upload() -> Any:
        for at in range(40):
            given.append(at)
            yield b"x" * 1_000_000

    read: list[int] = []

    class Reads(httpx2.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
            assert [] == given
            assert isinstance(request.stream, httpx2.AsyncByteStream)
            read.append(sum([len(piece) async for piece in request.stream]))
            return httpx2.Response(201, json={})

    async with open_argo(POST) as argo:
        async with httpx2.AsyncClient(transport=transport(argo, inner=Reads())) as http:
            for url in ("https://api.example.com/orders", "https://api.example.com/files"):
                given.clear()
                assert 201 == (await http.post(url, content=upload())).status_code
    assert [40_000_000, 40_000_000] == read


async def test_requests_that_change_something_are_counted_and_never_shared(
    open_argo: OpenArgo,
) -> None:
    service = Service()
    async with open_argo({**POST, "price": 0.5}) as argo, client(argo, service) as http:
        events = capture_events(argo)
        for _ in range(2):
            response = await http.post("https://api.example.com/orders", json={"buy": 1})
            assert {"bars": [1]} == response.json()
    assert 2 == service.times
    assert [0.5, 0.5] == [
        one.cost.usd for settled in events.of(RequestSettled) for one in settled.charges
    ]


async def test_a_search_by_post_is_shared_where_the_route_says_that_it_is_safe(
    open_argo: OpenArgo,
) -> None:
    service = Service()
    async with open_argo({**POST, "safe": True}) as argo, client(argo, service) as http:
        for body in ({"type": "mids"}, {"type": "mids"}, {"type": "book"}):
            await http.post("https://api.example.com/orders", json=body)
        bodies = [request.content for request in service.asked]
        # A body of unknown length, or a long one, is not read.
        for _ in range(2):
            await http.post("https://api.example.com/orders", content=b"x" * 2_000_000)
    assert [b'{"type":"mids"}', b'{"type":"book"}'] == bodies
    assert 4 == service.times


@pytest.mark.parametrize("route", [BARS, {**POST, "path": BARS["path"]}])
async def test_no_request_is_sent_but_by_its_client(
    open_argo: OpenArgo, route: dict[str, Any]
) -> None:
    service = Service()
    async with open_argo(route) as argo, client(argo, service) as http:
        events = capture_events(argo)
        await http.request(route.get("method", "GET"), URL)
        (ended,) = events.of(CallEnded)
        with pytest.raises(UpstreamError, match="only asked by clients of HTTP"):
            await context_of(argo).ask_afresh(ended.call)
    assert 1 == service.times


@pytest.mark.parametrize(
    "headers",
    [
        {"range": "bytes=0-5"},
        {"if-none-match": '"v1"'},
        {"if-modified-since": "Tue, 14 Nov 2023 22:13:20 GMT"},
        {"accept": "text/event-stream"},
        {"connection": "upgrade", "upgrade": "websocket"},
    ],
)
async def test_requests_for_a_part_or_a_change_are_for_their_callers_alone(
    open_argo: OpenArgo, headers: dict[str, str]
) -> None:
    service = Service(lambda _: whole(b"", 304))
    async with open_argo() as argo, client(argo, service) as http:
        assert [304, 304] == [(await http.get(URL, headers=headers)).status_code for _ in range(2)]
        service.answer = lambda _: whole()
        assert [200, 200] == [(await http.get(URL)).status_code for _ in range(2)]
    assert 3 == service.times


@pytest.mark.parametrize("routed", [True, False])
@pytest.mark.parametrize("response", [(201, b""), (500, b"")])
async def test_a_change_puts_what_is_read_at_its_path_out_of_date(
    open_argo: OpenArgo, routed: bool, response: tuple[int, bytes]
) -> None:
    reads = {**BARS, "path": "/orders", "name": "list", "subject": ""}
    other = {**BARS, "path": "/accounts", "name": "accounts", "subject": ""}
    service = Service()
    routes = [reads, other, {**reads, "method": "POST", "name": "place"}]
    async with open_argo(*routes[: 3 if routed else 2]) as argo, client(argo, service) as http:
        urls = ["https://api.example.com/orders", "https://api.example.com/accounts"]
        for url in urls:
            await http.get(url)
        service.answer = lambda _: whole(response[1], response[0])
        await http.post(urls[0], json={"buy": 1})
        service.answer = lambda _: whole(b"after")
        assert [b"after", b'{"bars":[1]}'] == [(await http.get(url)).content for url in urls]
    assert 4 == service.times


# -- what is an answer -------------------------------------------------------------------------


@pytest.mark.parametrize("status", [201, 204, 301, 400, 401, 404, 429, 500, 503])
async def test_a_response_that_is_no_answer_is_its_callers_and_not_kept(
    open_argo: OpenArgo, status: int
) -> None:
    service = Service(lambda _: whole(b"why", status, {"x-more": "1"}))
    async with open_argo() as argo, client(argo, service) as http:
        for _ in range(2):
            response = await http.get(URL)
            assert (status, b"why", "1") == (
                response.status_code,
                response.content,
                response.headers["x-more"],
            )
    assert 2 == service.times


async def test_a_route_says_which_statuses_are_answers(open_argo: OpenArgo) -> None:
    service = Service(lambda _: whole(b"{}", 404))
    async with open_argo({**BARS, "status": [200, 404]}) as argo, client(argo, service) as http:
        assert [404, 404] == [(await http.get(URL)).status_code for _ in range(2)]
    assert 1 == service.times


@pytest.mark.parametrize(
    ("body", "times"),
    [(b'{"Note":"slow down"}', 2), (b'{"bars":[]}', 1), (b"<html>", 2), (b"", 1)],
)
async def test_a_body_that_reports_an_error_is_no_answer(
    open_argo: OpenArgo, body: bytes, times: int
) -> None:
    service = Service(lambda _: whole(body))
    async with open_argo({**BARS, "errors": ["/error", "/Note"]}) as argo:
        async with client(argo, service) as http:
            assert [body, body] == [(await http.get(URL)).content for _ in range(2)]
    assert times == service.times


async def test_waiting_callers_share_a_failure_and_decide_themselves(open_argo: OpenArgo) -> None:
    service = Service(lambda _: whole(b"later", 429, {"retry-after": "7"}))
    service.go.clear()
    async with open_argo() as argo, client(argo, service) as http:
        asking = [asyncio.create_task(http.get(URL)) for _ in range(3)]
        await service.arrived.wait()
        await settle()
        service.go.set()
        got = await asyncio.gather(*asking)
        assert [(429, "7", b"later")] * 3 == [
            (one.status_code, one.headers["retry-after"], one.content) for one in got
        ]
        assert 1 == service.times
        # And it is kept for nobody: a client that retries decides when.
        service.answer = lambda _: whole()
        assert 200 == (await http.get(URL)).status_code


async def test_an_old_answer_stands_in_for_a_failure_unless_the_route_has_no_grace(
    open_argo: OpenArgo,
) -> None:
    for grace, expected in ((300, 200), (0, 503)):
        clock, service = FakeClock(), Service()
        async with open_argo({**BARS, "ttl": 10, "grace": grace}, clock=clock) as argo:
            async with client(argo, service) as http:
                await http.get(URL)
                await clock.advance(11)
                service.answer = lambda _: whole(b"down", 503)
                assert expected == (await http.get(URL)).status_code


@pytest.mark.parametrize("status", [401, 403, 404, 410])
async def test_no_old_answer_stands_in_for_one_that_is_refused_or_gone(
    open_argo: OpenArgo, status: int
) -> None:
    clock, service = FakeClock(), Service()
    async with open_argo({**BARS, "ttl": 10}, clock=clock) as argo, client(argo, service) as http:
        await http.get(URL)
        await clock.advance(11)
        service.answer = lambda _: whole(b"no", status)
        assert status == (await http.get(URL)).status_code


# -- answers for one caller --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "why"),
    [
        ({"set-cookie": "session=1"}, "cookie"),
        ({"vary": "*"}, "varies"),
        ({"content-type": "text/event-stream"}, "live"),
        ({"content-length": "20000000"}, "large"),
    ],
)
async def test_a_response_for_one_caller_is_neither_kept_nor_shared(
    open_argo: OpenArgo, headers: dict[str, str], why: str
) -> None:
    service = Service(lambda _: whole(b"mine", headers=headers))
    service.go.clear()
    async with open_argo() as argo, client(argo, service) as http:
        asking = [asyncio.create_task(http.get(URL)) for _ in range(3)]
        await service.arrived.wait()
        await settle()
        service.go.set()
        got = await asyncio.gather(*asking)
        assert [b"mine"] * 3 == [one.content for one in got]
        assert 3 == service.times
        await http.get(URL)
        assert 4 == service.times
        assert all(body.closed for body in service.bodies)


async def test_cookies_of_load_balancers_do_not_keep_an_answer_from_being_shared(
    open_argo: OpenArgo,
) -> None:
    service = Service(lambda _: whole(headers={"set-cookie": "__cf_bm=1; path=/"}))
    async with open_argo() as argo, client(argo, service) as http:
        first, again = await http.get(URL), await http.get(URL)
    assert 1 == service.times
    assert "set-cookie" in first.headers
    assert "set-cookie" not in again.headers


async def test_an_answer_that_varies_is_for_requests_that_say_the_same(open_argo: OpenArgo) -> None:
    service = Service(
        lambda request: whole(
            request.headers["user-agent"].encode(), headers={"vary": "User-Agent, Accept-Encoding"}
        )
    )
    async with open_argo() as argo, client(argo, service) as http:
        got = [
            (await http.get(URL, headers={"user-agent": agent})).content
            for agent in ("a", "a", "b", "a", "b")
        ]
    assert [b"a", b"a", b"b", b"a", b"b"] == got
    assert 3 == service.times


async def test_limits_that_a_response_tells_are_not_told_again(open_argo: OpenArgo) -> None:
    service = Service(
        lambda _: whole(headers={"x-ratelimit-remaining": "5", "connection": "x-hop", "x-hop": "1"})
    )
    async with open_argo() as argo, client(argo, service) as http:
        first, again = await http.get(URL), await http.get(URL)
    assert "5" == first.headers["x-ratelimit-remaining"]
    assert not {"x-ratelimit-remaining", "x-hop", "connection"} & set(again.headers)


async def test_a_body_that_is_too_large_goes_on_to_its_own_caller(open_argo: OpenArgo) -> None:
    service = Service(
        lambda _: (200, {"content-type": "application/json"}, Pieces(*[b"x" * 400] * 5))
    )
    async with open_argo(max_bytes=1000) as argo, client(argo, service) as http:
        async with http.stream("GET", URL) as response:
            arriving = response.aiter_raw()
            assert 1200 == len(await anext(arriving))
            assert 3 == service.bodies[0].given
            assert 800 == sum([len(piece) async for piece in arriving])
        assert 2000 == len((await http.get(URL)).content)
    assert 2 == service.times
    assert all(body.closed for body in service.bodies)


async def test_a_body_that_is_too_large_is_not_shared_though_another_transport_has_read_it(
    open_argo: OpenArgo,
) -> None:
    asked: list[httpx2.Request] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(request)
        return httpx2.Response(200, content=gzip.compress(b"x" * 2000), headers=ZIPPED)

    inner = httpx2.MockTransport(answer)
    async with open_argo(max_bytes=1000) as argo:
        async with httpx2.AsyncClient(transport=transport(argo, inner=inner)) as http:
            assert [2000, 2000] == [len((await http.get(URL)).content) for _ in range(2)]
    assert 2 == len(asked)


async def test_a_stream_is_its_callers_while_it_goes_on(open_argo: OpenArgo) -> None:
    forever = asyncio.Event()
    service = Service(
        lambda _: (200, {"content-type": "text/event-stream"}, Pieces(b"data: 1\n\n", then=forever))
    )
    async with open_argo() as argo, client(argo, service) as http:
        async with http.stream("GET", URL) as response:
            async for line in response.aiter_lines():
                assert "data: 1" == line
                break
    assert service.bodies[0].closed


# -- refreshes ---------------------------------------------------------------------------------


def validating(version: list[str], header: str = "etag") -> Any:
    asks = "if-none-match" if header == "etag" else "if-modified-since"

    def answer(request: Any) -> Any:
        if request.headers.get(asks) == version[0]:
            return whole(b"", 304, {header: version[0], "x-checked": "yes"})
        return whole(version[0].encode(), headers={header: version[0], "x-kept": "1"})

    return answer


@pytest.mark.parametrize("header", ["etag", "last-modified"])
async def test_a_refresh_asks_whether_the_answer_has_changed(
    open_argo: OpenArgo, header: str
) -> None:
    clock, version = FakeClock(), ['"v1"']
    service = Service(validating(version, header))
    async with open_argo({**BARS, "ttl": 60}, clock=clock) as argo, client(argo, service) as http:
        assert b'"v1"' == (await http.get(URL)).content
        await clock.advance(61)
        again = await http.get(URL)
        assert (200, b'"v1"', "yes", "1", "application/json") == (
            again.status_code,
            again.content,
            again.headers["x-checked"],
            again.headers["x-kept"],
            again.headers["content-type"],
        )
        # It is fresh again.
        await clock.advance(30)
        await http.get(URL)
        assert 2 == service.times
        version[0] = '"v2"'
        await clock.advance(40)
        assert b'"v2"' == (await http.get(URL)).content
    assert 3 == service.times


async def test_a_route_may_ask_without_conditions(open_argo: OpenArgo) -> None:
    clock, service = FakeClock(), Service(validating(['"v1"']))
    route = {**BARS, "ttl": 60, "conditional": False}
    async with open_argo(route, clock=clock) as argo, client(argo, service) as http:
        await http.get(URL)
        await clock.advance(61)
        await http.get(URL)
    assert ["if-none-match" in request.headers for request in service.asked] == [False, False]


async def test_what_was_invalidated_is_not_confirmed(open_argo: OpenArgo) -> None:
    service = Service(validating(['"v1"']))
    async with open_argo() as argo, client(argo, service) as http:
        await http.get(URL)
        await argo.invalidate("subject:AAPL")
        await http.get(URL)
        await argo.expire("subject:AAPL")
        await http.get(URL)
    asked = ["if-none-match" in request.headers for request in service.asked]
    assert [False, False, True] == asked


async def test_a_confirmation_of_another_answer_is_none(open_argo: OpenArgo) -> None:
    clock, service = FakeClock(), Service(validating(['"v1"']))
    async with open_argo({**BARS, "ttl": 60}, clock=clock) as argo, client(argo, service) as http:
        await http.get(URL)
        await clock.advance(61)
        service.answer = lambda request: (
            whole(b"", 304, {"etag": '"v9"'})
            if "if-none-match" in request.headers
            else whole(b"new")
        )
        assert b"new" == (await http.get(URL)).content
    assert 3 == service.times


async def test_a_client_never_sees_a_confirmation_that_it_has_not_asked_for(
    open_argo: OpenArgo,
) -> None:
    clock = FakeClock()

    def answer(request: Any) -> Any:
        if "if-none-match" in request.headers:
            return whole(b"", 304, {"set-cookie": "session=1"})
        return whole(headers={"etag": '"v1"'})

    service = Service(answer)
    async with open_argo({**BARS, "ttl": 60}, clock=clock) as argo, client(argo, service) as http:
        await http.get(URL)
        await clock.advance(61)
        assert 200 == (await http.get(URL)).status_code
    assert [False, True, False] == ["if-none-match" in request.headers for request in service.asked]


async def test_a_weak_tag_confirms_too(open_argo: OpenArgo) -> None:
    clock = FakeClock()
    service = Service(
        lambda request: (
            whole(b"", 304, {"etag": 'W/"v1"'})
            if "if-none-match" in request.headers
            else whole(headers={"etag": '"v1"'})
        )
    )
    async with open_argo({**BARS, "ttl": 60}, clock=clock) as argo, client(argo, service) as http:
        await http.get(URL)
        await clock.advance(61)
        assert {"bars": [1]} == (await http.get(URL)).json()
    assert 2 == service.times


async def test_what_is_remembered_for_conditions_is_bounded(open_argo: OpenArgo) -> None:
    clock = FakeClock()
    service = Service(lambda _: whole(b"x" * 4000, headers={"etag": '"v"'}))
    async with open_argo({**BARS, "ttl": 60}, clock=clock, max_validated_bytes=10_000) as argo:
        async with client(argo, service) as http:
            urls = [URL.replace("AAPL", f"S{at}") for at in range(5)]
            for url in urls:
                await http.get(url)
            await clock.advance(61)
            for url in (urls[4], urls[0]):
                await http.get(url)
    assert [True, False] == ["if-none-match" in request.headers for request in service.asked[5:]]


async def test_headers_of_what_is_remembered_count_too(open_argo: OpenArgo) -> None:
    clock = FakeClock()
    service = Service(lambda _: whole(headers={"etag": '"v"', "x-long": "x" * 6000}))
    async with open_argo({**BARS, "ttl": 60}, clock=clock, max_validated_bytes=10_000) as argo:
        async with client(argo, service) as http:
            urls = [URL, URL.replace("AAPL", "MSFT")]
            for url in urls:
                await http.get(url)
            await clock.advance(61)
            for url in reversed(urls):
                await http.get(url)
    assert [True, False] == ["if-none-match" in request.headers for request in service.asked[2:]]


# -- RFC 9111 ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("route", "said", "after", "times"),
    [
        (RFC, "max-age=30", 20, 1),
        (RFC, "max-age=30", 31, 2),
        (RFC, "no-store", 0, 2),
        (RFC, "no-cache", 0, 2),
        (RFC, "private, max-age=30", 20, 1),
        ({**RFC, "scope": "public"}, "private, max-age=30", 20, 2),
        ({**RFC, "ttl": 10}, "max-age=30", 20, 2),
        ({**RFC, "ttl": 60}, "max-age=30", 31, 2),
        ({**RFC, "ttl": 60}, "", 31, 1),
        ({**BARS, "ttl": 60}, "no-store, max-age=0", 31, 1),
    ],
)
async def test_headers_cap_the_life_where_the_route_asks_for_it(
    open_argo: OpenArgo, route: dict[str, Any], said: str, after: float, times: int
) -> None:
    clock = FakeClock()
    service = Service(lambda _: whole(headers={"cache-control": said} if said else {}))
    async with open_argo(route, clock=clock) as argo, client(argo, service) as http:
        await http.get(URL)
        await clock.advance(after)
        await http.get(URL)
    assert times == service.times


@pytest.mark.parametrize(
    ("said", "after", "times"),
    [
        ("no-cache", 0, 2),
        ("no-store", 0, 2),
        ("max-age=0", 0, 2),
        ("max-age=5", 10, 2),
        ("max-age=30", 10, 1),
    ],
)
async def test_a_request_says_how_old_its_answer_may_be(
    open_argo: OpenArgo, said: str, after: float, times: int
) -> None:
    clock, service = FakeClock(), Service()
    async with open_argo({**RFC, "ttl": 60}, clock=clock) as argo, client(argo, service) as http:
        await http.get(URL)
        await clock.advance(after)
        await http.get(URL, headers={"cache-control": said})
    assert times == service.times


async def test_without_a_grace_of_its_own_such_a_route_serves_nothing_stale(
    open_argo: OpenArgo,
) -> None:
    clock, service = FakeClock(), Service(lambda _: whole(headers={"cache-control": "max-age=10"}))
    async with open_argo(RFC, clock=clock) as argo, client(argo, service) as http:
        await http.get(URL)
        await clock.advance(11)
        service.answer = lambda _: whole(b"down", 503)
        assert 503 == (await http.get(URL)).status_code


async def test_the_age_of_an_answer_is_told(open_argo: OpenArgo) -> None:
    clock, service = FakeClock(), Service(lambda _: whole(headers={"age": "5"}))
    async with open_argo({**BARS, "ttl": 60}, clock=clock) as argo, client(argo, service) as http:
        assert "5" == (await http.get(URL)).headers["age"]
        await clock.advance(20)
        assert "25" == (await http.get(URL)).headers["age"]


# -- errors, deadlines, cancellation -----------------------------------------------------------


class Fails(httpx2.AsyncBaseTransport):
    def __init__(self, error: Exception) -> None:
        self.error = error
        self.times = 0
        self.go = asyncio.Event()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        self.times += 1
        await self.go.wait()
        raise self.error


@pytest.mark.parametrize(
    ("error", "times"),
    [
        (httpx2.ConnectError("refused"), 1),
        (httpx2.ReadError("broken"), 3),
        (httpx2.ReadTimeout("late"), 3),
    ],
)
async def test_what_a_client_raises_is_its_own(
    open_argo: OpenArgo, error: Exception, times: int
) -> None:
    inner = Fails(error)
    cause = error.__cause__ = OSError("why")
    async with open_argo() as argo:
        async with httpx2.AsyncClient(transport=transport(argo, inner=inner)) as http:
            asking = [asyncio.create_task(http.get(URL)) for _ in range(3)]
            await settle()
            inner.go.set()
            got = await asyncio.gather(*asking, return_exceptions=True)
    assert {type(error)} == {type(one) for one in got}
    assert any(one is error for one in got)
    assert cause is error.__cause__
    assert times == inner.times


async def test_a_body_that_breaks_off_raises_what_the_client_raises(open_argo: OpenArgo) -> None:
    error = httpx2.RemoteProtocolError("cut")
    service = Service(lambda _: (200, {}, Pieces(b"half", then=error)))
    async with open_argo() as argo, client(argo, service) as http:
        events = capture_events(argo)
        with pytest.raises(httpx2.RemoteProtocolError) as caught:
            await http.get(URL)
        assert caught.value is error
        # A caller that reads as it comes gets what came before.
        async with http.stream("GET", URL) as response:
            pieces = response.aiter_raw()
            assert b"half" == await anext(pieces)
            with pytest.raises(httpx2.RemoteProtocolError):
                await anext(pieces)
        assert ["failed", "failed"] == [one.attempt.status for one in events.of(AttemptEnded)]
    assert all(body.closed for body in service.bodies)


async def test_a_deadline_is_each_callers_own(open_argo: OpenArgo) -> None:
    clock, service = FakeClock(), Service()
    service.go.clear()
    async with open_argo(clock=clock) as argo, client(argo, service) as http:
        patient = asyncio.create_task(http.get(URL, timeout=None))
        await service.arrived.wait()
        hasty = asyncio.create_task(http.get(URL, timeout=0.3))
        await settle()
        await clock.advance(0.4)
        with pytest.raises(httpx2.ReadTimeout) as caught:
            await hasty
        assert str(URL) == str(caught.value.request.url)
        service.go.set()
        assert 200 == (await patient).status_code
    assert 1 == service.times


async def test_who_joins_a_hasty_caller_does_not_get_its_timeout(open_argo: OpenArgo) -> None:
    clock, service = FakeClock(), Service()
    service.go.clear()
    async with open_argo(clock=clock) as argo, client(argo, service) as http:
        hasty = asyncio.create_task(http.get(URL, timeout=0.05))
        await service.arrived.wait()
        patient = asyncio.create_task(http.get(URL, timeout=None))
        await clock.advance(0.1)
        with pytest.raises(httpx2.ReadTimeout):
            await hasty
        service.go.set()
        assert 200 == (await patient).status_code
    assert 2 == service.times


async def test_a_request_ends_with_its_last_caller(open_argo: OpenArgo) -> None:
    service = Service()
    service.go.clear()
    async with open_argo() as argo, client(argo, service) as http:
        events = capture_events(argo)
        asking = [asyncio.create_task(http.get(URL, timeout=None)) for _ in range(2)]
        await service.arrived.wait()
        await settle()
        for one in asking:
            one.cancel()
        assert all(
            isinstance(one, asyncio.CancelledError)
            for one in await asyncio.gather(*asking, return_exceptions=True)
        )
        await settle()
        assert ["cancelled"] == [one.attempt.status for one in events.of(AttemptEnded)]


async def test_a_caller_that_leaves_does_not_end_the_request_of_waiting_callers(
    open_argo: OpenArgo,
) -> None:
    service = Service(lambda _: whole(b"mine", headers={"content-type": "text/event-stream"}))
    service.go.clear()
    async with open_argo() as argo, client(argo, service) as http:
        sender = asyncio.create_task(http.get(URL, timeout=None))
        await service.arrived.wait()
        waiting = asyncio.create_task(http.get(URL, timeout=None))
        await settle()
        sender.cancel()
        await settle()
        service.go.set()
        assert b"mine" == (await waiting).content
    # What came for the one who had left was let go of.
    assert 2 == service.times
    assert all(body.closed for body in service.bodies)


async def test_a_refusal_is_a_response(open_argo: OpenArgo) -> None:
    tables = {"upstreams": {"example": {"per_minute": 1}}}
    service = Service()
    async with open_argo(tables=tables, clock=FakeClock()) as argo, client(argo, service) as http:
        await http.get(URL)
        refused = await http.get(URL.replace("AAPL", "MSFT"))
    assert 429 == refused.status_code
    assert 1 <= int(refused.headers["retry-after"]) <= 61
    assert "argo_mw_refusal" == refused.json()["error"]["type"]
    assert 1 == service.times


async def test_each_request_costs_its_price(open_argo: OpenArgo) -> None:
    service = Service(lambda request: whole(status=200 if "AAPL" in request.url.path else 404))
    async with open_argo({**BARS, "price": 0.25}) as argo, client(argo, service) as http:
        events = capture_events(argo)
        for symbol in ("AAPL", "AAPL", "MSFT"):
            await http.get(URL.replace("AAPL", symbol))
    assert [0.25, 0.25] == [
        one.cost.usd for settled in events.of(RequestSettled) for one in settled.charges
    ]


# -- configuration -----------------------------------------------------------------------------


async def test_routes_follow_the_configuration(open_argo: OpenArgo, plugin: HttpPlugin) -> None:
    from .conftest import config

    service = Service()
    async with open_argo() as argo, client(argo, service) as http:
        await http.get(URL)
        await argo.reload(config({**BARS, "path": "/v3/{symbol}"}))
        await http.get(URL)
        assert 1 == plugin.passed.total
    assert 2 == service.times


async def test_a_closed_application_is_an_error(open_argo: OpenArgo) -> None:
    from argo_mw.plugin import Closed

    argo: Any = open_argo()
    async with client(argo, Service()) as http:
        with pytest.raises(Closed):
            await http.get(URL)


def test_a_transport_of_another_kind_is_refused(open_argo: OpenArgo) -> None:
    import httpx

    argo: Any = open_argo()
    with pytest.raises(TypeError, match=r"httpx2\.AsyncBaseTransport"):
        transport(argo, inner=httpx.AsyncHTTPTransport())  # type: ignore[call-overload]
