"""A real Redis that half works: answers stay right and at hand, and one trouble says what to do."""

from __future__ import annotations

import asyncio
import os

import pytest
from attrs import define, field

import argo_mw_cache
import argo_mw_coalesce.plugin
import argo_mw_redis.plugin
from argo_mw import Argo
from argo_mw.plugin import Trouble, context_of, observe
from argo_mw.testing.shared import eventually
from argo_mw_redis.refusals import rights
from tests.faults.redis.half import ALL, FAULTS, SAVING, TIMEOUT


@define
class Instance:
    """An application on the server, what it has loaded, and what it has reported."""

    argo: Argo
    world: dict[str, int]
    loads: int = 0
    troubles: list[str] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        observe(self.argo, self.see)

        @self.argo.wrap(name="quote", subject="symbol")
        async def quote(symbol: str) -> int:
            self.loads += 1
            return self.world.get(symbol, 1)

    def see(self, event: object) -> None:
        if isinstance(event, Trouble):
            self.troubles.append(f"{event.where}: {event.what}")

    async def ask(self, symbol: str) -> object:
        return await self.argo.call("quote", symbol=symbol)

    async def hears(self, symbol: str, version: int) -> None:
        """Return once it answers *version*, after the channel's delay."""
        async with asyncio.timeout(TIMEOUT):
            while await self.ask(symbol) != version:
                await asyncio.sleep(0.001)


@pytest.fixture
def server(start_server):
    server = start_server(*SAVING)
    server.allow("app", ALL)
    return server


@pytest.fixture
def join(server, tmp_path, monkeypatch):
    monkeypatch.setenv("ARGO_MW_STATE_DIR", str(tmp_path / "state"))
    world: dict[str, int] = {}

    def make() -> Instance:
        plugins = {
            "cache": argo_mw_cache.CachePlugin,
            "coalesce": argo_mw_coalesce.plugin,
            "redis": argo_mw_redis.plugin,
        }
        url = f"{server.url_of('app')}?retry_interval=0.05"
        settings = {"argo": {"shared": url, "strict": True}}
        return Instance(Argo.open(settings, plugins=plugins, installed=False), world)

    return make


async def until_whole(instance: Instance) -> None:
    """Return once the store lets this instance do everything."""
    versions = context_of(instance.argo).tag_versions
    await eventually(lambda: versions.connected and not versions.health.refused, TIMEOUT)


@pytest.mark.parametrize("when", ["before the start", "while it runs"])
@pytest.mark.parametrize("fault", FAULTS)
async def test_answers_stay_right_and_at_hand_and_one_trouble_says_what_to_do(
    server, join, fault, when
):
    how = FAULTS[fault]
    if when == "before the start":
        how.begin(server)
    here, there = join(), join()
    async with here.argo, there.argo:
        for one in (here, there):
            await one.ask("known")
        how.begin(server)

        before = [here.loads, there.loads]
        for _ in range(20):
            for one in (here, there):
                assert 1 == await one.ask("new")
        assert all(one.loads <= known + 1 for one, known in zip((here, there), before, strict=True))

        loads = here.loads
        assert [1] * 200 == await asyncio.gather(*(here.ask("burst") for _ in range(200)))
        assert loads + 1 == here.loads

        here.world["known"] = 2
        others_hear = await here.argo.invalidate("subject:known")
        assert others_hear is how.others_hear
        assert 2 == await here.ask("known")
        if others_hear:
            await there.hears("known", 2)

        troubles = 0 if how.spares and when == "while it runs" else 1
        await eventually(lambda: len(here.troubles) >= troubles, TIMEOUT)
        for trouble in here.troubles:
            assert trouble.startswith("shared store: ")
            assert how.remedy in trouble

        how.end(server)
        for one in (here, there):
            await until_whole(one)
        assert 2 == await here.ask("known")
        await there.hears("known", 2)
        assert 1 == await here.ask("shared again")
        loads = there.loads
        assert 1 == await there.ask("shared again")
        assert loads == there.loads, "the store is in use again"
        assert troubles == len(here.troubles)


async def test_no_more_rights_are_needed_than_those_that_are_named(server, join):
    server.allow("app", rights("argo:"))
    here, there = join(), join()
    async with here.argo, there.argo:
        for one in (here, there):
            await one.ask("known")
        here.world["known"] = 2
        assert await here.argo.invalidate("subject:known")
        assert 2 == await here.ask("known")
        await there.hears("known", 2)
        refused = await context_of(here.argo).tag_versions.health.check()
        assert {} == refused
        assert [] == here.troubles + there.troubles


async def test_one_channel_that_is_refused_is_one_trouble(server, join):
    """Invalidations arrive, the results of other processes do not."""
    server.allow("app", "~* &argo:tag-versions +@all")
    here, there = join(), join()
    async with here.argo, there.argo:
        for symbol, one in (("known", here), ("another", there)):
            await one.ask(symbol)
            await eventually(lambda one=one: one.troubles, TIMEOUT)
            [trouble] = one.troubles
            assert trouble.startswith("coalesce: results of other processes cannot be received")
            assert rights("argo:") in trouble
        here.world["known"] = 2
        assert await here.argo.invalidate("subject:known")
        await there.hears("known", 2)


async def test_an_answer_that_the_server_does_not_take_is_one_trouble_and_harms_no_other(
    server, join
):
    """It ends the connection on which such an answer comes."""
    server.command("CONFIG", "SET", "proto-max-bulk-len", "1mb")
    here, there = join(), join()
    here.world["large"] = os.urandom(1_500_000).hex()
    async with here.argo, there.argo:
        for _ in range(3):
            await here.ask("large")
            await here.argo.invalidate("subject:large")
        for number in range(100):
            assert 1 == await here.ask(f"small {number}")
        said = "cache: answers are not kept in the shared store, such as one of"
        await eventually(lambda: any(one.startswith(said) for one in here.troubles), TIMEOUT)
        await here.ask("one more")  # which finds that the trial has cost the connection
        await until_whole(here)
        for number in range(100):
            assert 1 == await here.ask(f"later {number}")
        assert 1 == await there.ask("later 99")
        assert 0 == there.loads
        assert 1 == sum(one.startswith(said) for one in here.troubles)
