"""From the start to the end of a gateway: health, draining, mounting, what it says of itself."""

from __future__ import annotations

import asyncio
import gc
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
import trustme
from click.testing import CliRunner

from argo_mw import Argo, ConfigError
from argo_mw.cli.main import cli
from argo_mw.plugin import context_of
from argo_mw.testing.shared import eventually
from argo_mw_gateway import Gateway, GatewayConfig, GatewayPlugin, server
from argo_mw_llm import LlmPlugin
from argo_mw_sandbox import Fault, Latency, Sandbox

from .conftest import CHAT, MESSAGE, Start


async def test_it_is_healthy_while_it_lives_and_ready_until_it_is_to_stop(start: Start) -> None:
    async with start() as running, running.client("") as client:
        assert [200, 200] == [
            (await client.get(path)).status_code for path in ("/healthz", "/readyz")
        ]
        running.gateway.refuse_new()
        assert [200, 503] == [
            (await client.get(path)).status_code for path in ("/healthz", "/readyz")
        ]
        refused = await client.post("/v1/messages", json=MESSAGE)
        assert 503 == refused.status_code


async def test_streams_under_way_end_before_it_stops_and_are_booked(
    sandbox: Sandbox, start: Start
) -> None:
    sandbox.set_latency("claude", Latency(median=0.5))
    async with start() as running, running.client() as client:
        asked = {**MESSAGE, "stream": True}
        async with client.stream("POST", "/v1/messages", json=asked) as response:
            pieces = aiter(response.aiter_raw())
            first = await anext(pieces)
            stopping = asyncio.create_task(running.stop())
            rest = [piece async for piece in pieces]
        await stopping
        assert b"message_stop" in (first + b"".join(rest))
        [charge] = running.charges
        assert not charge.cost.estimated


async def test_a_second_signal_ends_streams_under_way_and_they_are_booked(
    sandbox: Sandbox, start: Start
) -> None:
    sandbox.set_fault("claude", Fault("trickle", pace=1.0))
    async with start() as running, running.client() as client:
        asked = {**MESSAGE, "stream": True}
        with pytest.raises(httpx2.HTTPError):
            async with client.stream("POST", "/v1/messages", json=asked) as response:
                pieces = aiter(response.aiter_raw())
                await anext(pieces)
                first = asyncio.create_task(running.stop())
                await eventually(lambda: not running.gateway.is_ready)
                async with asyncio.timeout(60):
                    await running.stop()
                await first
                assert 0 == running.gateway.in_flight
                [charge] = running.charges
                assert charge.cost.estimated
                async for _ in pieces:
                    pass


async def test_responses_say_what_served_them_how_old_it_is_and_what_it_cost(start: Start) -> None:
    async with start() as running, running.client() as client:
        first, again = [await client.post("/v1/messages", json=MESSAGE) for _ in range(2)]
        named = [response.headers["argo-mw-served-by"] for response in (first, again)]
        assert ["claude", "cache"] == named
        assert float(first.headers["argo-mw-cost-usd"]) > 0
        assert running.charges[0].cost.usd == float(first.headers["argo-mw-cost-usd"])
        assert "0" == again.headers["argo-mw-cost-usd"]
        assert int(again.headers["argo-mw-age"]) >= 0
        ids = {response.headers["argo-mw-request-id"] for response in (first, again)}
        assert 2 == len(ids)
        assert first.content == again.content


async def test_what_is_changed_in_a_request_is_named(start: Start) -> None:
    budget = [{"usd": 5.0}]
    async with start(llm={"budgets": budget}) as running, running.client() as client:
        plain = await client.post("/v1/chat/completions", json=CHAT)
        streamed = await client.post("/v1/chat/completions", json={**CHAT, "stream": True})
        limited = await client.post("/v1/chat/completions", json={**CHAT, "max_tokens": 100})
    assert "max_tokens" == plain.headers["argo-mw-changed"]
    assert "stream_options, max_tokens" == streamed.headers["argo-mw-changed"]
    assert "argo-mw-changed" not in limited.headers


async def test_it_mounts_in_an_application_of_the_users_own(
    sandbox: Sandbox, tmp_path: Any
) -> None:
    config = {
        "argo": {"shared": "memory://", "strict": True},
        "plugins": {
            "llm": {"providers": {"claude": {"url": sandbox.url("claude"), "key": "any-key"}}},
            "gateway": {"clients": "anyone"},
        },
        "upstreams": {"claude": {"per_minute": 1000}},
    }
    argo = Argo.open(config, plugins={"llm": LlmPlugin, "gateway": GatewayPlugin}, installed=False)
    gateway = Gateway(argo, checks_hosts=False)

    async def application(scope: Any, receive: Any, send: Any) -> None:
        assert scope["path"].startswith("/models/")
        await gateway({**scope, "root_path": "/models"}, receive, send)

    transport = httpx2.ASGITransport(app=application)
    async with httpx2.AsyncClient(transport=transport, base_url="http://my.example") as client:
        closed = await client.post("/models/v1/messages", json=MESSAGE)
        async with argo:
            opened = await client.post("/models/v1/messages", json=MESSAGE)
            nothing = await client.get("/models/nothing")
            ready = await client.get("/models/readyz")
        ended = await client.get("/models/readyz")
    assert [503, 200, 404] == [one.status_code for one in (closed, opened, nothing)]
    assert [200, 503] == [one.status_code for one in (ready, ended)]


