"""Connections: where they lead, and that they end."""

from __future__ import annotations

import asyncio

import httpx2
import pytest

from argo_mw import DeadlineExceeded, InvalidAnswer
from argo_mw.app.application import engine_of
from argo_mw_market.http import Http, _proxy
from argo_mw_sandbox import Fault, Sandbox
from argo_mw_sandbox.vendors.protocol import Answer


def sign(request: httpx2.Request) -> None:
    request.headers["Authorization"] = "Bearer key"


@pytest.mark.parametrize(
    ("base", "link", "path"),
    [
        (
            "https://api.massive.com",
            "https://api.massive.com/v2/aggs?cursor=1",
            "/v2/aggs?cursor=1",
        ),
        ("https://api.massive.com", "https://evil.example/v2/aggs?cursor=1", "/v2/aggs?cursor=1"),
        ("http://127.0.0.1:1/massive", "http://127.0.0.1:1/massive/v2/a?b=1", "/v2/a?b=1"),
        ("http://127.0.0.1:1/massive/", "http://127.0.0.1:1/massive/v2/a", "/v2/a"),
        ("https://api.massive.com", "@evil.example/v2/a", "/@evil.example/v2/a"),
        ("https://api.massive.com", ".evil.example/v2/a?b=1", "/.evil.example/v2/a?b=1"),
        ("https://api.massive.com", "https://x//evil.example/v2", "/evil.example/v2"),
    ],
)
def test_a_link_to_a_next_page_never_leaves_the_configured_address(
    base: str, link: str, path: str
) -> None:
    assert path == Http("massive", base, sign).path_of(link)


async def test_the_key_is_on_the_wire_and_nowhere_else(sandbox: Sandbox) -> None:
    http = Http("massive", sandbox.url("massive"), sign)
    reply = await http.get("/v2/aggs/ticker/IBM/range/1/day/2013-02-01/2013-03-01")
    assert 200 == reply.status
    assert http._client is not None
    assert "Authorization" not in http._client.headers
    await http.aclose()


async def test_a_retired_client_finishes_requests_under_way_and_then_closes(
    sandbox: Sandbox,
) -> None:
    sandbox.set_fault("massive", Fault("stall", hold=0.02))
    http = Http("massive", sandbox.url("massive"), sign)
    asking = asyncio.create_task(http.get("/v2/aggs/ticker/IBM/range/1/day/2013-02-01/2013-03-01"))
    await sandbox.until(lambda: sandbox.counts_of("massive").requests == 1)
    await http.retire()
    assert 200 == (await asking).status
    assert http._client is None


async def test_a_late_request_of_a_retired_client_leaves_no_connection(sandbox: Sandbox) -> None:
    """A call that began before a change of the configuration may have further pages to fetch."""
    http = Http("massive", sandbox.url("massive"), sign)
    path = "/v2/aggs/ticker/IBM/range/1/day/2013-02-01/2013-03-01"
    await http.get(path)
    await http.retire()
    assert http._client is None
    assert 200 == (await http.get(path)).status
    assert http._client is None


async def test_an_invalid_link_to_a_next_page_is_a_malformed_answer(
    sandbox, open_argo, monkeypatch
) -> None:
    bar = b'{"t":1362114000000,"o":1,"h":1,"l":1,"c":1,"v":1}'
    body = b'{"status":"OK","results":[%s],"next_url":"%s"}'
    vendor = type(sandbox.endpoint("massive").vendor)
    for link in (b"http://[", b"/v2/\\u0000"):
        monkeypatch.setattr(vendor, "answer", lambda *_, link=link: Answer(body % (bar, link)))
        async with open_argo("massive") as argo:
            with pytest.raises(InvalidAnswer, match="malformed"):
                await argo.call("bars", symbol="AAPL")


