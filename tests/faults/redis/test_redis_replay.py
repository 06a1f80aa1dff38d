"""Answers that were loaded during an outage reach other processes after it, if still valid."""

from __future__ import annotations

import asyncio
import itertools
from functools import partial

import pytest

import argo_mw_cache
import argo_mw_redis.plugin
from argo_mw import Argo
from argo_mw.app.application import engine_of
from argo_mw.plugin import context_of, operation
from argo_mw.testing import FakePlugin, Scripted
from argo_mw.testing.shared import eventually
from argo_mw_cache.stored_answer import store_key

TIMEOUT = 60.0


@operation(subject="symbol")
def quote(symbol: str) -> object:
    """A price."""


@pytest.fixture
def application(server, tmp_path, monkeypatch):
    """Make an instance on the real server, whose upstream gives a fixed answer."""
    monkeypatch.setenv("ARGO_MW_STATE_DIR", str(tmp_path / "state"))

    def make(answer: str) -> tuple[Argo, Scripted]:
        upstream = Scripted("a", ["quote"], answer)
        asked = FakePlugin(operations=[quote], upstreams=[upstream])
        plugins = {
            "cache": argo_mw_cache.CachePlugin,
            "redis": argo_mw_redis.plugin,
            "asked": asked,
        }
        settings = {
            "argo": {"shared": server.url + "?timeout=0.2&retry_interval=0.02", "strict": True}
        }
        return Argo.open(settings, plugins=plugins, installed=False), upstream

    return make


async def away(*every: Argo) -> None:
    for argo in every:
        while context_of(argo).shared.unreachable is None:
            await argo.call("quote", symbol="whatever makes it notice")
            await asyncio.sleep(0)


async def back(*every: Argo) -> None:
    """The store is in use by all, and knows of every invalidation."""
    for argo in every:
        await eventually(partial(is_back, argo), TIMEOUT)
        await argo.call("quote", symbol="something else")


def is_back(argo: Argo) -> bool:
    context = context_of(argo)
    settled = context.tag_versions.connected and not context.tag_versions.pending
    return settled and context.shared.unreachable is None


async def is_stored(argo: Argo, symbol: str) -> None:
    """Return once the store holds an answer; asking for others is what sets it going."""
    call, _ = engine_of(argo).pipeline.calls.get("quote", "default", {"symbol": symbol})
    async with asyncio.timeout(TIMEOUT):
        for number in itertools.count():
            if await context_of(argo).shared.get(store_key(call)) is not None:
                return
            await argo.call("quote", symbol=f"another {number}")


async def nothing_is_being_stored(argo: Argo) -> None:
    await eventually(lambda: "argo-mw:cache:deferred" not in context_of(argo).tasks.names, TIMEOUT)


async def test_another_instance_finds_what_was_loaded_while_the_server_was_frozen(
    server, application
):
    (one, _), (other, others) = application("loaded"), application("other's")
    async with one:
        await context_of(one).tag_versions.load(["subject:A"])
        async with other:
            server.freeze()
            await away(one)
            assert "loaded" == await one.call("quote", symbol="A")
            server.thaw()
            await back(one, other)
            await is_stored(one, "A")
            assert "loaded" == await other.call("quote", symbol="A")
    assert "A" not in [call.subject for call in others.asked]


async def test_what_was_invalidated_by_another_while_the_server_was_frozen_is_not_found(
    server, application
):
    (one, _), (other, _) = application("loaded"), application("other's")
    async with one:
        await context_of(one).tag_versions.load(["subject:A"])
        async with other:
            await context_of(other).tag_versions.load(["subject:A"])
            server.freeze()
            await away(one, other)
            assert "loaded" == await one.call("quote", symbol="A")
            await other.invalidate("subject:A")
            server.thaw()
            await back(one, other)
            await nothing_is_being_stored(one)
            assert "other's" == await other.call("quote", symbol="A")
            third, _ = application("third's")
            async with third:
                assert "other's" == await third.call("quote", symbol="A")


async def test_a_server_that_comes_back_empty_is_given_nothing_old(server, application):
    (one, _), (other, _) = application("loaded"), application("other's")
    async with one, other:
        await context_of(one).tag_versions.load(["subject:A"])
        server.kill()
        await away(one)
        assert "loaded" == await one.call("quote", symbol="A")
        await asyncio.to_thread(server.start)
        await back(one, other)
        await nothing_is_being_stored(one)
        assert "other's" == await other.call("quote", symbol="A")
