"""A call may share neither its failure with later callers, nor its request with anybody."""

from __future__ import annotations

import asyncio

import pytest

from argo_mw import Argo, UpstreamError
from argo_mw.plugin import ALONE, OWN_FAILURES, operation
from argo_mw.testing import FakeClock, FakePlugin, Scripted, settle
from argo_mw_coalesce import plugin


@operation(timeout=10.0, subject="symbol")
def bars(symbol: str) -> object:
    """Price bars."""


def open_argo(upstream: Scripted) -> Argo:
    config = {"argo": {"shared": "memory://", "strict": True}}
    asked = FakePlugin(operations=[bars], upstreams=[upstream])
    plugins = {"coalesce": plugin, "asked": asked}
    return Argo.open(config, clock=FakeClock(start=0.1), plugins=plugins, installed=False)


def ask(argo: Argo, **extensions: object) -> asyncio.Task[object]:
    named = {f"argo.{name}": value for name, value in extensions.items()}
    return asyncio.create_task(argo.options(extensions=named).call("bars", symbol="AAPL"))


@pytest.mark.parametrize(("own", "asked"), [(False, 1), (True, 2)])
async def test_an_own_failure_is_given_to_waiting_callers_and_not_to_later_ones(
    own: bool, asked: int
) -> None:
    upstream = Scripted("a", ["bars"], UpstreamError("down", upstream="a"), 1.0, retries=0)
    upstream.gate.clear()
    async with open_argo(upstream) as argo:
        waiting = [ask(argo, own_failures=own) for _ in range(3)]
        await settle()
        upstream.gate.set()
        ended = await asyncio.gather(*waiting, return_exceptions=True)
        assert 3 == sum(isinstance(one, UpstreamError) for one in ended)
        await asyncio.gather(ask(argo, own_failures=own), return_exceptions=True)
    assert asked == len(upstream.asked)


async def test_a_call_that_is_alone_joins_no_other_and_no_other_joins_it() -> None:
    upstream = Scripted("a", ["bars"], retries=0)
    upstream.gate.clear()
    async with open_argo(upstream) as argo:
        waiting = [ask(argo), ask(argo, alone=True), ask(argo, alone=True), ask(argo)]
        await settle()
        assert 3 == len(upstream.asked)
        upstream.gate.set()
        await asyncio.gather(*waiting)
    assert "argo.alone" == ALONE
    assert "argo.own_failures" == OWN_FAILURES
