"""Endpoints that plugins offer to programs of any language."""

from __future__ import annotations

import pytest

from argo_mw import Argo, PluginError
from argo_mw.plugin import (
    Closed,
    Endpoint,
    SpendingLimit,
    WebCall,
    WebCaller,
    WebRequest,
    WebResponse,
    endpoints_of,
    hookimpl,
    plain_refusal,
)


async def read(request: WebRequest) -> WebCall:
    async def answer(caller: WebCaller) -> WebResponse:
        return WebResponse(200, body=request.body)

    return WebCall("echo", answer)


def not_async(request: WebRequest) -> WebCall:
    raise NotImplementedError


class Echo:
    def __init__(self, *endpoints: object) -> None:
        self._endpoints = endpoints

    @hookimpl
    def register_endpoints(self) -> object:
        return self._endpoints


def opened(**plugins: object) -> Argo:
    config = {"argo": {"shared": "memory://", "strict": True}}
    return Argo.open(config, plugins=plugins, installed=False)


async def test_plugins_offer_endpoints_to_what_serves_http() -> None:
    argo = opened(echo=Echo(Endpoint("/echo", read)), silent=Echo())
    async with argo:
        offered = endpoints_of(argo)
        request = WebRequest("POST", "/echo", headers=[("a", "1"), ("a", "2")], body=b"x")
        call = await offered["echo"][0].read(request)
        response = await call.answer(argo)
    assert ["echo"] == list(offered)
    assert b"x" == response.body
    assert "2" == request.header("a")
    assert request.header("b") is None
    with pytest.raises(Closed):
        endpoints_of(argo)


@pytest.mark.parametrize("endpoint", ["/echo", Endpoint("/echo", not_async)])
async def test_what_is_no_endpoint_is_told_by_its_plugin(endpoint: object) -> None:
    async with opened(echo=Echo(endpoint)) as argo:
        with pytest.raises(PluginError, match="echo"):
            endpoints_of(argo)


@pytest.mark.parametrize("path", ["", "echo", "/a*", "/a/*/b", "/a?b", "/**"])
def test_a_path_names_one_place_or_all_below_one(path: str) -> None:
    with pytest.raises(ValueError, match="path"):
        Endpoint(path, read)


@pytest.mark.parametrize("usd", [-1.0, float("nan"), float("inf")])
def test_a_spending_limit_is_an_amount_of_money(usd: float) -> None:
    with pytest.raises(ValueError, match="US dollars"):
        SpendingLimit("a key", usd)


def test_a_refusal_in_no_ones_protocol_is_json() -> None:
    assert 404 == plain_refusal(404, "nothing is here").status