async def test_the_doctor_says_who_may_ask(start: Start) -> None:
    async with start() as running:
        context = context_of(running.argo)

        async def found() -> dict[str, tuple[bool, str]]:
            findings = await GatewayPlugin().diagnose(GatewayConfig(), context)
            return {what: (well, why) for what, well, why in findings}

        before = await found()
        running.key()
        after = await found()
        (running.folder / "gateway-keys.json").write_text("{}")
        broken = await found()
    assert "keys create" in before["clients"][1]
    assert (True, "1 with valid keys") == after["clients"]
    assert not broken["clients"][0]


def test_the_command_runs_an_application_that_works_at_the_address_it_is_given(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What listens for an application, such as Prometheus' port, does so behind the command too."""
    seen: list[tuple[bool, str, int]] = []

    async def serve(gateway: Gateway, config: GatewayConfig, ready: object) -> None:
        seen.append((context_of(gateway._argo).serves, config.host, config.port))

    monkeypatch.setattr(server, "serve", serve)
    file = tmp_path / "argo.toml"
    file.write_text('[argo]\nshared = "memory://"\n')
    words = ["--config", str(file), "gateway", "--host", "127.0.0.2", "--port", "0"]
    done = CliRunner().invoke(cli, words)
    assert 0 == done.exit_code, done.output
    assert [(True, "127.0.0.2", 0)] == seen
    beyond = CliRunner().invoke(cli, [*words[:3], "--host", "0.0.0.0"])
    assert 1 == beyond.exit_code
    assert "in the clear" in beyond.output


def test_collections_pass_over_what_the_command_has_loaded_once_it_listens(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    frozen: list[int] = []

    async def serve(_: Gateway, __: GatewayConfig, ready: Callable[[str], object]) -> None:
        frozen.append(gc.get_freeze_count())
        ready("http://127.0.0.1:4280")
        frozen.append(gc.get_freeze_count())

    monkeypatch.setattr(server, "serve", serve)
    file = tmp_path / "argo.toml"
    file.write_text('[argo]\nshared = "memory://"\n')
    try:
        done = CliRunner().invoke(cli, ["--config", str(file), "gateway"])
    finally:
        gc.unfreeze()
    assert 0 == done.exit_code, done.output
    before, after = frozen
    assert after > before + 10_000


async def test_routes_of_any_http_api_are_asked_below_their_name(
    sandbox: Sandbox, start: Start
) -> None:
    from argo_mw_http import HttpPlugin

    host = sandbox.url().removeprefix("http://")
    route = {"host": host, "path": "/alpaca/v2/stocks/bars", "api": "prices"}
    secrets = {"APCA-API-KEY-ID": "of-the-service", "APCA-API-SECRET-KEY": "of-the-service"}
    apis = {"prices": {"url": sandbox.url(), "headers": secrets}}
    tables = {"http": {"routes": [route], "apis": apis}}
    path = (
        "/prices/alpaca/v2/stocks/bars?symbols=AAPL&timeframe=1Day&start=2013-02-20&end=2013-02-25"
    )
    async with start(plugins={"http": HttpPlugin}, tables=tables) as running:
        async with running.client() as client:
            first, again = [await client.get(path) for _ in range(2)]
            nothing = await client.get("/prices/alpaca/v2/other")
    assert [200, 200, 404] == [one.status_code for one in (first, again, nothing)]
    assert first.content == again.content
    assert "cache" == again.headers["argo-mw-served-by"]
    assert 1 == sandbox.counts_of("alpaca").requests


async def test_connections_are_encrypted_with_the_certificate_that_is_configured(
    start: Start, tmp_path: Path
) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("localhost", "127.0.0.1")
    certificate, key, trusted = (tmp_path / name for name in ("cert.pem", "key.pem", "ca.pem"))
    for blob in issued.cert_chain_pems:
        blob.write_to_path(str(certificate), append=True)
    issued.private_key_pem.write_to_path(str(key))
    authority.cert_pem.write_to_path(str(trusted))
    tables = {"tls_certificate": certificate, "tls_key": key}
    async with start(**tables) as running:
        assert running.url.startswith("https://")
        context = ssl.create_default_context(cafile=str(trusted))
        async with running.client(verify=context) as client:
            response = await client.post("/v1/messages", json=MESSAGE)
    assert 200 == response.status_code


def test_a_certificate_that_cannot_be_used_is_an_error_that_says_so(tmp_path: Path) -> None:
    table = {"tls_certificate": tmp_path / "none.pem", "tls_key": tmp_path / "none.key"}
    argo = Argo.open({"argo": {"shared": "memory://"}}, installed=False)
    with pytest.raises(ConfigError, match="certificate"):
        asyncio.run(server.serve(Gateway(argo), GatewayConfig(port=0, **table), print))
