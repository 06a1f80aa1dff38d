"""The scope of signals follows from the scopes of their configured voices."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd
import pytest
from attrs import evolve, field, frozen
from hypothesis import given, settings
from hypothesis import strategies as st

import argo_mw_cache.plugin
import argo_mw_coalesce.plugin
from argo_mw import Argo, Outcome
from argo_mw.app.application import engine_of
from argo_mw.plugin import Call, context_of, hookimpl, operation
from argo_mw.testing import FakePlugin, Scripted
from argo_mw_persist import PersistPlugin, store_of
from argo_mw_signals import SignalFilter, SignalsPlugin, recorded_signals

DESKS = ("desk-A", "desk-B")


@operation(subject="symbol")
def bars(symbol: str, *, timeframe: str = "1Day", days: int = 90) -> pd.DataFrame:
    """Prices."""
    raise AssertionError


@operation(kind="llm", subject="symbol")
def opinion(symbol: str) -> object:
    """A model's opinion."""
    raise AssertionError


@operation(subject="symbol")
def tip(symbol: str) -> object:
    """What everybody says."""
    raise AssertionError


def frame(call: Call) -> pd.DataFrame:
    close = 100.0 + np.sin(np.arange(80) / 5.0)
    index = pd.date_range("2025-01-01", periods=80, freq="D", tz="UTC", name="time")
    columns = {"open": close, "high": close + 1, "low": close - 1, "close": close}
    return pd.DataFrame({**columns, "volume": 1000.0}, index=index)


def vote(call: Call) -> Outcome:
    return Outcome({"score": 0.5, "confidence": 1.0, "reason": f"told to {call.tenant}"})


@frozen
class VoicesConfig:
    """The table of a plugin that adds voices: the operations to hear, with their weights."""

    hear: Mapping[str, float] = field(factory=dict)


class Voices(FakePlugin):
    """A plugin that adds the voices that are configured."""

    def __init__(self) -> None:
        upstreams = [
            Scripted("prices", ["bars"], frame),
            Scripted("model", ["opinion"], vote),
            Scripted("street", ["tip"], vote),
        ]
        super().__init__(operations=[bars, opinion, tip], upstreams=upstreams, config=VoicesConfig)
        self._hear: Mapping[str, float] = {}

    @hookimpl
    def register_operations(self, config: VoicesConfig) -> Iterable[object]:  # type: ignore[override]
        self._hear = config.hear
        return super().register_operations()

    @hookimpl(optionalhook=True)
    def register_voices(self) -> Iterable[Mapping[str, object]]:
        return [{"name": n, "operation": n, "weight": w} for n, w in self._hear.items()]


def table(hear: Mapping[str, float], **weights: float) -> dict[str, object]:
    return {
        "argo": {"shared": "memory://", "strict": True},
        "plugins": {
            "voices": {"hear": dict(hear)},
            "signals": {"weights": weights},
            "persist": {"on_sigterm": False, "durable": True, "writer": {"linger": 0.0}},
        },
    }


def application(hear: Mapping[str, float]) -> Argo:
    return Argo.open(
        table(hear),
        plugins={
            "voices": Voices(),
            "signals": SignalsPlugin,
            "persist": PersistPlugin,
            "cache": argo_mw_cache.plugin.CachePlugin,
            "coalesce": argo_mw_coalesce.plugin,
        },
        installed=False,
    )


def scope(argo: Argo) -> str:
    return engine_of(argo).pipeline.operations["signal"].scope


async def ask_all(argo: Argo) -> None:
    """Let every desk ask and read, and check that it sees no other's."""
    expected = scope(argo)
    answers = await asyncio.gather(
        *(argo.options(tenant=desk).call("signal", symbol="AAPL") for desk in DESKS)
    )
    if expected == "tenant":
        for desk, answer in zip(DESKS, answers, strict=True):
            assert f"told to {desk}" in repr(answer)
    await store_of(argo).flush()
    for desk in DESKS:
        other = next(one for one in DESKS if one != desk)
        caller = argo.options(tenant=desk)
        seen = [await caller.call(name, symbol="AAPL") for name in ("latest", "strongest")]
        seen += [await caller.call("latest_of_many", symbols=["AAPL"])]
        seen += [(await caller.call("history", form=form)) for form in ("rows", "frame")]
        text = "".join(x.to_string() if isinstance(x, pd.DataFrame) else repr(x) for x in seen)
        assert f"tenant='{other}'" not in text


