"""Who is let in, what each client may ask, and whose keys stay where."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest

from argo_mw.plugin import (
    Endpoint,
    WebCall,
    WebCaller,
    WebRequest,
    WebResponse,
    hookimpl,
)
from argo_mw_sandbox import Sandbox

from .conftest import CHAT, MESSAGE, VENDOR_KEY, Start

SHAPES = {
    "/v1/messages": (MESSAGE, lambda body: (body["type"], body["error"]["type"])),
    "/v1/chat/completions": (CHAT, lambda body: ("error", body["error"]["code"])),
}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/v1/messages", ("error", "authentication_error")),
        ("/v1/chat/completions", ("error", "invalid_api_key")),
    ],
)
@pytest.mark.parametrize("presented", [{}, {"x-api-key": "sk-other"}, {"x-api-key": "argo-0-x"}])
async def test_a_client_without_a_key_is_refused_in_the_protocols_own_words(
    sandbox: Sandbox, start: Start, path: str, expected: object, presented: dict[str, str]
) -> None:
    asked, kind = SHAPES[path]
    async with start() as running, running.client("") as client:
        response = await client.post(path, json=asked, headers=presented)
    assert 401 == response.status_code
    assert expected == kind(response.json())
    assert 0 == sum(sandbox.counts_of(name).requests for name in sandbox.vendors)


async def test_a_key_may_be_sent_twice_and_two_keys_may_not(start: Start) -> None:
    async with start() as running:
        key, other = running.key("a"), running.key("b")
        async with running.client(key) as client:
            twice = await client.post("/v1/messages", json=MESSAGE, headers={"x-api-key": key})
            two = await client.post("/v1/messages", json=MESSAGE, headers={"x-api-key": other})
    assert [200, 401] == [twice.status_code, two.status_code]


@pytest.mark.parametrize("changed", [{"expires": 1.0}, {"revoked": 1.0}])
async def test_a_key_that_has_ended_lets_no_client_in(
    start: Start, changed: dict[str, Any]
) -> None:
    async with start() as running, running.client(running.key(**changed)) as client:
        assert 401 == (await client.post("/v1/messages", json=MESSAGE)).status_code


@pytest.mark.parametrize(
    ("scope", "path", "asked", "status"),
    [
        ({"operations": ("deepseek*",)}, "/v1/messages", MESSAGE, 403),
        ({"operations": ("deepseek*",)}, "/v1/chat/completions", CHAT, 200),
        ({"models": ("claude-haiku-*",)}, "/v1/messages", MESSAGE, 403),
        ({"models": ("claude-*",)}, "/v1/messages", MESSAGE, 200),
        ({"models": ("claude-*",)}, "/v1/messages/count_tokens", MESSAGE, 200),
        ({"models": ("deepseek-*",)}, "/v1/messages/count_tokens", MESSAGE, 403),
        ({"unread": False}, "/openai/v1/batches", {"input_file_id": "f"}, 403),
        ({"unread": True}, "/openai/v1/batches", {"input_file_id": "f"}, 200),
        ({"usd": 1.0}, "/openai/v1/batches", {"input_file_id": "f"}, 402),
        ({"usd": 0.0}, "/v1/messages", MESSAGE, 402),
        ({"usd": 1.0}, "/v1/messages", MESSAGE, 200),
    ],
)
async def test_a_key_may_ask_only_what_it_is_for(
    start: Start, scope: dict[str, Any], path: str, asked: dict[str, Any], status: int
) -> None:
    async with start() as running, running.client(running.key(**scope)) as client:
        response = await client.post(path, json=asked)
        assert status == response.status_code, response.text


async def test_a_keys_budget_is_counted_over_all_its_requests_and_no_others(start: Start) -> None:
    async with start() as running:
        small, other = running.key("small", usd=0.012), running.key("other", usd=0.012)
        async with running.client(small) as client, running.client(other) as rival:
            statuses = []
            for number in range(20):
                asked = {**MESSAGE, "max_tokens": 600, "system": f"{number}"}
                statuses.append((await client.post("/v1/messages", json=asked)).status_code)
            assert {200, 402} == set(statuses)
            spent = sum(charge.cost.usd or 0.0 for charge in running.charges)
            assert spent <= 0.012
            asked = {**MESSAGE, "max_tokens": 600, "system": "another"}
            assert 200 == (await rival.post("/v1/messages", json=asked)).status_code


async def test_tenants_share_no_answers_and_clients_of_one_tenant_do(
    sandbox: Sandbox, start: Start
) -> None:
    async with start() as running:
        for name, tenant in (("a", "desk-1"), ("b", "desk-1"), ("c", "desk-2")):
            async with running.client(running.key(name, tenant=tenant)) as client:
                assert 200 == (await client.post("/v1/messages", json=MESSAGE)).status_code
        assert {"desk-1", "desk-2"} == {charge.tenant for charge in running.charges}
    assert 2 == sandbox.counts_of("claude").requests


class Echo(httpx2.AsyncBaseTransport):
    """Answers with everything that it was sent, key and all."""

    def __init__(self, status: int, kind: str = "application/json") -> None:
        self._status = status
        self._kind = kind

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        headers = dict(request.headers)
        content = json.dumps({"headers": headers}).encode()
        if self._kind != "application/json":
            content = b"data: " + content + b"\n\n"
        back = {"content-type": self._kind, "x-echo": headers.get("x-api-key", "none")}
        return httpx2.Response(self._status, headers=back, stream=_Slowly(content))


class _Slowly(httpx2.AsyncByteStream):
    def __init__(self, content: bytes) -> None:
        self._content = content

    async def __aiter__(self) -> Any:
        for at in range(0, len(self._content), 7):
            yield self._content[at : at + 7]


@pytest.mark.parametrize("kind", ["application/json", "text/event-stream"])
@pytest.mark.parametrize("status", [200, 400, 401, 500])
@pytest.mark.parametrize("path", ["/v1/messages", "/claude/v1/files", "/openai/v1/responses"])
async def test_a_providers_key_never_reaches_a_client(
    start: Start, monkeypatch: pytest.MonkeyPatch, path: str, status: int, kind: str
) -> None:
    from argo_mw_llm.relay.relay import Relay

    monkeypatch.setattr(Relay, "_sending", Echo(status, kind))
    streamed = kind == "text/event-stream"
    async with start() as running, running.client() as client:
        response = await client.post(path, json={**MESSAGE, "stream": streamed, "input": "x"})
    assert VENDOR_KEY not in response.text
    assert VENDOR_KEY not in str(response.headers)
    assert (502 if status == 401 else status) == response.status_code
    assert "argo-" not in response.text


async def test_a_clients_own_key_is_passed_on_where_that_is_the_rule(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    from argo_mw_llm.relay.relay import Relay

    monkeypatch.setattr(Relay, "_sending", Echo(200))
    async with start(clients="own") as running, running.client("") as client:
        own = await client.post("/claude/v1/files", headers={"x-api-key": "sk-own-key"})
        ours = await client.post("/claude/v1/files", headers={"x-api-key": running.key()})
        none = await client.post("/claude/v1/files")
    assert "sk-own-key" == own.json()["headers"]["x-api-key"]
    assert VENDOR_KEY not in own.text
    assert "***" == ours.json()["headers"]["x-api-key"]
    assert 401 == none.status_code


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/v1/messages", {"argo-mw-key": "none-of-ours"}),
        ("/claude/v1/files", {"argo-mw-key": "none-of-ours"}),
        ("/openai/v1/batches", {"argo-mw-key": "Bearer x", "cookie": "x-api-key=x"}),
        ("/ours", {"x-api-key": "of-a-client"}),
    ],
)
async def test_nothing_is_asked_with_our_keys_for_a_client_without_a_key_of_ours(
    sandbox: Sandbox, start: Start, path: str, headers: dict[str, str]
) -> None:
    """Where a client's own key lets it in, that key alone pays, at all endpoints of all plugins."""

    class Plugin:
        """One whose endpoint asks with a key of its own, as those of ``http`` do."""

        @hookimpl
        def register_endpoints(self) -> list[Endpoint]:
            async def read(request: WebRequest) -> WebCall:
                async def answer(caller: WebCaller) -> WebResponse:
                    return WebResponse(200)

                return WebCall("ours", answer, spending="none")

            return [Endpoint("/ours", read)]

    async with start(plugins={"other": Plugin()}, clients="own") as running:
        async with running.client("") as client:
            refused = await client.post(path, json=MESSAGE, headers=headers)
            ours = await client.post("/ours", headers={"argo-mw-key": running.key()})
    assert [401, 200] == [refused.status_code, ours.status_code]
    assert 0 == sum(sandbox.counts_of(name).requests for name in sandbox.vendors)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "evil.example"}, 421),
        ({"origin": "https://evil.example"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-origin"}, 200),
    ],
)
async def test_pages_of_other_sites_ask_nothing_even_where_anyone_may(
    start: Start, headers: dict[str, str], status: int
) -> None:
    async with start(clients="anyone") as running, running.client("") as client:
        response = await client.post("/v1/messages", json=MESSAGE, headers=headers)
    assert status == response.status_code
