"""Independent samples: equal questions that are asked apart, each kept as its own."""

from __future__ import annotations

import asyncio
from typing import Any

import anthropic
import httpx2
import openai
import pytest

import argo_mw_coalesce.plugin as coalesce
from argo_mw import BadParameter
from argo_mw_cache.plugin import CachePlugin
from argo_mw_llm import chain, transport
from argo_mw_sandbox import Sandbox

from .conftest import MODELS, OpenArgo

LAYERS = {"cache": CachePlugin, "coalesce": coalesce}
ONE = {"complete": {"upstreams": ["glm"]}}
HEADER = "argo-mw-sample"
CHAT: dict[str, Any] = {
    "model": MODELS["deepseek"],
    "messages": [{"role": "user", "content": "RSI 30, price 10?"}],
}
MESSAGE: dict[str, Any] = {**CHAT, "model": MODELS["claude"], "max_tokens": 200}


class Seen(httpx2.AsyncBaseTransport):
    """Sends, and keeps the headers of what it sends."""

    def __init__(self) -> None:
        self._inner = httpx2.AsyncHTTPTransport()
        self.headers: list[httpx2.Headers] = []

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        self.headers.append(request.headers)
        return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        await self._inner.aclose()


async def test_samples_are_asked_apart_and_each_is_kept(
    sandbox: Sandbox, open_argo: OpenArgo
) -> None:
    async with open_argo(plugins=LAYERS, operations=ONE) as argo:
        for _ in range(2):
            await asyncio.gather(
                *(argo.call("complete", messages="RSI 30?", sample=number) for number in range(5))
            )
        await argo.call("complete", messages="RSI 30?", sample="0")
    assert 5 == sandbox.counts_of("glm").requests


async def test_a_sample_that_nobody_else_gets_is_for_clients_of_sdks(open_argo: OpenArgo) -> None:
    async with open_argo() as argo:
        with pytest.raises(BadParameter, match="sample"):
            await argo.call("complete", messages="RSI 30?", sample="*")


async def test_a_client_of_openai_s_sdk_names_samples_in_a_header(
    sandbox: Sandbox, open_argo: OpenArgo
) -> None:
    seen = Seen()
    async with open_argo(plugins=LAYERS) as argo:
        http = openai.DefaultAsyncHttpxClient(transport=transport(argo, "deepseek", inner=seen))
        url = sandbox.url("deepseek")
        async with openai.AsyncOpenAI(api_key="k", base_url=url, http_client=http) as client:
            for sample in ("1", "2", "1", "*", "*"):
                named = {HEADER: sample}
                await client.chat.completions.create(**CHAT, extra_headers=named)
    assert 4 == sandbox.counts_of("deepseek").requests
    assert not any(HEADER in headers for headers in seen.headers)


async def test_a_client_of_anthropic_s_sdk_names_samples_in_a_header(
    sandbox: Sandbox, open_argo: OpenArgo
) -> None:
    seen = Seen()
    async with open_argo(plugins=LAYERS) as argo:
        http = anthropic.DefaultAsyncHttpxClient(transport=seen)
        async with anthropic.AsyncAnthropic(
            api_key="k",
            base_url=sandbox.url("claude"),
            middleware=[chain(argo)],
            http_client=http,
        ) as client:
            for sample in ("1", "2", "1", "*", "*"):
                await client.messages.create(**MESSAGE, extra_headers={HEADER: sample})
    assert 4 == sandbox.counts_of("claude").requests
    assert not any(HEADER in headers for headers in seen.headers)


async def test_samples_of_one_moment_are_not_coalesced(
    sandbox: Sandbox, open_argo: OpenArgo
) -> None:
    async with open_argo(plugins=LAYERS) as argo:
        http = openai.DefaultAsyncHttpxClient(transport=transport(argo, "deepseek"))
        url = sandbox.url("deepseek")
        async with openai.AsyncOpenAI(api_key="k", base_url=url, http_client=http) as client:
            named = {HEADER: "*"}
            await asyncio.gather(
                *(client.chat.completions.create(**CHAT, extra_headers=named) for _ in range(4))
            )
    assert 4 == sandbox.counts_of("deepseek").requests