@pytest.fixture(autouse=True)
def _state(tmp_path, monkeypatch):
    monkeypatch.setenv("ARGO_MW_STATE_DIR", str(tmp_path))


async def test_signals_of_public_voices_are_shared():
    async with application({"tip": 1.0}) as argo:
        assert "public" == scope(argo)
        one, other = [
            await argo.options(tenant=desk).outcome("signal", symbol="AAPL") for desk in DESKS
        ]
        assert one.value == other.value
        await store_of(argo).flush()
        [kept] = await argo.options(tenant="desk-B").call("latest", symbol="AAPL")
    assert "" == kept.tenant


async def test_signals_of_a_models_voice_are_the_desks_own():
    async with application({"opinion": 1.0}) as argo:
        assert "tenant" == scope(argo)
        await ask_all(argo)
        for desk in DESKS:
            [kept] = await argo.options(tenant=desk).call("latest", symbol="AAPL")
            assert desk == kept.tenant
        assert () == await argo.options(tenant="desk-C").call("latest", symbol="AAPL")
        assert () == await recorded_signals(argo).latest("AAPL")
        assert 0 == (await recorded_signals(argo).performance(SignalFilter()))[0].closed


async def test_a_model_that_is_silenced_makes_no_signal_private():
    async with application({"opinion": 0.0, "tip": 1.0}) as argo:
        assert "public" == scope(argo)
        await argo.reload(table({"opinion": 1.0}, opinion=0.0))
        assert "public" == scope(argo)
        await argo.reload(table({"opinion": 1.0}))
        assert "tenant" == scope(argo)


async def test_a_change_of_another_plugins_voices_is_heard_at_once():
    """With its weight, and without an answer of the old voices."""
    async with application({"tip": 1.0}) as argo:
        before = await argo.call("signal", symbol="AAPL")
        await argo.reload(table({"tip": 4.0}))
        after = await argo.call("signal", symbol="AAPL")
    assert 1.0 == next(c.weight for c in before.contributions if c.voice == "tip")
    assert 4.0 == next(c.weight for c in after.contributions if c.voice == "tip")


async def test_votes_about_prices_that_a_desk_owns_are_its_own():
    class OwnPrices(Voices):
        @hookimpl
        def register_operations(self, config: VoicesConfig) -> Iterable[object]:  # type: ignore[override]
            return [evolve(bars, scope="tenant"), opinion, tip]

    plugins = {"voices": OwnPrices(), "signals": SignalsPlugin}
    config = {"argo": {"shared": "memory://", "strict": True}}
    async with Argo.open(config, plugins=plugins, installed=False) as argo:
        operations = engine_of(argo).pipeline.operations
        assert "tenant" == operations["signal"].scope
        assert "tenant" == operations["voice_trend"].scope
        assert "public" == operations["voice_news"].scope


voices = st.dictionaries(st.sampled_from(["tip", "opinion"]), st.sampled_from([0.0, 1.0, 2.0]))


@settings(max_examples=15, deadline=None)
@given(steps=st.lists(voices, min_size=2, max_size=4))
def test_scope_keys_and_rows_follow_every_reload(steps, tmp_path_factory):
    async def check() -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("ARGO_MW_STATE_DIR", str(tmp_path_factory.mktemp("state")))
            async with application(steps[0]) as argo:
                for hear in steps:
                    await argo.reload(table(hear))
                    expected = "tenant" if hear.get("opinion") else "public"
                    assert expected == scope(argo)
                    make = context_of(argo).make_call
                    keys = {make("signal", desk, {"symbol": "AAPL"}).key for desk in DESKS}
                    assert (2 if expected == "tenant" else 1) == len(keys)
                    await ask_all(argo)
                rows = await recorded_signals(argo).history(SignalFilter(tenant=""))
                assert "told to" not in repr(
                    [v for s in rows.signals for v in s.voices if v.name == "opinion"]
                )

    asyncio.run(check())
