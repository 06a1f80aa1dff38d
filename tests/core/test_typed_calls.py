"""Operations that are asked as they were declared: by place and by name, typed for checkers."""

from __future__ import annotations

from typing import Any

import pytest

from argo_mw import Argo, BadParameter, BlockingArgo, Outcome, UnknownOperation
from argo_mw.plugin import operation
from argo_mw.testing import FakePlugin, Scripted


@operation(subject="symbol")
def bars(symbol: str, *, days: int = 90) -> str:
    """Price bars."""
    raise NotImplementedError


@operation()
def unregistered() -> str:
    """Nothing offers it."""
    raise NotImplementedError


CONFIG = {"argo": {"shared": "memory://"}}


def market() -> FakePlugin:
    return FakePlugin(operations=[bars], upstreams=[Scripted("alpaca", ["bars"])])


def opened() -> Argo:
    return Argo.open(CONFIG, plugins={"market": market()}, installed=False)


async def test_an_operation_is_asked_as_it_was_declared() -> None:
    async with opened() as argo:
        named = await argo.call("bars", symbol="AAPL", days=90)
        assert named == await argo.call(bars, "AAPL")
        assert named == await argo.call(bars, symbol="AAPL")
        assert named == await argo.options(timeout=5.0).call(bars, "AAPL", days=90)
        assert isinstance(await argo.outcome(bars, "AAPL"), Outcome)
        assert {"AAPL", "MSFT"} == set(await argo.map(bars, ["AAPL", "MSFT"]))


@pytest.mark.parametrize("asked", [None, 5, len])
async def test_what_names_no_operation_is_refused(asked: Any) -> None:
    async with opened() as argo:
        with pytest.raises(BadParameter, match="is no operation: give its name"):
            await argo.call(asked, symbol="AAPL")
        with pytest.raises(BadParameter, match="is no operation: give its name"):
            await argo.outcome(asked, "AAPL")
        with pytest.raises(BadParameter, match="is no operation: give its name"):
            await argo.map(asked, ["AAPL"])


def test_a_blocking_caller_takes_declarations_too() -> None:
    with BlockingArgo(CONFIG, plugins={"market": market()}, installed=False) as argo:
        assert argo.call("bars", symbol="AAPL") == argo.call(bars, "AAPL")
        assert isinstance(argo.outcome(bars, "AAPL"), Outcome)
        assert {"AAPL"} == set(argo.map(bars, ["AAPL"]))


async def test_arguments_that_do_not_fit_are_refused_with_the_signature() -> None:
    async with opened() as argo:
        with pytest.raises(BadParameter, match="takes 1 arguments without a name, got 2"):
            await argo.call(bars, "AAPL", 30)  # type: ignore[call-overload]
        with pytest.raises(BadParameter, match="got 'symbol' twice"):
            await argo.call(bars, "AAPL", symbol="MSFT")  # type: ignore[call-overload]
        with pytest.raises(BadParameter, match="'bars' is asked with 'AAPL': give parameters by"):
            await argo.call("bars", "AAPL")  # type: ignore[call-overload]


async def test_a_declaration_that_nothing_offers_is_an_unknown_operation() -> None:
    async with opened() as argo:
        with pytest.raises(UnknownOperation, match="unregistered"):
            await argo.call(unregistered)