@pytest.mark.parametrize("vendor", ["alpaca", "massive", "alphavantage"])
async def test_a_body_with_a_wrong_encoding_is_a_malformed_answer(
    sandbox, open_argo, monkeypatch, vendor: str
) -> None:
    spoilt = Answer(b"no gzip", headers={"Content-Encoding": "gzip"})
    monkeypatch.setattr(type(sandbox.endpoint(vendor).vendor), "answer", lambda *_: spoilt)
    async with open_argo(vendor) as argo:
        with pytest.raises(InvalidAnswer, match=f"upstream {vendor!r} sent a malformed answer"):
            await argo.call("bars", symbol="AAPL")


async def test_a_changed_table_closes_the_old_connections_once_they_are_idle(
    sandbox, open_argo
) -> None:
    async with open_argo("alpaca") as argo:
        await argo.call("bars", symbol="AAPL")
        plugin = engine_of(argo).plugins._manager.get_plugin("market")
        (old, *_) = plugin._vendors
        assert old.http._client is not None
        changed = {
            "argo": {"shared": "memory://", "strict": True},
            "plugins": {
                "market": {
                    "alpaca": {"url": sandbox.url("alpaca"), "key": "new", "secret": "new"},
                }
            },
        }
        await argo.reload(changed)
        while old.http._client is not None:
            await asyncio.sleep(0)
        assert len(await argo.call("bars", symbol="IBM")) > 50
        current = plugin._vendors
    assert all(vendor.http._client is None for vendor in current)


async def test_closing_the_application_closes_every_connection(sandbox, open_argo) -> None:
    async with open_argo() as argo:
        await argo.map("bars", ["AAPL", "IBM", "BTC-USD"])
        vendors = engine_of(argo).plugins._manager.get_plugin("market")._vendors
        assert any(vendor.http._client is not None for vendor in vendors)
    assert all(vendor.http._client is None for vendor in vendors)
    assert 0 == sandbox.counts()["alpaca"]["in_flight"]


@pytest.mark.parametrize("fault", ["stall", "trickle", "keepalive"])
@pytest.mark.parametrize("vendor", ["alpaca", "massive", "alphavantage"])
async def test_a_deadline_holds_whatever_the_vendor_does(
    sandbox, open_argo, ends_on_time, vendor: str, fault: str
) -> None:
    sandbox.set_fault(vendor, Fault(fault, pace=0.005))
    async with open_argo(vendor) as argo:

        async def ask() -> None:
            with pytest.raises(DeadlineExceeded):
                await argo.options(timeout=0.2).call("bars", symbol="AAPL")

        await ends_on_time(ask, 0.2)


async def test_cancelled_requests_lose_no_place_in_the_pool(sandbox: Sandbox) -> None:
    http = Http("massive", sandbox.url("massive"), sign)
    path = "/v2/aggs/ticker/IBM/range/1/day/2013-02-01/2013-03-01"
    sandbox.set_fault("massive", Fault("stall"))
    for _ in range(3):
        asking = [asyncio.create_task(http.get(path)) for _ in range(64)]
        await sandbox.until(lambda: sandbox.counts_of("massive").in_flight == 64)
        for one in asking:
            one.cancel()
        await asyncio.wait(asking)
        await sandbox.until(lambda: sandbox.counts_of("massive").in_flight == 0)
    sandbox.clear_faults()
    async with asyncio.timeout(60):
        replies = await asyncio.gather(*(http.get(path) for _ in range(64)))
    assert {200} == {reply.status for reply in replies}
    assert 192 == sandbox.counts()["massive"]["disconnects"]
    await http.aclose()


def test_the_environments_proxy_is_not_used_for_this_machine(monkeypatch) -> None:
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    monkeypatch.setenv("http_proxy", "http://proxy.example:3128")
    monkeypatch.setenv("no_proxy", "www.alphavantage.co")
    assert "http://proxy.example:3128" == _proxy("https://api.massive.com")
    assert _proxy("http://127.0.0.1:8080/massive") is None
    assert _proxy("https://www.alphavantage.co") is None
