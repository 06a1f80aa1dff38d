"""The contract of layers, and what is special about this one."""

from __future__ import annotations

import asyncio

import pytest
from argo_mw import Argo, Refusal
from argo_mw.plugin import operation
from argo_mw.testing import FakeClock, FakePlugin, LayerConformance, Scripted, settle

from argo_mw_pace.plugin import NAME, Plugin


class TestContract(LayerConformance):
    name = NAME
    plugin = Plugin
    # The clock of these tests stands still, so no call may have to wait.
    config = {"burst": 100_000}  # noqa: RUF012


@operation(subject="symbol")
def quote(symbol: str) -> str:
    """A quote."""
    raise NotImplementedError


def opened(clock: FakeClock, *upstreams: Scripted, **config: float) -> Argo:
    settings = {"argo": {"shared": "memory://"}, "plugins": {NAME: config}}
    asked = FakePlugin(operations=[quote], upstreams=upstreams)
    plugins = {NAME: Plugin, "asked": asked}
    return Argo.open(settings, plugins=plugins, installed=False, clock=clock)


async def test_calls_go_out_evenly_after_a_burst() -> None:
    clock = FakeClock()
    vendor = Scripted("vendor", ["quote"])
    async with opened(clock, vendor, per_second=2, burst=3) as argo:
        asking = asyncio.create_task(argo.map("quote", [f"S{n}" for n in range(5)]))
        await settle()
        assert len(vendor.asked) == 3
        await clock.advance(0.5)
        assert len(vendor.asked) == 4
        await clock.advance(0.5)
        answers = await asking
    notes = [note.text for outcome in answers.values() for note in outcome.notes]
    assert notes == ["waited 0.5 s for its turn", "waited 1.0 s for its turn"]


async def test_a_turn_that_comes_too_late_is_refused_and_says_when_to_ask_again() -> None:
    clock = FakeClock()
    async with opened(
        clock, Scripted("vendor", ["quote"]), per_second=1, burst=1, max_wait=0.5
    ) as argo:
        await argo.call("quote", symbol="AAPL")
        with pytest.raises(Refusal, match=r"vendor has 1\.0 s of calls before this one") as caught:
            await argo.call("quote", symbol="MSFT")
        assert caught.value.retry_at == clock.time() + 0.5
        await clock.advance(1)
        assert await argo.call("quote", symbol="MSFT") == "MSFT"


async def test_each_upstream_has_a_pace_of_its_own() -> None:
    clock = FakeClock()
    down = Scripted("a", ["quote"], RuntimeError, retries=0)
    up = Scripted("b", ["quote"])
    async with opened(clock, down, up, per_second=1, burst=1) as argo:
        assert await argo.call("quote", symbol="AAPL") == "AAPL"
    assert (len(down.asked), len(up.asked)) == (1, 1)


async def test_it_explains_how_long_a_call_would_wait() -> None:
    async with opened(FakeClock(), Scripted("vendor", ["quote"]), burst=1) as argo:
        await argo.call("quote", symbol="AAPL")
        texts = {one.name: one.text for one in argo.explain("quote", symbol="MSFT")}
    assert texts[NAME] == "would wait for its upstream's turn, now 0.2 s at most"


async def test_turns_outlive_a_change_of_the_configuration() -> None:
    clock = FakeClock()
    async with opened(clock, Scripted("vendor", ["quote"]), per_second=1, burst=1) as argo:
        await argo.call("quote", symbol="AAPL")
        changed = {"argo": {"shared": "memory://"}, "plugins": {NAME: {"burst": 1, "max_wait": 0}}}
        await argo.reload(changed)
        with pytest.raises(Refusal, match="before this one"):
            await argo.call("quote", symbol="MSFT")
